"""Rows of results and folders of `segment` as sources, names of clusters, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from bank_factory import make_images
from export_factory import SIZES, labels_of, make_segmented
from page_factory import IMAGES, METHODS, make_run
from PIL import Image

from patchbank.cli import main
from patchbank.datasets.images import load_raw
from patchbank.datasets.manifest import Manifest, find
from patchbank.datasets.spec import make_spec
from patchbank.errors import UserError
from patchbank.evaluation.preprocessing import frame
from patchbank.exports.formats import FormatOptions, yolo_seg
from patchbank.exports.labels import open_source
from patchbank.exports.regions import RegionSettings, Taken, regions
from patchbank.exports.source import Category, Choice, Picture, Source
from patchbank.files import atomic_path, read_json, read_npz
from patchbank.names import load_names, merge
from patchbank.predictions import PredictionReader
from patchbank.report.page.naming import fit_of

NEAREST = Choice(upsample="nearest")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_segmented(tmp_path_factory.mktemp("segmented"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    make_images(folder, IMAGES)
    make_run(folder, folder / "labelled")
    make_run(folder, folder / "plain", labelled=False)
    return folder


def write_names(path: Path, names: dict[int, str], row: str = "kmeans", variant: str = "", fit: str = "") -> Path:
    content = {"format": "patchbank-names-1", "rows": {row: {"variant": variant, "fit": fit, "names": names}}}
    path.write_text(json.dumps(content).replace('"0"', "0"))
    lines = [f"format: patchbank-names-1\nrows:\n  {row}:\n    variant: '{variant}'\n    fit: '{fit}'\n    names:"]
    path.write_text("\n".join([*lines, *(f"      {cluster}: {json.dumps(name)}" for cluster, name in names.items())]))
    return path


@pytest.mark.parametrize("row", METHODS)
@pytest.mark.parametrize("labelled", [True, False])
def test_a_row_says_what_its_files_say(runs: Path, row: str, labelled: bool) -> None:
    folder = runs / ("labelled" if labelled else "plain") / "toy"
    manifest = Manifest.load(folder / "manifest.json")
    source = open_source(folder / row, NEAREST)
    matching = read_json(folder / row / "scores.json")["matching"] or {}
    variant = matching.get("variant") or "k3-s0"
    assert source.kind == ("classes" if labelled else "clusters")
    assert [one.name for one in source.categories] == (
        list(manifest.classes) if labelled else [f"cluster {index}" for index in range(3)]
    )
    entries = {entry.image: entry for entry in manifest.entries("val")}
    seen = 0
    with PredictionReader(folder / row / "seed0" / "val.h5") as reader:
        segments = METHODS[row] == "segments"
        for picture in source.pictures():
            entry = entries[picture.file]
            index = reader.images.index(entry.id)
            grid = reader.labels("segments" if segments else variant, index, index + 1)[0]
            if segments:
                grid = read_npz(folder / row / "seed0" / "clusters.npz")[variant][index][grid].astype(np.int64)
            if labelled:
                grid = np.array(matching["assignment"])[grid]
            size = (entry.height, entry.width)
            np.testing.assert_array_equal(picture.labels, frame("full", size, size).segments(grid, "nearest"))
            seen += 1
    assert seen == source.count == len(entries)


@pytest.mark.parametrize("kind", ["geojson", "geotiff", "png"])
def test_pictures_that_are_gone_do_not_lose_their_place_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make_images(tmp_path, IMAGES)
    export = ["export", "labels", str(make_run(tmp_path, tmp_path / "runs") / "kmeans"), "--format", kind, "--out"]
    assert main([*export, str(tmp_path / "out")]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    (tmp_path / "data").rename(tmp_path / "moved")
    assert main([*export, str(tmp_path / "out")]) == (0 if kind == "png" else 1)  # a PNG has no place
    said = ".png cannot be read any more, and only it tells where its labels lie on the map"
    assert (said in capsys.readouterr().err) == (kind != "png")
    assert before == {path: path.read_bytes() for path in before}


def test_png_and_yolo_fit_beside_the_pictures_of_a_set(runs: Path, tmp_path: Path) -> None:
    export = ["export", "labels", str(runs / "labelled" / "toy" / "kmeans"), "--out"]
    assert main([*export, str(tmp_path / "png"), "--format", "png"]) == 0
    shutil.copytree(runs / "data" / "images", tmp_path / "png" / "images")
    listing = find(make_spec("x", "folder", tmp_path / "png", classes=("a", "b", "c")))
    assert [mask is not None and mask.is_file() for _, mask, _ in listing["val"]] == [True] * IMAGES
    assert main([*export, str(tmp_path / "yolo"), "--format", "yolo-seg"]) == 0
    shutil.copytree(runs / "data" / "images", tmp_path / "yolo" / "images")
    content = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    pictures = list((tmp_path / "yolo" / content["val"]).rglob("*.png"))
    assert len(pictures) == IMAGES
    for picture in pictures:  # as Ultralytics does it
        assert Path("/labels/".join(str(picture.with_suffix(".txt")).rsplit("/images/", 1))).is_file()


def test_names_merge_clusters_of_a_row(runs: Path, tmp_path: Path) -> None:
    folder = runs / "plain" / "toy" / "kmeans"
    names = write_names(tmp_path / "names.yaml", {0: "sky", 2: " sky "}, fit=fit_of(folder / "seed0"), variant="k3-s0")
    plain = open_source(folder, NEAREST)
    given = open_source(folder, Choice(names=names, upsample="nearest"))
    assert [one.name for one in given.categories] == ["sky", "cluster 1"]
    assert given.categories[0].colour == plain.categories[0].colour
    for before, after in zip(plain.pictures(), given.pictures(), strict=True):
        np.testing.assert_array_equal(after.labels, np.array([0, 1, 0])[before.labels])


def test_names_are_of_clusters_even_where_these_are_matched_to_classes(runs: Path, tmp_path: Path) -> None:
    folder = runs / "labelled" / "toy" / "kmeans"
    names = write_names(tmp_path / "names.yaml", {0: "sky"})
    assert open_source(folder, Choice(names=names)).categories[0].name == "sky"
    assert open_source(folder, Choice(names=names)).kind == "clusters"
    five = open_source(folder, Choice(variant="k5-s0", clusters=True))
    assert len(five.categories) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("{", "cannot be read as YAML"),
        ("format: other\nrows: {}", "is no file of names"),
        ("format: patchbank-names-1\nrows: {kmeans: 3}", "has no mapping `names:`"),
        ("format: patchbank-names-1\nrows: {kmeans: {names: {a: b}}}", "names cluster 'a'"),
        ("format: patchbank-names-1\nrows: {kmeans: {names: {0: [b]}}}", "is no name"),
        ("format: patchbank-names-1\nrows: {other: {names: {0: b}}}", "has no names of row kmeans, but of other"),
        ("format: patchbank-names-1\nrows: {kmeans: {names: {9: b}}}", "there are 3"),
        ("format: patchbank-names-1\nrows: {kmeans: {variant: k5-s0, names: {0: b}}}", "give --variant"),
    ],
)
def test_names_that_do_not_fit_are_refused(runs: Path, tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "names.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        open_source(runs / "plain" / "toy" / "kmeans", Choice(names=path))


def test_names_of_another_training_are_refused(runs: Path, tmp_path: Path) -> None:
    folder = runs / "plain" / "toy" / "alignseg"
    names = write_names(tmp_path / "names.yaml", {0: "sky"}, row="alignseg", fit="0" * 16)
    with pytest.raises(UserError, match="another training or clustering"):
        open_source(folder, Choice(names=names))


def test_names_of_a_segmented_folder_are_found_by_their_clusters(out: Path, tmp_path: Path) -> None:
    rows = "".join(
        f"  {row}: {{variant: k4-s0, fit: '{fit}', names: {{1: {name}}}}}\n"
        for row, fit, name in (("a", "f" * 16, "wrong"), ("b", "0123456789abcdef", "grass"))
    )
    path = tmp_path / "names.yaml"
    path.write_text(f"format: patchbank-names-1\nrows:\n{rows}")
    assert [one.row for one in load_names(path)] == ["a", "b"]
    source = open_source(out, Choice(names=path))
    assert [one.name for one in source.categories] == ["cluster 0", "grass", "cluster 2", "cluster 3"]
    with pytest.raises(UserError, match="choose among those of a row"):
        open_source(out, Choice(variant="k4-s0"))


def test_the_file_of_the_page_is_read(runs: Path, tmp_path: Path) -> None:
    # as the page writes it, quotes, colons and other letters included
    path = tmp_path / "names.yaml"
    path.write_text(
        'format: patchbank-names-1\ndataset: "toy"\nrows:\n  "image-kmeans-4":\n    variant: "k3-s0"\n    fit: "'
        + fit_of(runs / "plain" / "toy" / "image-kmeans-4" / "seed0")
        + '"\n    names:\n      1: "it\'s \\"grass\\": é"\n'
    )
    source = open_source(runs / "plain" / "toy" / "image-kmeans-4", Choice(names=path))
    assert [one.name for one in source.categories] == ["cluster 0", 'it\'s "grass": é', "cluster 2"]


def test_merging_keeps_the_order_of_first_ids() -> None:
    names, table, first = merge(["b", "a", "b", "c"])
    assert (names, table.tolist(), first.tolist()) == (["b", "a", "c"], [0, 1, 0, 2], [0, 1, 3])


def test_small_pieces_and_categories_are_left_out_and_counted(out: Path) -> None:
    source = open_source(out, Choice())
    taken = Taken(source, RegionSettings(min_area=30, leave_out=("cluster 1",)))
    dropped = 0
    for picture in taken:
        before = labels_of(out, picture.name).astype(np.int64)
        assert not (picture.labels == 1).any()
        for region in regions(np.where(before == 255, -1, before), instances=True):
            kept = region.area >= 30 and region.category != 1
            now = picture.labels[region.whole(before.shape)]
            assert (now == (region.category if kept else -1)).all()
            dropped += region.area < 30 and region.category != 1
    assert sum(taken.dropped.values()) == dropped
    assert taken.pictures == len(SIZES)
    with pytest.raises(UserError, match="'sea' is no category"):
        Taken(source, RegionSettings(leave_out=("sea",)))


def test_an_export_is_written_over_only_by_itself(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "export"
    png = ["export", "labels", str(out), "--format", "png", "--out", str(target)]
    assert main(png) == main(png) == 0
    assert main([*png, "--min-area", "5"]) == 1
    assert "another export" in capsys.readouterr().err
    assert main([*png, "--min-area", "5", "--overwrite"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("mine")
    assert main([*png[:-1], str(tmp_path / "mine"), "--overwrite"]) == 1
    assert "no export wrote" in capsys.readouterr().err
    assert (tmp_path / "mine" / "work.txt").read_text() == "mine"
    assert main([*png[:-1], str(tmp_path / "mine" / "work.txt")]) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("png --tolerance 5 --polygons", "--format png reads no --tolerance, --polygons; leave that out"),
        ("geotiff --instances", "--format geotiff reads no --instances"),
        ("cvat --image-prefix album/", "--format cvat reads no --image-prefix"),
        ("coco --tolerance 2", "so --tolerance goes with --polygons; give both"),
        ("coco --upsample nearest", "holds finished pixels; --upsample is for a row"),
    ],
)
def test_options_that_would_change_nothing_are_refused(
    out: Path, tmp_path: Path, options: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "labels", str(out), "--out", str(tmp_path / "out"), "--format", *options.split()]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["labels", "bank"])
def test_the_help_of_an_export_says_what_overwrite_does_not(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", what, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "write over another export that is there; a folder with any other file is refused" in said
    assert "whatever it is" not in said


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_files_that_lie_beside_an_export_stay(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    target = tmp_path / "yolo"
    yolo = ["export", "labels", str(out), "--format", "yolo-seg", "--out", str(target), *more]
    assert main(yolo) == main(yolo) == 0
    (target / "images").mkdir()
    for number in range(4):
        (target / "images" / f"{number}.jpg").write_text("a picture")
    (tmp_path / "elsewhere").mkdir()
    (target / "labels" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert main(yolo) == 1
    said = "holds files beside the export (images/0.jpg, images/1.jpg, images/2.jpg and 2 more); they stay"
    assert said in capsys.readouterr().err
    assert {path.name for path in (target / "images").iterdir()} == {f"{number}.jpg" for number in range(4)}
    assert (target / "labels" / "linked").is_symlink()


def test_a_mount_point_is_refused(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "disk").symlink_to("/")
    assert main(["export", "labels", str(out), "--format", "png", "--out", str(tmp_path / "disk")]) == 1
    assert "is a mount point, which no new folder can replace; name a folder below it" in capsys.readouterr().err


def test_files_that_come_while_labels_are_written_stay(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "png"
    png = ["export", "labels", str(out), "--format", "png", "--out", str(target)]
    assert main(png) == 0
    monkeypatch.setattr(yolo_seg, "write", lambda *_: (target / "mine.jpg").write_text("a picture"))
    assert main([*png, "--format", "yolo-seg", "--overwrite"]) == 1
    assert "(mine.jpg)" in capsys.readouterr().err
    assert (target / "mine.jpg").is_file()
    assert (target / "classes.json").is_file()
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_run_left_is_no_picture(tmp_path: Path) -> None:
    labels = make_segmented(tmp_path) / "labels"
    for name in ("a.png", "deep/b é.png"):
        with pytest.raises(KeyboardInterrupt), atomic_path(labels / name) as temporary:
            shutil.copy(labels / name, temporary)
            temporary.with_name(f".left{temporary.name}").hardlink_to(temporary)
            raise KeyboardInterrupt
    (labels / ".map.host~0~1~2.x.tmp.tif").touch()
    source = open_source(tmp_path / "out", Choice())
    assert source.count == len(list(source.pictures())) == len(SIZES)


def test_what_is_no_run_is_told(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no row of results"):
        open_source(tmp_path, Choice())
    with pytest.raises(UserError, match="is no folder"):
        open_source(tmp_path / "none", Choice())
    refined = runs / "plain" / "toy" / "kmeans+crf" / "seed0"
    refined.mkdir(parents=True)
    with pytest.raises(UserError, match=r"no predictions .* export that one"):
        open_source(refined, Choice())
    with pytest.raises(UserError, match="choose one of k3-s0, k5-s0, k6-s0"):
        open_source(runs / "plain" / "toy" / "kmeans", Choice(variant="k4-s0"))


def test_many_categories_need_sixteen_bits(runs: Path, tmp_path: Path) -> None:
    from patchbank.exports.formats import format_of

    labels = np.arange(-1, 299, dtype=np.int64).reshape(15, 20)
    categories = tuple(Category(str(number), (1, 2, 3)) for number in range(299))
    source = Source(tmp_path, "clusters", categories, 1, lambda: iter([Picture("x", "x.png", labels)]))
    for kind, name in (("png", "masks/x.png"), ("geotiff", "x.tif")):
        folder = tmp_path / kind
        folder.mkdir()
        format_of(kind).write(Taken(source, RegionSettings()), folder, FormatOptions())
        read = load_raw(folder / name)
        np.testing.assert_array_equal(np.where(read == 65_535, -1, read.astype(np.int64)), labels)
        Image.open(folder / name).close()
