"""Rasters that were cut into tiles are scored tile by tile, and leave as one picture each, at their place."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import make_spec
from patchbank.datasets.tiles import tile_of, tiles_of
from patchbank.errors import UserError
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.counts import CountsFile
from patchbank.evaluation.preprocessing import frame
from patchbank.exports import joined
from patchbank.exports.labels import open_source
from patchbank.exports.source import Choice
from patchbank.predictions import PredictionRecord, PredictionWriter

SIZE = (301, 211)
CLUSTERS, GRID = 3, (4, 5)
RANDOM = np.random.default_rng(0)
MASK = RANDOM.integers(0, 2, SIZE[::-1], dtype=np.uint8)
UTM = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
PLACE = [
    (33550, 12, 3, (0.5, 0.5, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 500_000.0, 6_000_000.0, 0.0), True),
    (34735, 3, len(UTM), UTM, True),
]


@pytest.fixture
def row(tmp_path: Path) -> Path:
    """A set of a GeoTIFF in 15 tiles and a photograph, and random clusters of its patches."""
    data, results = tmp_path / "data", tmp_path / "results" / "mine"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    colour = RANDOM.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
    tifffile.imwrite(data / "images" / "map.tif", colour, photometric="rgb", tile=(64, 64), extratags=PLACE)
    tifffile.imwrite(data / "masks" / "map.tif", MASK, photometric="minisblack", tile=(64, 64))
    Image.fromarray(colour[:50, :60]).save(data / "images" / "photo.png")
    Image.fromarray(MASK[:50, :60]).save(data / "masks" / "photo.png")
    manifest = examine(make_spec("mine", "folder", data, classes=["a", "b"], tiles=64), workers=1).manifest
    assert manifest is not None
    manifest.save(results / "manifest.json")
    images = [entry.id for entry in manifest.entries("val")]
    record = PredictionRecord("mine", "val", "kmeans", "classes", 0, "nearest", (64, 64))
    (results / "kmeans" / "seed0").mkdir(parents=True)
    scores = RANDOM.normal(size=(len(images), CLUSTERS, *GRID))
    with PredictionWriter(results / "kmeans" / "seed0" / "val.h5", record, images, {"k3-s0": CLUSTERS}, GRID) as writer:
        writer.write_scores("k3-s0", 0, scores)
    np.save(tmp_path / "grids.npy", scores.argmax(1))
    return results / "kmeans"


def by_hand(row: Path) -> NDArray[np.int64]:
    """Clusters of every pixel of the raster, nearest patch."""
    manifest, grids = Manifest.load(row.parent / "manifest.json"), np.load(row.parents[2] / "grids.npy")
    clusters = np.full(SIZE[::-1], -9)
    for entry, grid in zip(manifest.entries("val"), grids, strict=True):
        tile = tile_of(manifest.root / entry.image)[1]
        if tile is not None:
            left, top, right, bottom = tile.box(SIZE)
            size = (bottom - top, right - left)
            clusters[top:bottom, left:right] = frame("full", size, size).segments(grid, "nearest")
    return clusters


@pytest.mark.parametrize("large", [True, False])
def test_tiles_are_one_picture_again(row: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    monkeypatch.setattr(joined, "LARGE", 20_000 if large else 10**9)
    monkeypatch.setattr(joined, "ROWS", 50)
    source = open_source(row, Choice(upsample="nearest"))
    pictures = {picture.name: picture for picture in source.pictures()}
    assert source.count == len(pictures) == 2
    assert pictures["images/photo"].labels.shape == (50, 60)
    raster = pictures["images/map"]
    assert (raster.file, raster.large is not None) == ("images/map.tif", large)
    for _ in range(2):  # may be read again
        bands = [raster.labels] if raster.large is None else list(raster.large.bands())
        np.testing.assert_array_equal(np.concatenate(bands), by_hand(row))
        assert large == ([len(band) for band in bands] == [50, 50, 50, 50, 11])
    assert raster.geo is not None
    assert raster.geo.affine == (0.5, 0, 500_000, 0, -0.5, 6_000_000)


@pytest.mark.parametrize("size", [(302, 211), (301, 180)])
def test_a_raster_that_changed_its_size_is_not_joined(row: Path, size: tuple[int, int]) -> None:
    path = row.parents[2] / "data" / "images" / "map.tif"
    tifffile.imwrite(path, np.zeros((*size[::-1], 3), np.uint8), photometric="rgb", tile=(64, 64))
    source = open_source(row, Choice(upsample="nearest"))
    with pytest.raises(UserError, match=rf"map.tif \({size[0]}x{size[1]}\) changed since it was predicted; run again"):
        list(source.pictures())


def test_joining_takes_few_bytes_a_pixel(tmp_path: Path) -> None:
    side = 1500
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((side, side), np.uint8), photometric="minisblack")
    tiles = {tile: row for row, tile in enumerate(tiles_of((side, side), 100))}

    @contextmanager
    def opened() -> Iterator[joined.Read]:
        yield lambda row, size: np.full(size, row)

    tracemalloc.start()
    picture = joined.join(tmp_path / "a.tif", "a", "a.tif", tiles, [(100, 100)] * len(tiles), opened)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (picture.labels[250, 1450], picture.labels.shape) == (44, (side, side))
    assert peak < 6 * side**2


def test_the_raster_goes_to_map_tools(row: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "LARGE", 20_000)
    export = ["export", "labels", str(row), "--upsample", "nearest", "--format"]
    assert main([*export, "geotiff", "--out", str(tmp_path / "tif")]) == 0
    with rasterio.open(tmp_path / "tif" / "images" / "map.tif") as written:
        assert (written.crs.to_epsg(), written.transform[2], written.transform[5]) == (32633, 500_000, 6_000_000)
        np.testing.assert_array_equal(written.read(1), by_hand(row))
    assert main([*export, "geojson", "--out", str(tmp_path / "json")]) == 0
    features = json.loads((tmp_path / "json" / "images" / "map.geojson").read_text())["features"]
    assert sum(feature["properties"]["pixels"] for feature in features) == SIZE[0] * SIZE[1]


def test_counts_of_tiles_are_those_of_the_raster(row: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(row.parent / "manifest.json")
    count_predictions(row / "seed0" / "val.h5", manifest, tmp_path / "counts.npz", "full", workers=1)
    counts = CountsFile(tmp_path / "counts.npz")["k3-s0"]
    names = {entry.id: entry.image for entry in manifest.entries("val")}
    tiled = np.array([".c" in names[image] for image in counts.images])[counts.image]
    found = np.zeros((CLUSTERS, 2), np.int64)
    np.add.at(found, (counts.segment[tiled], counts.klass[tiled]), counts.count[tiled])
    wanted = np.zeros_like(found)
    np.add.at(wanted, (by_hand(row), MASK), 1)
    np.testing.assert_array_equal(found, wanted)
