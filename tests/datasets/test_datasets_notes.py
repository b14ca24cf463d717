"""What a scan knows of a set and a reader must know before any score: conversions that leave nothing, classes without
pixels, ignored pixels; and 255 taken for a class."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from page_factory import make_run, make_set, page_source
from PIL import Image
from report_factory import CONTEXT, ROWS, scores_file

from patchbank.cli import main
from patchbank.datasets import DatasetSpec, make_spec
from patchbank.datasets import scan as scan_module
from patchbank.datasets.contrast import SAMPLE, Contrast, contrast
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import Decoded, decode_file, decode_image
from patchbank.datasets.scan import Scan, examine
from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.report.build import build_report
from patchbank.report.markdown import report_markdown
from patchbank.report.page.build import write_page
from patchbank.report.page.index import write_index
from patchbank.report.summary import read_reports, summary_markdown
from patchbank.report.write import write_report

SIDE = 80
"""Side of the pictures: larger than the sample that is looked at first."""
rng = np.random.default_rng(0)
NOISE = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
SATELLITE = np.clip(rng.normal(800, 300, (SIDE, SIDE)), 0, 3000).astype(np.uint16)
THERMAL = rng.integers(29000, 33000, (SIDE, SIDE)).astype(np.uint16)


def saved(folder: Path, pixels: np.ndarray, name: str = "a.png", mode: str | None = None) -> Decoded:
    """Pixels as a file, decoded; 16 bits by their whole range."""
    path = folder / name
    Image.fromarray(pixels, mode).save(path)
    return decode_image(path.read_bytes(), Treatment("full"))


def banded(alpha: np.ndarray | int) -> np.ndarray:
    """Noise with a fourth band."""
    return np.dstack([NOISE, np.broadcast_to(np.asarray(alpha, np.uint8), (SIDE, SIDE))])


HOT = SATELLITE.copy()
HOT[3, 5] = 65535
HALF = np.zeros((SIDE, SIDE), np.uint8)
HALF[:, : SIDE // 4] = 255


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (SATELLITE, "nearly black after conversion from 16 to 8 bits"),
        (HOT, "nearly black after conversion from 16 to 8 bits"),
        (SATELLITE // 4, "nearly black after conversion from 16 to 8 bits"),
        (THERMAL, "nearly of one colour after conversion from 16 to 8 bits"),
        (np.full((SIDE, SIDE), 5000, np.uint16), "of one colour after conversion from 16 to 8 bits"),
        (banded(0), "white, because all of it is transparent"),
        (banded(HALF), "mostly white, because more than half of it is transparent"),
        (banded(rng.integers(40, 200, (SIDE, SIDE))), "mixed with white, because most of it is half transparent"),
        (np.full((SIDE, SIDE, 3), (200, 10, 40), np.uint8), "of one colour"),
        (rng.integers(0, 12, (SIDE, SIDE)).astype(np.uint8), "nearly black"),
        (rng.integers(244, 256, (SIDE, SIDE, 3)).astype(np.uint8), "nearly white"),
        (rng.integers(120, 130, (SIDE, SIDE, 3)).astype(np.uint8), "nearly of one colour"),
        (NOISE, ""),
        (NOISE // 4, ""),  # a dark photograph
        (banded(255), ""),
        ((SATELLITE * 20).astype(np.uint16), ""),
    ],
)
def test_what_a_conversion_leaves(tmp_path: Path, pixels: np.ndarray, says: str) -> None:
    found = contrast(saved(tmp_path, pixels))
    assert found.problem.startswith(says)
    assert bool(found.problem) == bool(says)


def test_infrared_that_is_marked_as_alpha_is_left_out_as_the_sentence_says(tmp_path: Path) -> None:
    """GDAL marks the fourth band of an 8-bit orthophoto so."""
    infrared = np.random.default_rng(0).integers(40, 200, (SIDE, SIDE, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", infrared, photometric="rgb", extrasamples=["unassalpha"])
    said = contrast(decode_file(tmp_path / "a.tif")).problem
    assert said.startswith("mixed with white")
    bands = ast.literal_eval(re.search(r"depth={bands: (\[.*?\])}", said)[1])  # type: ignore[index]
    read = decode_file(tmp_path / "a.tif", Treatment(bands=tuple(bands)))
    np.testing.assert_array_equal(np.asarray(read.image), infrared[..., :3])
    assert not contrast(read).problem


def test_values_are_told_without_outliers(tmp_path: Path) -> None:
    # 3000 * 255 / 65535 = 11.7, and one hot pixel of 6400 counts for nothing
    for pixels in (SATELLITE, HOT):
        found = contrast(saved(tmp_path, pixels))
        assert (found.lowest, found.highest <= 12) == (0, True)
    assert contrast(saved(tmp_path, np.full((4, 4), 77, np.uint8))) == Contrast("of one colour", 77, 77)


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_a_small_picture_is_judged_by_all_of_its_values(pixels: np.ndarray) -> None:
    spread = np.ptp(pixels.reshape(-1, 3).astype(int), axis=0)
    found = contrast(Decoded(Image.fromarray(pixels), ()))
    assert pixels.shape[0] <= SAMPLE
    expected = (
        "of one colour"
        if not spread.any()
        else "nearly black"
        if pixels.max() < 16
        else "nearly white"
        if pixels.min() > 239
        else "nearly of one colour"
        if spread.max() < 16
        else ""
    )
    assert found.problem == expected
    assert not expected or (found.lowest, found.highest) == (pixels.min(), pixels.max())


CLASSES = ("background", "object")


def own_set(
    root: Path, masks: dict[str, np.ndarray], classes: tuple[str, ...] = CLASSES, **values: object
) -> DatasetSpec:
    """A folder set of noise with these masks, by ``<split>/<name>``."""
    for name, mask in masks.items():
        for kind, pixels in (("images", rng.integers(0, 256, (*mask.shape, 3))), ("masks", mask)):
            path = root / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return make_spec("own", "folder", root, classes=classes, **values)  # type: ignore[arg-type]


def halves(left: int, right: int, share: float = 0.5) -> np.ndarray:
    """A mask of 10x10 whose right part has another value."""
    mask = np.full((10, 10), left, np.uint8)
    mask[:, round(10 * (1 - share)) :] = right
    return mask


def test_255_where_a_class_should_be_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    spec = own_set(tmp_path, {f"{split}/{i}": halves(0, 255) for split in ("train", "val") for i in range(2)})
    with pytest.raises(UserError) as caught:
        examine(spec)
    text = str(caught.value)
    assert "own: no pixel of any mask is object, and 50.0 % of all pixels have the value 255" in text
    assert "`label_map: {0: background, 255: object}`" in text
    assert "If it does mean 'ignored', say so with `255: 255` in such a map." in text
    # the ways out work
    mapped = examine(make_spec("own", "folder", tmp_path, classes=CLASSES, label_map={0: "background", 255: "object"}))
    assert mapped.summary.splits["val"].pixels == (100, 100, 0)
    assert mapped.notes == ()
    for values in ({"label_map": {0: "background", 255: 255}}, {"ignore": [255]}):
        meant = examine(make_spec("own", "folder", tmp_path, classes=CLASSES, **values))  # type: ignore[arg-type]
        assert meant.notes == (
            "Splits train and val: class object has no pixel.",
            "Splits train and val: 50.0 % of the masks' pixels are ignored.",
        )


@pytest.mark.parametrize(
    ("masks", "classes", "values", "line"),
    [
        # the first class is the one that is missing
        ({"train/a": halves(1, 255), "val/a": halves(1, 255)}, CLASSES, {}, "{1: object, 255: background}"),
        # three classes, one of them stored as 255
        (
            {"train/a": halves(0, 1), "val/a": halves(1, 255), "val/b": halves(0, 255, 0.2)},
            ("a", "b", "yes"),
            {},
            "{0: a, 1: b, 255: 'yes'}",
        ),
        # a label map that leaves 255 out
        (
            {"train/a": halves(7, 255), "val/a": halves(7, 255)},
            CLASSES,
            {"label_map": {7: "background"}},
            "{7: background, 255: object}",
        ),
        # an unlabelled train split
        ({"val/a": halves(0, 255, 0.2)}, CLASSES, {}, "{0: background, 255: object}"),
    ],
)
def test_255_is_refused_whatever_the_map(
    tmp_path: Path, masks: dict[str, np.ndarray], classes: tuple[str, ...], values: dict[str, object], line: str
) -> None:
    own_set(tmp_path, {"train/x": halves(0, 0)} if "train/a" not in masks else {})
    (tmp_path / "masks/train/x.png").unlink(missing_ok=True)
    with pytest.raises(UserError) as caught:
        examine(own_set(tmp_path, masks, classes, **values))
    assert f"`label_map: {line}`" in str(caught.value)


def test_255_that_covers_little_or_lacks_no_class_is_no_refusal(tmp_path: Path) -> None:
    border = own_set(tmp_path / "a", {"train/a": halves(0, 1), "val/a": halves(0, 255)})
    assert examine(border).notes[0] == "Split val: class object has no pixel."
    little = np.zeros((10, 10), np.uint8)
    little[:2, :3] = 255
    found = examine(own_set(tmp_path / "b", {"train/a": little, "val/a": little}))
    assert found.notes[0].startswith("No pixel of any mask is object. If 255 is a class")
    # a published table says what its 255 means
    voc = make_spec("v", "folder", tmp_path / "c", table="voc")
    assert voc.states_255
    own_set(tmp_path / "c", {"train/a": halves(0, 255), "val/a": halves(0, 255)})
    assert "Splits train and val: 50.0 % of the masks' pixels are ignored." in examine(voc).notes


def odd_set(root: Path) -> Scan:
    """Two splits with everything that a note tells of masks."""
    spec = own_set(
        root,
        {
            "train/a": halves(255, 255),
            "train/b": halves(255, 255),
            "val/a": halves(0, 2),
            "val/b": halves(255, 255),
            "val/c": halves(0, 0),
        },
        ("a", "b", "c"),
        ignore=[255],
    )
    return examine(spec)


def test_notes_and_numbers_by_hand(tmp_path: Path) -> None:
    found = odd_set(tmp_path)
    assert found.notes == (
        "Split val: class b has no pixel.",
        "Split train: no pixel is labelled, all of them are ignored.",
        "Split val: 33.3 % of the masks' pixels are ignored.",
        "Split val: 1 image is ignored as a whole: images/val/b.png.",
    )
    check = found.check()
    train, val = check["splits"]["train"], check["splits"]["val"]
    assert (val["absent"], val["ignored"], val["unscored"]) == (("b",), 1 / 3, 1)
    assert (train["absent"], train["ignored"], train["unscored"]) == (("a", "b", "c"), 1.0, 2)
    assert val["named"] == {"unscored": ("images/val/b.png",)}
    assert check["raw"] == {0: 150, 2: 50, 255: 300}
    assert check["notes"] == list(found.notes)


def test_many_names_are_shortened_in_a_note_and_complete_in_the_numbers(tmp_path: Path) -> None:
    names = [f"{i:02d}" for i in range(12)]
    masks = {f"val/{name}": halves(255, 255) for name in names} | {"val/x": halves(0, 1), "train/x": halves(0, 1)}
    found = examine(own_set(tmp_path, masks, ignore=[255]))
    (note,) = (note for note in found.notes if "as a whole" in note)
    assert "12 images are ignored as a whole: images/val/00.png, " in note
    assert note.endswith("images/val/07.png and 4 more (check.json has all).")
    assert len(found.summary.splits["val"].named["unscored"]) == 12


def dark_set(root: Path) -> DatasetSpec:
    root.mkdir()
    for name, pixels in (("a", SATELLITE), ("b", SATELLITE), ("c", banded(0)), ("d", NOISE)):
        Image.fromarray(pixels).save(root / f"{name}.png")
    return make_spec("own", "folder", root, depth={"scale": "full"})


def test_pictures_of_which_nothing_is_left_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dark_set(tmp_path / "set")
    first = examine(spec, memory=tmp_path / "memory")
    dark, white = first.notes
    assert dark.startswith("2 pictures are nearly black after conversion from 16 to 8 bits (8-bit values 0 to ")
    assert "): a.png, b.png. Their values fill a small part of the 16-bit range; scale `percentile`" in dark
    assert white.startswith("1 picture is white, because all of it is transparent")
    monkeypatch.setattr(scan_module, "probe", None)
    assert examine(spec, memory=tmp_path / "memory") == first


def test_the_command_prints_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = dark_set(tmp_path / "set")
    arguments = ["--folder", str(spec.root), "--memory", str(tmp_path / "m"), "--sheet", str(tmp_path / "s.png")]
    assert main(["data", "check", *arguments]) == 0
    shown = capsys.readouterr()
    assert "1 picture is white, because" in shown.out
    assert shown.out.index("is white") < shown.out.index("most often")
    assert "2 pictures have more than 8 bits" in shown.out


def test_reports_and_the_summary_open_with_the_notes(tmp_path: Path) -> None:
    notes = odd_set(tmp_path / "set").notes
    report = build_report([scores_file(tmp_path, ROWS)], dataclasses.replace(CONTEXT, data=notes))
    assert report.data == tuple(notes)
    assert report.notes[: len(notes)] == tuple(notes)
    assert len(report.notes) > len(notes)
    text = report_markdown(report)
    top = text[: text.index("18.3")]
    assert [top.index(note) for note in notes] == sorted(top.index(note) for note in notes)
    assert text.count(notes[0]) == 1
    write_report(report, [], tmp_path / "toy/report.json", tmp_path / "toy/report.md")
    summed = summary_markdown(read_reports([tmp_path / "toy/report.json"]))
    assert f"- toy: {notes[0]}" in summed[: summed.index("| dataset |")]
    plain = report_markdown(build_report([scores_file(tmp_path, ROWS)], CONTEXT))
    assert "Notes on the data" not in plain


def test_pages_and_the_index_open_with_the_notes(tmp_path: Path) -> None:
    make_set(tmp_path)
    run = make_run(tmp_path, tmp_path / "results")
    source = page_source(tmp_path, run)
    report = read_json(source.report)
    notes = ["Split val: class <b> has no pixel.", "1 picture is nearly black: a&b.png."]
    write_json(source.report, {**report, "data": notes, "notes": [*notes, *report["notes"]]})
    write_page(source, run)
    text = (run / "index.html").read_text()
    places = [text.index(part) for part in ('id="data"', "class &lt;b&gt; has", "a&amp;b.png", 'class="headline"')]
    assert places == sorted(places)
    assert text.count("a&amp;b.png") == 1
    write_index(read_reports([source.report]), tmp_path / "index.html")
    index = (tmp_path / "index.html").read_text()
    assert index.index("toy: 1 picture is nearly black") < index.index('id="datasets"')
    write_json(source.report, report)
    write_page(source, run)
    assert 'id="data"' not in (run / "index.html").read_text()
