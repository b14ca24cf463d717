"""`patchbank segment` on rasters: read, encoded, written and exported in bands, at their place on the map."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from bank_factory import TINY
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from test_inference_parts import FakeViT

from patchbank.backbones.vit import FrozenViT
from patchbank.checkpoints.store import save_checkpoint
from patchbank.datasets import raster
from patchbank.datasets.geo import read_geo
from patchbank.datasets.images import load_image, load_raw
from patchbank.datasets.raster import Raster
from patchbank.datasets.tiles import Tile
from patchbank.datasets.unusable import Unusable
from patchbank.inference import tokens as tokens_module
from patchbank.inference.inputs import find_inputs
from patchbank.inference.naming import own_segments
from patchbank.inference.pictures import PictureWriter
from patchbank.inference.segment import Segmenter, segment_files
from patchbank.inference.tokens import squashed, whole_tokens, windowed_tokens
from patchbank.methods.kmeans.settings import resolve
from patchbank.weights.model import build_model

RANDOM = np.random.default_rng(1)
COLOUR = np.kron(RANDOM.integers(0, 256, (13, 19, 3), dtype=np.uint8), np.ones((5, 5, 1), dtype=np.uint8))
UTM = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
PLACE: list[tuple[int, int, int, Any, bool]] = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 500_000.0, 6_000_000.0, 0.0), True),
    (34735, 3, len(UTM), UTM, True),
]


def by_brightness(tokens: torch.Tensor) -> torch.Tensor:
    """Scores (1, 2, N) of FakeViT's tokens, colours of patches: dark and bright."""
    bright = tokens[..., :3].float().mean(-1) / 16 - 8
    return torch.stack([-bright, bright], 1)


@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
@pytest.mark.parametrize("window", [None, 16])
def test_a_raster_gets_the_labels_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int | None, upsample: Any
) -> None:
    for name in ("picture", "raster"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", COLOUR, photometric="rgb", tile=(16, 16), extratags=PLACE)
    labels = {}
    for name in ("picture", "raster"):
        monkeypatch.setattr(raster, "LARGE", 5000 if name == "raster" else 10**9)
        monkeypatch.setattr(raster, "REDUCED", 40)
        inputs = find_inputs([tmp_path / name], tmp_path / "out")
        vit, model = FakeViT(), SimpleNamespace(scores=by_brightness, record={})
        segmenter: Any = Segmenter(vit, model, own_segments(2), 64, window)  # type: ignore[arg-type]
        sources = {one.name: one.path for one in inputs}
        writer = PictureWriter(tmp_path / "out" / name, own_segments(2), upsample, soft=True, sources=sources)
        writer.write_legend()
        assert segment_files(inputs, segmenter, writer) == []
        suffix = ".tif" if name == "raster" else ".png"
        path = tmp_path / "out" / name / "labels" / f"a{suffix}"
        assert writer.files("a")["labels"] == path
        labels[name] = load_raw(path)
        if name == "raster":
            assert read_geo(path) == read_geo(tmp_path / name / "a.tif")
            assert Image.open(tmp_path / "out" / name / "overlays" / "a.png").size == (40, 27)
    assert len(np.unique(labels["picture"])) == 2
    differing = (labels["picture"] != labels["raster"]).mean()
    assert differing == 0 if window is None and upsample == "nearest" else differing < 0.005  # ties of rounding


def test_tokens_of_windows_are_those_of_the_whole_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR[:64, :92], photometric="rgb", tile=(16, 16))
    vit: Any = FakeViT()
    picture, grid = windowed_tokens(vit, Image.fromarray(COLOUR[:64, :92]), 92)
    assert grid == (16, 23)
    monkeypatch.setattr(raster, "LARGE", 10)
    with Raster(tmp_path / "a.tif") as opened:
        found, _ = windowed_tokens(vit, opened, 16)
        torch.testing.assert_close(found[..., :3], picture[..., :3], rtol=1e-3, atol=0)
        _, grid = windowed_tokens(vit, opened, 16, scale=0.5)
        assert grid == (8, 12)  # 32 x 46 pixels, rounded to the patch
        monkeypatch.setattr(tokens_module, "MOST", 16 * 23 * 4 - 1)
        with pytest.raises(Unusable, match=r"has 23x16 patches, too many at once; --scale 0\.99 makes it fit"):
            windowed_tokens(vit, opened, 16)


def test_a_raster_that_breaks_off_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOUR, photometric="rgb")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-5000])
    Image.fromarray(COLOUR).save(tmp_path / "b.png")
    monkeypatch.setattr(raster, "LARGE", 5000)
    segmenter: Any = Segmenter(FakeViT(), SimpleNamespace(scores=by_brightness, record={}), own_segments(2), 64)  # type: ignore[arg-type]
    written: list[str] = []
    problems = segment_files(
        find_inputs([tmp_path], tmp_path / "out"), segmenter, lambda name, *_: written.append(name), lambda _: None
    )
    assert (written, problems) == (["b"], [f"{tmp_path / 'a.tif'}: is truncated or damaged."])


