"""What values tiles of rasters have: those of the whole file, no data where nothing is stored, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from test_datasets_raster import COLOUR, store
from test_datasets_tiles import GREYS

from patchbank.datasets import raster
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import load_image, load_instances, load_raw
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import make_spec
from patchbank.datasets.tiles import tiles_of
from patchbank.errors import UserError


def take_out(path: Path, kept: int) -> None:
    """Make a TIFF sparse: of its pieces one is kept, the others have neither place nor bytes."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for names in (("TileOffsets", "StripOffsets"), ("TileByteCounts", "StripByteCounts")):
            tag = next(file.pages[0].tags[name] for name in names if name in file.pages[0].tags)
            tag.overwrite([value if place == kept else 0 for place, value in enumerate(tag.value)])


@pytest.mark.parametrize("how", [{"tile": (16, 16), "compression": "zlib"}, {"rowsperstrip": 8}, {"tile": (16, 16)}])
def test_pieces_that_are_not_stored_hold_no_data(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "mask.tif"
    no_data = [(42113, 2, 0, "255", True)]
    tifffile.imwrite(
        path, np.ones((32, 32), np.uint8), photometric="minisblack", extratags=no_data, metadata=None, **how
    )
    take_out(path, 1)
    wanted = np.full((32, 32), 255)
    wanted[(slice(8, 16), slice(None)) if "rowsperstrip" in how else (slice(16), slice(16, None))] = 1
    for tile in tiles_of((32, 32), 16):
        left, top, right, bottom = tile.box((32, 32))
        np.testing.assert_array_equal(load_raw(tile.name(path)), wanted[top:bottom, left:right])
        np.testing.assert_array_equal(np.asarray(load_image(tile.name(path)))[..., 0], wanted[top:bottom, left:right])


def test_minus_one_of_a_signed_mask_is_ignored(tmp_path: Path) -> None:
    for kind, pixels in (("images", COLOUR), ("masks", COLOUR[..., 0].astype(np.int16) % 3 - 1)):
        (tmp_path / kind).mkdir()
        store(tmp_path / kind / "a.tif", pixels, {"photometric": "rgb"} if pixels.ndim == 3 else GREYS)
    found = examine(make_spec("own", "folder", tmp_path, classes=["a", "b"], tiles=64), workers=1)
    assert found.manifest is not None
    assert found.summary.splits["val"].ignored == pytest.approx((COLOUR[..., 0] % 3 == 0).mean())
    (tmp_path / "signed.tif").touch()
    store(tmp_path / "signed.tif", np.full((211, 301), -2, np.int16), GREYS)
    (tmp_path / "signed.tif").replace(tmp_path / "masks" / "a.tif")
    with pytest.raises(UserError) as caught:
        examine(make_spec("own", "folder", tmp_path, classes=["a", "b"], tiles=64), workers=1)
    assert "value -2 is not in the label map (known: 0-1, 255)" in caught.value.details[0]


def test_values_of_tiles_follow_the_rules_of_whole_files(tmp_path: Path) -> None:
    """Of 8 bits: transparency and white as 0, whether scaled or not, and class ids."""
    transparent = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    for name, pixels, how in (
        ("clear", np.dstack([COLOUR, COLOUR[..., 0]]), transparent),
        ("white", COLOUR[..., 1], {"photometric": "miniswhite"}),
    ):
        path = tmp_path / f"{name}.tif"
        store(path, pixels, {**how, "tile": (64, 64)})
        tile = tiles_of((301, 211), 64)[7]
        left, top, right, bottom = tile.box((301, 211))
        for treatment in (
            Treatment("window", window=(20, 180)),
            Treatment("minmax", ranges={"uint8x3": [(9, 99)] * 3}),
        ):
            whole = np.asarray(load_image(path, treatment))[top:bottom, left:right]
            np.testing.assert_array_equal(np.asarray(load_image(tile.name(path), treatment)), whole)
    whole = load_raw(tmp_path / "white.tif")
    np.testing.assert_array_equal(load_raw(tile.name(tmp_path / "white.tif")), whole[top:bottom, left:right])


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("1", "has one bit a pixel, which is not read in parts; save it with 8 bits, or leave `tiles` out"),
        (
            "P",
            "has the colour model PALETTE in 8 bits, which is not read; save it as 16-bit grey or RGB TIFF, or leave",
        ),
        ("CMYK", "has the colour model SEPARATED in 8 bits, which is not read; .*, or leave `tiles` out"),
    ],
)
def test_what_is_read_whole_alone_says_so(tmp_path: Path, mode: str, says: str) -> None:
    Image.fromarray(COLOUR).convert(mode).save(tmp_path / "a.tif")
    load_image(tmp_path / "a.tif")
    with pytest.raises(UserError, match=says):
        load_image(tiles_of((301, 211), 64)[0].name(tmp_path / "a.tif"))


def test_turned_and_packed_pictures_are_not_cut(tmp_path: Path) -> None:
    store(tmp_path / "a.tif", COLOUR, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]})
    tile = tiles_of((301, 211), 64)[0]
    with pytest.raises(UserError, match=r"is turned by its orientation, .* save it upright, or leave `tiles` out"):
        load_image(tile.name(tmp_path / "a.tif"))
    packed = make_packed(tmp_path / "b.tif")
    for load in (load_image, load_raw):
        with pytest.raises(UserError, match="has 4 bits a pixel, which is not read in parts; save it with 8 bits, or"):
            load(tile.name(packed))


def make_packed(path: Path) -> Path:
    """A TIFF of 301x211 pixels of 4 bits."""
    tifffile.imwrite(path, np.zeros((211, 151), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags: Any = file.pages[0].tags
        tags["ImageWidth"].overwrite(301)
        tags["BitsPerSample"].overwrite(4)
    return path


def test_instance_ids_beyond_int32_are_refused(tmp_path: Path) -> None:
    ids = np.ones((211, 301), np.uint32)
    ids[100, 100] = 2**32 - 5
    for kind, pixels in (("images", COLOUR), ("masks", COLOUR[..., 0] // 100), ("instances", ids)):
        (tmp_path / kind).mkdir()
        store(tmp_path / kind / "a.tif", pixels, {"photometric": "rgb"} if pixels.ndim == 3 else GREYS)
    with pytest.raises(UserError) as caught:
        examine(make_spec("own", "folder", tmp_path, classes=["a", "b", "c"], tiles=64), workers=1)
    (problem,) = caught.value.details
    assert "holds instance id 4294967291, and ids go up to 2147483647; number the instances from 1 on" in problem
    with pytest.raises(UserError, match=r"r2of3.c2of5.tif: holds instance id 4294967291"):
        load_instances(tiles_of((301, 211), 64)[6].name(tmp_path / "instances" / "a.tif"))
    with pytest.raises(UserError, match=r"a.tif: holds instance id 4294967291"):  # the whole file alike
        load_instances(tmp_path / "instances" / "a.tif")
    ids[100, 100] = 2**31 - 1
    store(tmp_path / "instances" / "a.tif", ids, GREYS)
    assert load_instances(tiles_of((301, 211), 64)[6].name(tmp_path / "instances" / "a.tif")).max() == 2**31 - 1


def test_what_values_mean_is_said_in_numbers(tmp_path: Path) -> None:
    store(
        tmp_path / "a.tif", np.dstack([COLOUR, COLOUR[..., 0]]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    )
    with raster.Raster(tiles_of((301, 211), 64)[0].name(tmp_path / "a.tif")) as tile:
        assert tile.meaning == "uint8 (60, 70) [2, 4, None, [2], None, None]"
