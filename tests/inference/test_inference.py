"""`patchbank segment` from files to files, against what the pipeline stores for the same pictures."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inference_world import make_world, run
from PIL import Image

from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.files import read_npz, write_json, write_npz
from patchbank.inference.pictures import NO_ID, PictureWriter
from patchbank.predictions import PredictionReader

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `inference_world.make_world`."""
    return make_world(tmp_path_factory.mktemp("inference"))


def stored(world: Path) -> dict[str, np.ndarray]:
    """Labels (h, w) that stage `predict` stored for each val picture, by stem."""
    entries = {entry.id: Path(entry.image).stem for entry in Manifest.load(world / "manifest.json").entries("val")}
    with PredictionReader(world / "toy" / "mine" / "seed0" / "val.h5") as reader:
        labels = reader.labels("segments", 0, len(reader.images))
        return {entries[image]: grid for image, grid in zip(reader.images, labels, strict=True)}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_segments_are_those_of_the_pipeline(world: Path, tmp_path: Path) -> None:
    assert run(world, tmp_path / "a", "--own-ids", "--soft", "--upsample", "nearest") == 0
    assert run(world, tmp_path / "b", "--own-ids") == 0
    grids = stored(world)
    assert len(grids) == 6
    assert len({int(value) for grid in grids.values() for value in np.unique(grid)}) > 1
    for name, grid in grids.items():
        arrays = read_npz(tmp_path / "a" / "soft" / f"{name}.npz")
        np.testing.assert_array_equal(arrays["scores"].argmax(0), grid)
        np.testing.assert_allclose(arrays["soft"].sum(0), 1, atol=1e-6)
        picture = Image.open(world / "data" / "images" / "val" / f"{name}.png")
        assert arrays["size"].tolist() == [picture.height, picture.width]
        size = (picture.height, picture.width)
        nearest = torch.nn.functional.interpolate(torch.from_numpy(grid)[None, None].float(), size)[0, 0]
        np.testing.assert_array_equal(pixels(tmp_path / "a" / "labels" / f"{name}.png"), nearest.numpy())
        soft = torch.softmax(torch.from_numpy(arrays["scores"]), 0)[None]
        smooth = torch.nn.functional.interpolate(soft, size, mode="bilinear", align_corners=False)[0].argmax(0)
        agreement = (pixels(tmp_path / "b" / "labels" / f"{name}.png") == smooth.numpy()).mean()
        assert agreement > 0.999  # float ties may fall either way
        assert pixels(tmp_path / "b" / "overlays" / f"{name}.png").shape == (*size, 3)
    legend = json.loads((tmp_path / "b" / "legend.json").read_text())
    assert (legend["kind"], len(legend["ids"]), (tmp_path / "b" / "soft").exists()) == ("segments", 3, False)


@pytest.mark.parametrize("case", ["clusters", "classes", "another seed"])
def test_ids_are_those_of_the_segment_clusters(world: Path, tmp_path: Path, case: str) -> None:
    seed = world / "toy" / "mine" / "seed0"
    copied = tmp_path / "toy" / "mine" / "seed0"
    shutil.copytree(seed, copied)
    shutil.copy(world / "manifest.json", tmp_path / "toy" / "manifest.json")
    arrays = read_npz(seed / "clusters.npz")
    variant, assignment = "k3-s0", np.arange(3)
    if case != "clusters":
        matching = {"training_seed": 0, "kmeans_seed": 0, "variant": "k4-s0", "assignment": [2, -1, 0, 1]}
        matching["training_seed"] = 0 if case == "classes" else 1
        write_json(copied.parent / "scores.json", {"rows": [], "matching": matching})
    if case == "classes":
        variant, assignment = "k4-s0", np.array([2, NO_ID, 0, 1])
    assert run(world, tmp_path / "out", "--upsample", "nearest", "--clusters", str(copied / "clusters.npz")) == 0
    legend = json.loads((tmp_path / "out" / "legend.json").read_text())
    assert legend["kind"] == ("classes" if case == "classes" else "clusters")
    assert legend["ids"][2]["name"] == ("class 2" if case == "classes" else "cluster 2")
    with PredictionReader(seed / "val.h5") as reader:
        rows = {image: row for row, image in enumerate(reader.images)}
    for entry in Manifest.load(world / "manifest.json").entries("val"):
        name = Path(entry.image).stem
        expected = assignment[arrays[variant][rows[entry.id]]][stored(world)[name]]
        found = pixels(tmp_path / "out" / "labels" / f"{name}.png")
        size = torch.Size(found.shape)
        expected = torch.nn.functional.interpolate(torch.from_numpy(expected)[None, None].float(), size)[0, 0]
        np.testing.assert_array_equal(found, expected.numpy())


