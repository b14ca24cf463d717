"""Pages for a browser, without one: well-formed, escaped, complete, the same bytes twice, scores of images right."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from page_factory import CLASSES, METHODS, ODD, make_page, make_run, make_set, page_source
from PIL import Image
from report_factory import make_row

from patchbank.datasets.images import load_labels
from patchbank.datasets.manifest import Entry, Manifest
from patchbank.errors import UserError
from patchbank.evaluation.preprocessing import frame
from patchbank.files import atomic_folder, read_json, write_json
from patchbank.predictions import PredictionReader
from patchbank.report.content import Report
from patchbank.report.markdown import elsewhere_table, report_markdown
from patchbank.report.page.build import write_page
from patchbank.report.page.charts import INK, confusion_chart, inline, k_charts
from patchbank.report.page.gallery import choose_images
from patchbank.report.page.index import write_index
from patchbank.report.page.render import words
from patchbank.report.page.scores import ImageScores, image_scores
from patchbank.report.page.sheets import CROPS, SIDE, Regions, crop, region_of, typical
from patchbank.report.page.tables import make_table
from patchbank.report.page.times import stage_times
from patchbank.report.panel import labels_of
from patchbank.report.summary import read_reports
from patchbank.report.text import k_text, mark, percent, protocol_text, score_text, verdict

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page's tags, checked to be nested, with links, ids and text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"{tag} repeats an attribute"
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [value for name in ("src", "href", "xlink:href") if (value := found.get(name))]
        assert not any(name.startswith("on") for name in found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def check(self, path: Path) -> None:
        """Ids are unique; every link leads to an id, or to a file beside the page."""
        assert len(set(self.ids)) == len(self.ids)
        for link in self.links:
            if link.startswith("#"):
                assert link[1:] in self.ids, link
            elif not link.startswith("data:"):
                assert ":" not in link, link
                assert (path.parent / unquote(link)).exists() or link == "../index.html", link


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    make_set(folder)
    return folder


@pytest.fixture(scope="module")
def run(world: Path) -> Path:
    out = make_run(world, world / "results")
    make_page(world, out)
    return out


@pytest.fixture(scope="module")
def unlabelled(world: Path) -> Path:
    out = make_run(world, world / "unlabelled", labelled=False)
    make_page(world, out)
    return out


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(run: Path) -> None:
    page = Page(run / "index.html")
    page.check(run / "index.html")
    sections = {"scores", "elsewhere", "notes", "classes", "confusion", "k"}
    assert sections | {"gallery", "clusters", "curves", "provenance"} <= set(page.ids)
    text = (run / "index.html").read_text()
    order = ("headline", "matrix", "strip", "gallery", "clusters", "scores", "notes", "classes", "provenance")
    places = [re.search(rf'(id|class)="{name}"', text).start() for name in order]  # type: ignore[union-attr]
    assert places == sorted(places)  # pictures first
    assert "default-src 'none'" in text
    shown = " ".join(page.text)
    for word in ("alignseg", "image-kmeans-4", "floor", "ab" * 32, "0123abcd", "without first", "4.0", "900"):
        assert word in shown, word
    linked = {Path(unquote(link)).name for link in page.links}
    for folder in ("gallery", "clusters"):
        assert {path.name for path in (run / folder).iterdir()} <= linked
    assert {path.name for path in (run / "charts").iterdir()} == {
        "classes.svg",
        *(f"confusion.{method}.svg" for method in METHODS),
        "k.overcluster-iou.svg",
        "k.overcluster-precision.svg",
    }


def test_names_are_escaped_and_shown(run: Path) -> None:
    text = (run / "index.html").read_text()
    assert "<b>sky" not in text
    assert "<random>" not in text
    assert "&lt;b&gt;sky&lt;/b&gt; &amp; sea" in text
    shown = " ".join(Page(run / "index.html").text)
    for name in (*CLASSES[:2], ODD, "<random> weights"):
        assert name in shown, name
    ElementTree.parse(run / "charts" / "classes.svg")


def test_the_same_inputs_give_the_same_bytes(world: Path, run: Path) -> None:
    def digests() -> dict[str, str]:
        files = [run / "index.html", *(p for name in ("gallery", "clusters", "charts") for p in (run / name).iterdir())]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    make_page(world, run)
    assert digests() == before
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_a_folder_without_labels_has_pictures_and_clusters_but_no_scores(unlabelled: Path) -> None:
    page = Page(unlabelled / "index.html")
    page.check(unlabelled / "index.html")
    assert {"gallery", "clusters", "curves", "provenance"} <= set(page.ids)
    assert not {"scores", "elsewhere", "classes", "confusion", "k"} & set(page.ids)
    assert not list((unlabelled / "charts").iterdir())
    names = {path.name.split(".", 1)[1] for path in (unlabelled / "gallery").iterdir()}
    assert names == {"image.jpg", "pca.jpg", *(f"{method}.jpg" for method in METHODS)}
    assert "no labels" in " ".join(page.text)


def test_every_row_stands_at_both_preprocessings_side_by_side(run: Path) -> None:
    report = Report.load(run / "report.json")
    header, lines = elsewhere_table(report)
    assert header == ["method", "protocol", "squash_448_100", "full", "segments", "K (used)", "floor or ceiling"]
    assert len(lines) == len(report.rows) == len(report.elsewhere)
    assert {row.preprocessing for row in report.elsewhere} == {"full"}
    there = {(row.method, row.key): row for row in report.elsewhere}
    for row, line in zip(report.rows, lines, strict=True):
        both = [score_text(one.miou) for one in (row, there[row.method, row.key])]
        named = [row.method, protocol_text(*row.key)]
        assert line == [*named, *both, percent(row.segments), k_text(row), mark(row)]
    assert any(line[2] != line[3] for line in lines)
    assert "## Other preprocessing" in report_markdown(report)
    # a row that only one of the two has is not compared with itself
    fewer = dataclasses.replace(report, elsewhere=report.elsewhere[1:])
    assert len(elsewhere_table(fewer)[1]) == len(lines) - 1


def test_comparisons_and_published_numbers_are_shown_where_they_are(world: Path, run: Path, tmp_path: Path) -> None:
    report = read_json(run / "report.json")
    pair = {"a": "alignseg", "b": "kmeans", "protocol": "hungarian", "variant": "", "k": 3, "n_images": 7}
    report["comparisons"] = [
        {**pair, "difference": 1.25, "low": 0.5, "high": 2.0, "runs": [1, 5]},
        {**pair, "difference": -1.0, "low": -2.0, "high": 0.25, "runs": [1, 1]},
    ]
    known = {"set": "toy", "method": "Paper", "backbone": "ViT-S/16", "protocol": "hungarian", "score": 35.1}
    report["published"] = [{**known, "source": "https://example.org/paper", "preprocessing": "squash_320"}]
    write_json(tmp_path / "report.json", report)
    source = page_source(world, run, pictures=0)
    write_page(dataclasses.replace(source, report=tmp_path / "report.json", curves=[], ways=[]), tmp_path / "toy")
    page = Page(tmp_path / "toy" / "index.html")
    shown = " ".join(page.text)
    for word in ("+1.2", "better", "no difference shown", "-2.0 to +0.2", "1 and 5", "Paper", "35.1"):
        assert word in shown, word
    assert [link for link in page.links if link.startswith("https:")] == ["https://example.org/paper"]
    assert "gallery" not in page.ids
    assert [verdict(*bounds) for bounds in ((-2, -1), (-1, 1), (0, 1), (0.1, 1))] == [-1, 0, 0, 1]


@pytest.mark.parametrize("method", METHODS)
def test_scores_of_images_are_those_of_a_slow_count(world: Path, run: Path, method: str) -> None:
    source = page_source(world, run)
    index = list(METHODS).index(method)
    column, manifest = source.columns[index], Manifest.load(source.manifest)
    found = image_scores(column, source.counts[index])
    assert found is not None
    total = np.zeros_like(found.confusion)
    with PredictionReader(column.prediction) as reader:
        for entry in manifest.entries("val"):
            assert entry.mask is not None
            mask = load_labels(manifest.root / entry.mask, manifest.lut)
            view = frame("squash_448_100", mask.shape, (64, 64))
            truth, said = view.labels(mask), view.segments(labels_of(column, reader, entry.id), "nearest")
            ious = []
            for value in np.unique(truth):
                hit, either = ((said == value) & (truth == value)).sum(), ((said == value) | (truth == value)).sum()
                ious.append(hit / either)
                for other in np.unique(said):
                    total[value, other] += ((said == other) & (truth == value)).sum()  # -1 is the last column
            assert found.of(entry.id)["matched"] == pytest.approx(100 * np.mean(ious))
    np.testing.assert_array_equal(found.confusion, total)
    row = next(
        row
        for row in read_json(run / "report.json")["rows"]
        if (row["method"], row["protocol"], row["variant"]) == (method, "per_image", "")
    )
    if METHODS[method] == "segments":
        assert np.mean(found.scores["per_image"]) == pytest.approx(row["miou"]["mean"])
    else:
        assert "per_image" not in found.scores


def test_best_and_worst_follow_the_first_method_and_the_sample_looks_at_no_score() -> None:
    entries = [Entry(f"{index:016x}", f"{index}.png", None, None, 1, 1) for index in range(10)]
    values = np.array([5.0, 9.0, 1.0, np.nan, 9.0, 2.0, 3.0, 4.0, 6.0, 7.0])
    scores = ImageScores(tuple(entry.id for entry in entries), {"matched": values}, np.zeros((1, 2), np.int64))
    groups, ranked = choose_images(entries, 9, {"m": scores, "other": scores})
    assert ranked == ("m", "matched")
    assert [entry.image for entry in groups["best"]] == ["1.png", "4.png", "9.png"]  # ties by content id
    assert [entry.image for entry in groups["worst"]] == ["2.png", "5.png", "6.png"]
    assert groups["sample"] == choose_images(entries, 3, {})[0]["sample"]
    assert sum(map(len, choose_images(entries, 8, {"m": scores})[0].values())) == 8
    assert choose_images(entries, 0, {"m": scores})[0] == {}
    assert scores.of(entries[3].id) == {}


def test_typical_regions_are_nearest_to_the_mean_of_their_cluster() -> None:
    angles = [0.0, 0.1, 0.9, -0.1, 0.05, *([1.0] * CROPS), 3.0]
    vectors = [np.array([np.cos(a), np.sin(a)], dtype=np.float32) for a in angles]
    regions = Regions([4] * 5 + [7] * (CROPS + 1), list(range(CROPS + 6)), vectors)
    found = typical(regions)
    assert set(found) == {4, 7}
    # the mean direction of the first five is 0.188
    assert found[4] == [1, 4, 0, 3, 2]
    assert found[7] == list(range(5, 5 + CROPS))


def test_a_region_is_the_largest_piece_and_its_crop_shows_what_is_inside_in_colour() -> None:
    labels = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(region_of(labels, 1), [[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]])
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    image[..., 0] = 200
    region = np.zeros((60, 90), dtype=bool)
    region[10:30, 40:60] = True
    drawn = crop(image, region).astype(int)
    assert drawn.shape == (SIDE, SIDE, 3)
    assert tuple(drawn[SIDE // 2, SIDE // 2]) == (200, 0, 0)
    corner = drawn[2, 2]
    assert corner[0] == corner[1] == corner[2]
    assert crop(image, np.ones((60, 90), dtype=bool)).shape == (SIDE, SIDE, 3)


def test_sheets_of_a_run_show_every_cluster_that_has_a_region(run: Path) -> None:
    for method in METHODS:
        files = sorted(path.name for path in (run / "clusters").glob(f"{method}.*"))
        assert files == [f"{method}.{cluster:03d}.jpg" for cluster in range(3)]
    with Image.open(run / "clusters" / files[0]) as sheet:
        assert sheet.width == 4 * (SIDE + 4) - 4


def test_charts_take_the_pages_ink_and_need_several_k() -> None:
    svg = confusion_chart(np.array([[5, 1, 0], [0, 0, 0]]), ["a & b", "<c>"])
    assert INK not in svg
    assert "currentColor" in svg
    ElementTree.fromstring(svg)
    named = inline(svg, "one", 'says "x" & y')
    ElementTree.fromstring(named)
    assert 'id="one-' in named
    assert 'aria-label="says &#34;x&#34; &amp; y"' in named
    rows = [make_row("m", "overcluster", 10.0, k=300, variant="iou")]
    assert k_charts(rows) == {}
    assert list(k_charts([*rows, make_row("m", "overcluster", 12.0, k=500, variant="iou")])) == ["overcluster, iou"]


def test_words_mark_code_and_escape_everything_else() -> None:
    assert words("**a**: `x<y` & <b>") == "<strong>a</strong>: <code>x&lt;y</code> &amp; &lt;b&gt;"


def test_tables_move_the_mark_and_leave_out_what_is_empty() -> None:
    header = ["method", "variant", "mIoU ± std (n)", "floor or ceiling"]
    table = make_table("t", header, [["a", "", "12.5 ± 1.0 (3)", ""], ["b", "", "–", "floor"]], ["mIoU ± std (n)"])
    assert [(column.title, column.numeric) for column in table.columns] == [("method", False), (header[2], True)]
    assert [line.mark for line in table.lines] == ["", "floor"]
    assert [line.bars for line in table.lines] == [{1: 12.5}, {}]


def test_times_add_up_by_rule_without_the_page_itself(world: Path, run: Path, tmp_path: Path) -> None:
    train, report = stage_times(world / "benchmarks")
    assert (train.rule, train.jobs, train.seconds, train.megabytes) == ("train", 2, 4.0, 900.5)
    assert (report.rule, report.megabytes) == ("report", None)
    assert stage_times(tmp_path / "none") == []


def test_the_index_leads_to_every_page(world: Path, run: Path) -> None:
    reports = read_reports([run / "report.json"])
    write_index(reports, run.parent / "index.html")
    page = Page(run.parent / "index.html")
    page.check(run.parent / "index.html")
    assert "toy/index.html" in page.links
    write_index(reports, world / "elsewhere" / "index.html")
    assert "toy/report.md" in Page(world / "elsewhere" / "index.html").links
    write_index([], world / "empty" / "index.html")
    assert "nothing to show" in " ".join(Page(world / "empty" / "index.html").text)


def test_a_folder_appears_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "f") as place:
        (place / "a").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as place:
        (place / "b").write_text("2")
        raise RuntimeError
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "f") as place:
        place.rename(tmp_path / "away")  # what cannot take the place of the old one
    (tmp_path / "away").rmdir()
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_method_cannot_be_called_truth(world: Path, run: Path, tmp_path: Path) -> None:
    source = page_source(world, run)
    columns = [dataclasses.replace(source.columns[0], title="truth")]
    with pytest.raises(UserError, match="another name"):
        write_page(dataclasses.replace(source, columns=columns, counts=source.counts[:1]), tmp_path)
    assert not (tmp_path / "index.html").exists()
