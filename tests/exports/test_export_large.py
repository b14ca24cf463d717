"""Polygons and masks of label maps that are never whole in memory: those of maps that are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from patchbank.datasets.geo import make_geo
from patchbank.drawing.mark import png_info
from patchbank.errors import UserError
from patchbank.exports.borders import large_polygons, pixels
from patchbank.exports.formats import FormatOptions, geotiff
from patchbank.exports.labels import ExportSettings, export_labels
from patchbank.exports.polygons import polygons
from patchbank.exports.regions import RegionSettings, Taken
from patchbank.exports.source import NONE, Category, Labels, Large, Picture, Source
from patchbank.files import write_json
from patchbank.inference import rasters

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
GEO = make_geo(
    {33550: (0.5, 0.5, 0.0), 33922: (0, 0, 0, 1000.0, 2000.0, 0), 34735: (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)}
)


def large(labels: Labels, rows: int) -> Large:
    return Large(labels.shape, lambda: (labels[top : top + rows] for top in range(0, len(labels), rows)))


def corners(rings: Any) -> list[list[list[float]]]:
    return sorted(ring.tolist() for ring in rings)


@settings(deadline=None)
@given(arrays.arrays(np.int64, SHAPES, elements=st.integers(-1, 2)), st.integers(1, 5))
def test_polygons_are_those_of_the_masks(labels: Labels, rows: int) -> None:
    found = dict(large_polygons(large(labels, rows)))
    assert sorted(found) == sorted(set(labels[labels >= 0].tolist()))
    for category, ours in found.items():
        theirs = polygons(labels == category)
        assert [one.exterior.tolist() for one in ours] == [one.exterior.tolist() for one in theirs]
        assert [corners(one.holes) for one in ours] == [corners(one.holes) for one in theirs]
        assert sum(map(pixels, ours)) == (labels == category).sum()


def test_holes_within_pieces_within_holes() -> None:
    labels = np.zeros((11, 11), dtype=np.int64)
    for step in range(1, 6):
        labels[step : 11 - step, step : 11 - step] = step % 2
    for category, ours in large_polygons(large(labels, 4)):
        assert [len(one.holes) for one in ours] == [1, 1, 1 - category]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The same labels as `patchbank segment` leaves them of a picture and of a raster."""
    random = np.random.default_rng(0)
    ids = np.kron(random.integers(0, 4, (30, 50)), np.ones((20, 24), dtype=np.int64))
    ids[ids == 3] = -1
    entries = [{"id": i, "name": f"cluster {i}", "colour": [i, 9, 200]} for i in range(3)]
    assert GEO is not None
    texts = {"Picture": "map.tif", "Geo": GEO.to_text()}
    for name in ("picture", "raster"):
        write_json(tmp_path / name / "legend.json", {"kind": "clusters", "no_id": 255, "ids": entries, "run": {}})
        (tmp_path / name / "labels").mkdir()
    picture = Image.fromarray(np.where(ids < 0, 255, ids).astype(np.uint8))
    picture.save(tmp_path / "picture" / "labels" / "map.png", pnginfo=png_info("x", **texts))
    bands = large(ids, rasters.ROWS).bands
    palette = np.zeros((256, 3), dtype=np.uint8)
    rasters.write_labels(tmp_path / "raster" / "labels" / "map.tif", bands, ids.shape, palette, texts, GEO)
    return tmp_path / "picture", tmp_path / "raster"


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("min_area", [0, 2000])
def test_geojson_is_that_of_a_picture(runs: tuple[Path, Path], tmp_path: Path, instances: bool, min_area: int) -> None:
    regions = RegionSettings(min_area=min_area, instances=instances, leave_out=("cluster 1",))
    how = ExportSettings("geojson", regions=regions)
    taken = [export_labels(run, tmp_path / f"out-{run.name}", how) for run in runs]
    assert taken[0].dropped == taken[1].dropped
    assert bool(taken[0].dropped.total()) == bool(min_area)
    read = [json.loads((tmp_path / f"out-{run.name}" / "map.geojson").read_text()) for run in runs]
    assert read[0]["crs"] == read[1]["crs"]
    for ours, theirs in zip(read[1]["features"], read[0]["features"], strict=True):
        assert ours["properties"] == theirs["properties"]
        shapes = [
            one["geometry"]["coordinates"] if not instances else [one["geometry"]["coordinates"]]
            for one in (ours, theirs)
        ]
        for one, other in zip(*shapes, strict=True):
            assert (one[0], sorted(one[1:])) == (other[0], sorted(other[1:]))


def test_geotiff_is_that_of_a_picture(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for run in runs:
        export_labels(run, tmp_path / f"out-{run.name}", ExportSettings("geotiff"))
    with (
        rasterio.open(tmp_path / "out-picture" / "map.tif") as theirs,
        rasterio.open(tmp_path / "out-raster" / "map.tif") as ours,
    ):
        np.testing.assert_array_equal(ours.read(1), theirs.read(1))
        assert (ours.crs, ours.transform, ours.nodata) == (theirs.crs, theirs.transform, theirs.nodata)
        assert [ours.colormap(1)[i] for i in range(3)] == [theirs.colormap(1)[i] for i in range(3)]


def test_an_out_that_is_a_link_stays_one(runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    for link, target in (("link", "elsewhere"), ("link", "elsewhere"), ("dangling", "new")):
        export_labels(runs[0], tmp_path / link, ExportSettings("png"))
        assert (tmp_path / link).is_symlink()
        assert sorted(path.name for path in (tmp_path / target).iterdir()) == ["classes.json", "export.json", "masks"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *(run.name for run in runs),
        "elsewhere",
        "link",
        "new",
        "dangling",
    }


def test_formats_that_hold_a_picture_in_memory_refuse_a_raster(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"map\.tif is too large for this format; give --format geojson or geotiff"):
        export_labels(runs[1], tmp_path / "out", ExportSettings("coco"))
    with pytest.raises(UserError, match="too large for --min-area"):
        how = ExportSettings("geotiff", regions=RegionSettings(min_area=5))
        export_labels(runs[1], tmp_path / "out", how)


@pytest.mark.parametrize("count", [255, 256, 300])
def test_a_geotiff_of_a_raster_has_one_byte_a_pixel(tmp_path: Path, count: int) -> None:
    """Up to 255 categories, the last one is a value of its own; more are refused, because 255 would be no data."""
    labels = np.arange(-1, count).reshape(1, -1)
    categories = tuple(Category(str(number), (1, 2, 3)) for number in range(count))
    picture = Picture("map", "map.tif", NONE, GEO, large(labels, 1))
    taken = Taken(Source(tmp_path, "clusters", categories, 1, lambda: iter([picture])), RegionSettings(), large=True)
    if count > 255:
        with pytest.raises(UserError, match=rf"map\.tif .* of more than 255 categories, and there are {count}"):
            geotiff.write(taken, tmp_path, FormatOptions())
        assert not (tmp_path / "map.tif").exists()
        return
    geotiff.write(taken, tmp_path, FormatOptions())
    with rasterio.open(tmp_path / "map.tif") as written:
        read = written.read(1).astype(np.int64)
        np.testing.assert_array_equal(np.where(read == written.nodata, -1, read), labels)