def test_clusters_beside_the_checkpoint_are_used(world: Path, tmp_path: Path) -> None:
    assert run(world, tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "legend.json").read_text())["kind"] == "clusters"


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def album(world: Path, tmp_path: Path) -> Path:
    """Five good pictures, one of them turned by its EXIF, and two bad ones, in folders."""
    folder = tmp_path / "album"
    (folder / "sea" / "deep").mkdir(parents=True)
    for source, target in (("000", "one"), ("001", "sea/one"), ("002", "sea/deep/two"), ("003", "three")):
        shutil.copy(world / "data" / "images" / "val" / f"{source}.png", folder / f"{target}.png")
    turned = Image.open(folder / "three.png").resize((60, 40))
    exif = turned.getexif()
    exif[ORIENTATION] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    (folder / "broken.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:300])
    (folder / "sea" / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    return folder


def test_bad_files_are_left_out_and_named(
    world: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = album / "out"  # outputs below the input must not become inputs
    assert run(world, out, "--soft", paths=(album,)) == 1
    said = capsys.readouterr()
    assert f"left out {album / 'broken.jpg'}" in said.err
    assert f"left out {album / 'sea' / 'empty.png'}: has zero bytes." in said.err
    assert "2 of 7 pictures were left out, the others are written:" in said.err
    assert f"pictures written to {out}: 5; ids are clusters of" in said.out
    first = tree(out)
    names = {"one", "three", "turned", "sea/one", "sea/deep/two"}
    expected = (
        {f"labels/{n}.png" for n in names} | {f"overlays/{n}.png" for n in names} | {f"soft/{n}.npz" for n in names}
    )
    assert set(first) == expected | {"legend.json"}
    assert pixels(out / "labels" / "turned.png").shape == (60, 40)
    shutil.rmtree(out / "labels")
    assert run(world, out, "--soft", paths=(album, album / "one.png")) == 1
    assert tree(out) == first


def test_outputs_that_cannot_be_written_lose_no_other(
    world: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (album / "broken.jpg").unlink()
    (album / "sea" / "empty.png").unlink()
    long, wide, odd = "x" * 251, "\U0001f30a" * 62, "\U0001f30a" * 62 + "abc"  # 251, 248 and 251 bytes
    for name in (long, wide, odd):
        shutil.copy(album / "one.png", album / f"{name}.png")
    out = tmp_path / "out"
    assert run(world, out, paths=(album / "one.png",)) == 0
    capsys.readouterr()
    (out / "labels" / "three.png").mkdir()  # a folder in the place of a file
    (out / "overlays" / "sea").write_text("a file in the place of a folder")
    assert run(world, out, paths=(album,)) == 1
    said = capsys.readouterr()
    assert f"pictures written to {out}: 5" in said.out
    end = said.err[said.err.index("3 of 8 pictures were left out, the others are written:") :]
    assert f"{album / 'three.png'}: {out / 'labels' / 'three.png'} cannot be written (Is a directory)." in end
    assert f"{album / 'sea' / 'one.png'}: {out / 'overlays' / 'sea'} cannot be written" in end
    assert f"{album / 'sea' / 'deep' / 'two.png'}: " in end
    assert {path.stem for path in (out / "overlays").iterdir()} == {"one", "turned", "sea", long, wide, odd}


@pytest.mark.parametrize("more", [("--size", "64"), ("--window", "64")])
def test_pictures_of_a_few_pixels_have_outputs_of_their_size(
    world: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    sizes = {"one": (1, 1), "row": (300, 1), "column": (1, 200), "few": (5, 3)}
    (tmp_path / "in").mkdir()
    for name, size in sizes.items():
        Image.new("RGB", size, (200, 90, 10)).save(tmp_path / "in" / f"{name}.png")
    assert run(world, tmp_path / "out", "--soft", paths=(tmp_path / "in",), size=more) == 0
    for name, size in sizes.items():
        for kind in ("labels", "overlays"):
            assert Image.open(tmp_path / "out" / kind / f"{name}.png").size == size
        assert pixels(tmp_path / "out" / "labels" / f"{name}.png").max() < 3  # one of the clusters, never none


def test_a_full_disk_stops_and_says_so(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PictureWriter, "__call__", full)
    assert run(world, tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert f"Writing to {tmp_path / 'out'} failed" in said
    assert "No space left on device" in said


def test_windows_over_a_picture_at_its_own_resolution(world: Path, tmp_path: Path) -> None:
    picture = Image.open(world / "data" / "images" / "val" / "000.png")
    large = tmp_path / "large.png"
    picture.resize((150, 90)).save(large)
    assert run(world, tmp_path / "a", "--window", "64", "--soft", "--own-ids", paths=(large,), size=()) == 0
    assert read_npz(tmp_path / "a" / "soft" / "large.npz")["scores"].shape == (3, 6, 9)  # 90 / 16 and 150 / 16
    assert pixels(tmp_path / "a" / "labels" / "large.png").shape == (90, 150)
    square = tmp_path / "square.png"
    picture.resize((64, 64)).save(square)
    assert run(world, tmp_path / "b", "--window", "200", "--soft", "--own-ids", paths=(square,), size=()) == 0
    assert run(world, tmp_path / "c", "--soft", "--own-ids", paths=(square,)) == 0
    np.testing.assert_array_equal(
        read_npz(tmp_path / "b" / "soft" / "square.npz")["scores"],
        read_npz(tmp_path / "c" / "soft" / "square.npz")["scores"],
    )


def refused(capsys: pytest.CaptureFixture[str], status: int) -> str:
    said = capsys.readouterr().err
    assert status == 1
    assert said.startswith("patchbank: ")
    return said


def test_inputs_are_refused_before_work(
    world: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copy(album / "one.png", album / "one.bmp")
    bad = (tmp_path / "empty", tmp_path / "nowhere", album, album / "sea")
    said = refused(capsys, run(world, tmp_path / "out", paths=bad))
    for part in ("empty holds no picture", "nowhere does not exist", "one.bmp", "would both be written as one.png"):
        assert part in said
    (tmp_path / "file").write_text("")
    assert "file cannot be a folder" in refused(capsys, run(world, tmp_path / "file"))
    assert "file/out cannot be a folder" in refused(capsys, run(world, tmp_path / "file" / "out"))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "labels").write_text("")
    assert "complete files are kept" in refused(capsys, run(world, tmp_path / "half"))
    assert "--size has no meaning beside it" in refused(capsys, run(world, tmp_path / "out", "--window", "64"))
    for option, value in (("--window", "0"), ("--threads", "-1")):
        with pytest.raises(SystemExit, match="2"):  # refused by the parser, before anything is read
            run(world, tmp_path / "out", option, value)
        assert f"argument {option}: '{value}' is no whole number" in capsys.readouterr().err
    assert "--device nothing cannot be used" in refused(capsys, run(world, tmp_path / "out", "--device", "nothing"))
    assert not (tmp_path / "out").exists()


def test_models_that_do_not_fit_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = world / "toy" / "mine" / "seed0" / "checkpoint.safetensors"
    tensors, record = load_checkpoint(good)

    def said(*more: str, record: Any = record, tensors: Any = tensors) -> str:
        path = tmp_path / "c.safetensors"
        save_checkpoint(path, tensors, record)
        return refused(capsys, run(world, tmp_path / "out", "--checkpoint", str(path), *more))

    assert "foreign keys decoder/gate" in said(tensors={**tensors, "decoder/gate": torch.zeros(1)})
    untrained = {**record, "method": "random_clusters"}
    assert "'random_clusters'; pictures can be segmented by alignseg" in said(record=untrained)
    assert "is a checkpoint of None" in said(record={})
    anonymous = {key: value for key, value in record.items() if key != "backbone"}
    assert "name it with --backbone (dinov2_vits14_saliency" in said(record=anonymous)
    assert "received 'tiny'" in said("--backbone", "tiny", record=anonymous)
    assert "cannot be loaded as weights of vit_small_patch16_224" in said("--backbone", "dino_vits16", record=anonymous)
    assert "was trained on tiny, not on --backbone other" in said("--backbone", "other")
    assert "`snakemake results/weights/none/weights.safetensors` makes it" in refused(
        capsys, without_weights(tmp_path, record)
    )
    wrong = {**record, "backbone": {**record["backbone"], "sha256": "0" * 64}}
    assert "instead of 0000000000000000..." in said(record=wrong)
    assert "nowhere does not exist; name the weights of tiny with --weights." in said("--weights", "nowhere")
    torch.save({}, tmp_path / "published.pth")
    assert "patchbank import alignseg" in refused(
        capsys, run(world, tmp_path / "out", "--checkpoint", str(tmp_path / "published.pth"))
    )
    assert not (tmp_path / "out").exists()


def without_weights(folder: Path, record: Any) -> int:
    """The command with weights where the pipeline would put those of a backbone that is not there."""
    tensors = load_checkpoint(folder / "c.safetensors")[0]
    save_checkpoint(folder / "n.safetensors", tensors, {**record, "backbone": {**record["backbone"], "name": "none"}})
    return main(["segment", str(folder / "c.safetensors"), "--checkpoint", str(folder / "n.safetensors"), "--out", "x"])


def test_clusters_that_do_not_fit_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = read_npz(world / "toy" / "mine" / "seed0" / "clusters.npz")
    path = tmp_path / "toy" / "mine" / "seed0" / "clusters.npz"

    def said(changed: dict[str, Any]) -> str:
        write_npz(path, changed)
        return refused(capsys, run(world, tmp_path / "out", "--clusters", str(path)))

    older = {name: array for name, array in arrays.items() if name != "token_shift"}
    assert "holds no segment clusters that other pictures can use" in said(older)
    assert "clusters tokens of width 5, the checkpoint's have 192" in said({**arrays, "token_shift": np.zeros(5)})
    matching = {"training_seed": 0, "variant": "k4-s0", "assignment": [0, 1, 2]}
    write_json(path.parents[1] / "scores.json", {"matching": matching})
    shutil.copy(world / "manifest.json", path.parents[2] / "manifest.json")
    assert "has 4 clusters, scores.json matches 3; score again" in said(arrays)
    many = {**arrays, "tables": np.array(["k300-s0"]), "centroids/k300-s0": np.zeros((300, 192), np.float32)}
    (path.parents[1] / "scores.json").unlink()
    assert "300 clusters, but a palette PNG holds 255 ids" in said(many)