def test_grids_of_tiles_are_the_grid_of_the_raster(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(32, 32))
    whole, (h, w) = windowed_tokens(FakeViT(), Image.fromarray(pixels), 128)  # type: ignore[arg-type]
    rows = []
    for row in range(3):
        names = [Tile(row, column, 3, 4).name(tmp_path / "a.tif") for column in range(4)]
        cut = [squashed(load_image(name), 4, 32) for name in names]
        tokens, grid = whole_tokens(FakeViT(), cut)  # type: ignore[arg-type]
        assert grid == (8, 8)
        rows.append(np.concatenate(list(tokens.numpy().reshape(4, 8, 8, 4)), axis=1))
    np.testing.assert_array_equal(np.concatenate(rows)[..., :3], whole.numpy().reshape(h, w, 4)[..., :3])


def checkpoint(folder: Path) -> Path:
    """A checkpoint of k-means whose two clusters are the tokens of black and of white pictures."""
    torch.manual_seed(0)
    weights = folder / "weights.safetensors"
    save_file(build_model(TINY.model).state_dict(), weights)
    vit = FrozenViT(TINY, weights, torch.device("cpu"))
    pictures = torch.stack([torch.full((64, 64, 3), value, dtype=torch.uint8) for value in (0, 255)])
    with torch.inference_mode():
        centroids = vit(vit.normalise(pictures)).tokens.float().mean(1).clone()
    tensors = {
        "shift": torch.zeros(vit.dim),
        "matrix": torch.eye(vit.dim),
        "normalise": torch.zeros(1, dtype=torch.uint8),
        "k2-s0": centroids,
    }
    shared = {"k": [2], "kmeans_seeds": [0], "centre": "mean", "projection": {}, "kmeans": {"niter": 1, "nredo": 1}}
    backbone = {**asdict(TINY), "block": 1, "mean": list(TINY.mean), "std": list(TINY.std)}
    save_checkpoint(
        folder / "head.safetensors",
        tensors,
        {"method": "kmeans", "settings": resolve({}, shared), "backbone": backbone},
    )
    return folder / "head.safetensors"


def peak(*command: str) -> int:
    """Run `patchbank` and return the bytes that it had in memory at most."""
    code = (
        "import resource, sys; from patchbank.cli import main; status = main(sys.argv[1:]);"
        "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stdout.rpartition("PEAK ")[2])


def whole_way(folder: Path, width: int, height: int, square: tuple[int, int, int], scale: float) -> list[int]:
    """Segment a black GeoTIFF with a white square (x, y, side), export it, check the square; peaks of memory."""
    x, y, side = square

    def tiles() -> Iterator[NDArray[np.uint8]]:
        for top in range(0, height, 512):
            rows = ((top + np.arange(512)) >= y) & ((top + np.arange(512)) < y + side)
            for left in range(0, width, 512):
                columns = ((left + np.arange(512)) >= x) & ((left + np.arange(512)) < x + side)
                inside = rows[:, None] & columns[None, :]
                yield np.repeat((inside * np.uint8(255))[..., None], 3, axis=2)

    tifffile.imwrite(
        folder / "map.tif", tiles(), shape=(height, width, 3), dtype=np.uint8, tile=(512, 512), photometric="rgb",
        compression="zlib", bigtiff=True, metadata=None, extratags=PLACE,
    )  # fmt: skip
    head, out = checkpoint(folder), folder / "out"
    models = ["--checkpoint", str(head), "--weights", str(folder / "weights.safetensors"), "--device", "cpu"]
    windows = ["--threads", "1", "--window", "64", "--scale", str(scale)]
    found = [peak("segment", str(folder / "map.tif"), *models, "--out", str(out), *windows)]
    export = ["--format", "geojson", "--instances", "--out", str(folder / "json")]
    found.append(peak("export", "labels", str(out), *export))
    features = json.loads((folder / "json" / "map.geojson").read_text())["features"]
    (white,) = [one for one in features if one["properties"]["class"].endswith("1")]
    points = np.array(white["geometry"]["coordinates"][0])
    box = np.concatenate([points.min(0), points.max(0)])
    east, north = 500_000 + np.array([x, x + side]) / 2, 6_000_000 - np.array([y + side, y]) / 2
    patch = 16 / scale / 2  # of a patch, in metres
    assert np.abs(box - [east[0], north[0], east[1], north[1]]).max() < patch
    return found


def test_from_a_geotiff_to_geojson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(whole_way(tmp_path, 1400, 1100, (352, 320, 480), 0.5)) < 3e9


@pytest.mark.exhaustive
def test_600_megapixels_in_3_gigabytes(tmp_path: Path) -> None:
    peaks = whole_way(tmp_path, 30_000, 20_000, (12_800, 6_400, 6_400), 0.05)
    assert max(peaks) < 3e9, peaks
