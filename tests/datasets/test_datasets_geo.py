"""The place of a raster on the map: read of every pixel layout, as rasterio reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.transform import Affine

from patchbank.datasets.geo import TEXTS, geo_of_text, make_geo, read_geo

TRANSFORM = Affine(10, 0, 399_960, 0, -10, 5_300_040)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize(
    ("count", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint16"), (13, "uint16"), (2, "float32")]
)
def test_every_layout_has_its_place(tmp_path: Path, count: int, dtype: str, interleave: str) -> None:
    path = tmp_path / "a.tif"
    kind: dict[str, Any] = {"driver": "GTiff", "height": 9, "width": 7, "count": count, "dtype": dtype}
    kind |= {"interleave": interleave, "photometric": "rgb" if count == 3 else "minisblack"}
    with rasterio.open(path, "w", **kind, crs="EPSG:32632", transform=TRANSFORM) as raster:
        raster.write(np.ones((count, 9, 7), dtype))
    geo = read_geo(path)
    assert geo is not None
    assert geo.affine == tuple(TRANSFORM)[:6]
    assert geo.epsg == 32632
    assert str(geo.tags[TEXTS]).startswith("WGS 84 / UTM zone 32N|")
    assert "\0" not in str(geo.tags[TEXTS])
    assert geo_of_text(geo.to_text()) == geo


def test_what_has_no_place(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.tif")
    (tmp_path / "broken.tif").write_bytes((tmp_path / "plain.tif").read_bytes()[:20])
    (tmp_path / "empty.tif").write_bytes(b"")
    for name in ("a.png", "plain.tif", "broken.tif", "empty.tif", "absent.tif"):
        assert read_geo(tmp_path / name) is None, name


def test_tags_of_one_value_and_texts_that_end_in_nul(tmp_path: Path) -> None:
    matrix = tuple(float(value) for value in (2, 0, 0, 5, 0, -2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1))
    tags = [(34264, 12, 16, matrix, True), (34736, 12, 1, 0.5, True), (34737, 2, 0, "a system|", True)]
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), np.uint16), extratags=tags)
    geo = read_geo(tmp_path / "a.tif")
    assert geo is not None
    assert dict(geo.tags) == {34264: matrix, 34736: (0.5,), 34737: "a system|"}
    assert make_geo({**geo.tags, 34736: 0.5, 34737: "a system|\0"}) == geo
