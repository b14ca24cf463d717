"""Pictures that are read in bands of rows: the same values as a picture that is decoded whole, in little memory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets import raster
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import load_image, read_size
from patchbank.datasets.raster import Raster, raster_size
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import make_spec
from patchbank.datasets.unusable import Unusable

RANDOM = np.random.default_rng(5)
COLOUR = RANDOM.integers(0, 256, (211, 301, 3), dtype=np.uint8)
DEEP = RANDOM.integers(0, 4000, (211, 301), dtype=np.uint16)
WINDOW = Treatment("window", window=(100, 3000))
STORED: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 13},
    "one strip": {},
    "compressed strips, big-endian": {"rowsperstrip": 7, "compression": "zlib", "byteorder": ">"},
    "tiles": {"tile": (32, 48)},
    "compressed tiles with predictor": {"tile": (64, 64), "compression": "zlib", "predictor": True, "bigtiff": True},
    "planes": {"planarconfig": "separate", "tile": (48, 32), "compression": "lzw"},
}
VALUES: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
    "RGB": (COLOUR, {"photometric": "rgb"}),
    "RGBA": (np.dstack([COLOUR, COLOUR[..., 0]]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "white is zero": (COLOUR[..., 1], {"photometric": "miniswhite"}),
    "16-bit": (DEEP, {"photometric": "minisblack"}),
    "floats": (DEEP / np.float32(3), {"photometric": "minisblack"}),
    "five bands": (np.stack([np.roll(DEEP, band) for band in range(5)], -1), {"photometric": "minisblack"}),
}


def store(path: Path, values: NDArray[Any], how: dict[str, Any]) -> None:
    if values.ndim == 3:
        how = {"planarconfig": "contig", **how}
    planes = values if how.get("planarconfig") != "separate" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(path, planes, metadata=None, **how)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """TIFFs of more than 20,000 pixels are rasters."""
    monkeypatch.setattr(raster, "LARGE", 20_000)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("stored", STORED)
def test_bands_have_the_pixels_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: str, stored: str
) -> None:
    pixels, how = VALUES[values]
    if stored == "planes" and pixels.ndim == 2:
        pytest.skip("one band has no planes")
    path, treatment = tmp_path / "a.tif", WINDOW if pixels.dtype != np.uint8 else Treatment()
    store(path, pixels, {**how, **STORED[stored]})
    assert raster_size(path) is None
    whole = np.asarray(load_image(path, treatment))
    monkeypatch.setattr(raster, "LARGE", 20_000)
    assert raster_size(path) == read_size(path, indexed=False) == (301, 211)
    with Raster(path, treatment) as opened:
        found = np.concatenate([opened.rows(top, min(top + 37, 211)) for top in range(0, 211, 37)])
        np.testing.assert_array_equal(found, whole)
        np.testing.assert_array_equal(opened.rows(100, 103), whole[100:103])  # backwards, too
        for size in ((70, 40), (299, 210), (400, 300)):
            exact = np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BILINEAR)).astype(int)
            bands = np.concatenate([opened.resized(size, top, min(top + 11, size[1])) for top in range(0, size[1], 11)])
            assert np.abs(bands - exact).max() <= 1  # positions are rounded in another order
            assert np.abs(np.asarray(opened.resize(size)) - exact).max() <= 1


def test_black_and_white_come_from_all_of_it(tmp_path: Path, small: None) -> None:
    values = np.tile(np.linspace(1000, 3000, 301).astype(np.uint16), (211, 1))
    values[150:] += 4000
    store(tmp_path / "a.tif", values, {"tile": (32, 32), "compression": "zlib"})
    with Raster(tmp_path / "a.tif", Treatment()) as opened:
        low, high = np.percentile(values, [2, 98])
        exact = np.clip((values - low) / (high - low), 0, 1) * 255
        assert np.abs(opened.rows(0, 211)[..., 0] - exact).max() < 2
        assert opened.told == ("16-bit", "scaled by percentile", "read in parts")


def test_a_raster_in_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path / "a.tif", COLOUR, {"photometric": "rgb", "tile": (64, 64)})
    whole = examine(make_spec("own", "folder", tmp_path), workers=1).manifest
    monkeypatch.setattr(raster, "LARGE", 20_000)
    monkeypatch.setattr(raster, "REDUCED", 100)
    found = examine(make_spec("own", "folder", tmp_path), workers=1)
    assert found.manifest == whole  # the same content id and size
    assert whole is not None
    (entry,) = whole.entries("val")
    assert entry.id == hashlib.sha256(b"a.tif\0" + (tmp_path / "a.tif").read_bytes()).hexdigest()[:16]
    assert found.manifest.image(entry).size == (100, 70)
    assert any("read in parts" in line for line in found.summary.lines())


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"photometric": "separated", "planarconfig": "contig"}, "colour model SEPARATED"),
        ({"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, "turned by its orientation"),
        ({"photometric": "rgb", "compression": "zlib", "rowsperstrip": 211}, "TILED=YES"),
    ],
)
def test_what_cannot_be_read_in_bands_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None, how: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr(raster, "PIECE", 50_000)
    values = np.dstack([COLOUR, COLOUR[..., 0]]) if how["photometric"] == "separated" else COLOUR
    store(tmp_path / "a.tif", values, how)
    with pytest.raises(Unusable, match=says):
        Raster(tmp_path / "a.tif", Treatment())


@pytest.mark.parametrize("how", [{}, {"rowsperstrip": 7, "compression": "zlib"}])
def test_a_raster_that_is_cut_off_is_refused(tmp_path: Path, small: None, how: dict[str, Any]) -> None:
    store(tmp_path / "a.tif", COLOUR, {"photometric": "rgb", **how})
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    with Raster(tmp_path / "a.tif", Treatment()) as opened, pytest.raises(Unusable, match="truncated or damaged"):
        opened.rows(0, 211)


def test_one_of_a_file_too_large_to_be_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path / "a.tif", COLOUR, {"photometric": "rgb"})
    monkeypatch.setattr(raster, "MAX_BYTES", 1000)
    assert raster_size(tmp_path / "a.tif") == (301, 211)
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    assert raster_size(tmp_path / "a.png") is None
