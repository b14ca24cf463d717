"""Tiles of rasters: pixels, masks and ids of parts, the grid that they make side by side, and memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from bank_factory import TINY, extract_all
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from test_datasets_raster import COLOUR, DEEP, STORED, VALUES, store

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.cli import main
from patchbank.datasets import raster
from patchbank.datasets.cutting import cut_up
from patchbank.datasets.depth import Treatment
from patchbank.datasets.geo import make_geo, read_geo
from patchbank.datasets.images import load_image, load_raw, read_size
from patchbank.datasets.layouts import Listing
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.pages import located
from patchbank.datasets.raster import raster_size
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import make_spec
from patchbank.datasets.tiles import Tile, tile_of, tiles_of
from patchbank.errors import UserError
from patchbank.files import sha256_file, write_json
from patchbank.weights.model import build_model

GREYS = {"photometric": "minisblack", "tile": (32, 32), "compression": "zlib"}


def test_a_name_says_which_part_it_is(tmp_path: Path) -> None:
    tiles = tiles_of((301, 211), 64)
    assert len(tiles) == 15
    assert (tiles[0].name(Path("d/a.tif")).name, tiles[-1]) == ("a.r1of3.c1of5.tif", Tile(2, 4, 3, 5))
    assert [tile.box((301, 211)) for tile in (tiles[0], tiles[-1])] == [(0, 0, 60, 70), (240, 140, 301, 211)]
    assert tiles_of((30_000, 20_000), 448)[70].name(Path("a.tif")).name == "a.r02of45.c04of67.tif"
    path = tmp_path / "a.tif"
    assert tile_of(tiles[7].name(path)) == (path, tiles[7])
    for other in ("a.r0of3.c1of5.tif", "a.r4of3.c1of5.tif", "a.r01of3.c1of5.tif", "a.r1of3.tif", "a.tif"):
        assert tile_of(tmp_path / other) == (tmp_path / other, None)
    own = tiles[3].name(path)
    own.touch()  # a file of that name is that file
    assert tile_of(own) == (own, None)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(20, 90))
def test_tiles_cover_every_pixel_once(width: int, height: int, side: int) -> None:
    tiles = tiles_of((width, height), side)
    boxes = [tile.box((width, height)) for tile in tiles]
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) == width * height
    for index in (0, 1):
        sides = {box[index + 2] - box[index] for box in boxes}
        assert max(sides) - min(sides) <= 1
        assert min(sides) > 0
        assert max(sides) <= 1.5 * side
    right = {box[2] for box in boxes}
    assert {box[0] for box in boxes} == {0, *right} - {width}
    assert [tile_of(tile.name(Path("no/a.tif"))) for tile in tiles[-2:]] == [(Path("no/a.tif"), t) for t in tiles[-2:]]


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("stored", STORED)
def test_a_tile_has_the_pixels_of_the_whole(tmp_path: Path, values: str, stored: str) -> None:
    pixels, how = VALUES[values]
    if stored == "planes" and pixels.ndim == 2:
        pytest.skip("one band has no planes")
    treatment = Treatment("window", window=(100, 3000)) if pixels.dtype != np.uint8 else Treatment()
    path = tmp_path / "a.tif"
    store(path, pixels, {**how, **STORED[stored]})
    whole = np.asarray(load_image(path, treatment))
    for tile in tiles_of((301, 211), 64):
        name, (left, top, right, bottom) = tile.name(path), tile.box((301, 211))
        np.testing.assert_array_equal(np.asarray(load_image(name, treatment)), whole[top:bottom, left:right])
        assert read_size(name, indexed=False) == (right - left, bottom - top)
        assert (raster_size(name), located(name)) == (None, (path, 0))


def make_tiled(root: Path, colour: Any = COLOUR, **given: Any) -> Manifest:
    """A raster and its mask, cut."""
    for kind, pixels, how in (("images", colour, {"photometric": "rgb"}), ("masks", colour[..., 0] // 100, GREYS)):
        (root / kind).mkdir(parents=True, exist_ok=True)
        store(root / kind / "a.tif", pixels, {"tile": (32, 48), **how})
    found = examine(make_spec("own", "folder", root, classes=["a", "b", "c"], tiles=64, **given), workers=1)
    assert "converted: cut into tiles (15)" in found.summary.lines()
    assert found.manifest is not None
    return found.manifest


def test_a_set_of_tiles_and_what_a_change_moves(tmp_path: Path) -> None:
    manifest = make_tiled(tmp_path)
    mask = COLOUR[..., 0] // 100
    for entry in manifest.entries("val"):
        _, tile = tile_of(tmp_path / entry.image)
        assert tile is not None
        left, top, right, bottom = tile.box((301, 211))
        assert (entry.width, entry.height) == (right - left, bottom - top)
        np.testing.assert_array_equal(np.asarray(manifest.image(entry)), COLOUR[top:bottom, left:right])
        np.testing.assert_array_equal(load_raw(tmp_path / str(entry.mask)), mask[top:bottom, left:right])
    changed = COLOUR.copy()
    changed[5, 5] ^= 128
    ids = [{entry.image: entry.id for entry in one.entries("val")} for one in (manifest, make_tiled(tmp_path, changed))]
    assert [name for name in ids[0] if ids[0][name] != ids[1][name]] == ["images/a.r1of3.c1of5.tif"]


def test_black_and_white_are_those_of_the_set(tmp_path: Path) -> None:
    store(tmp_path / "a.tif", DEEP, GREYS)
    whole = examine(make_spec("own", "folder", tmp_path), workers=1).manifest
    manifest = examine(make_spec("own", "folder", tmp_path, tiles=64), workers=1).manifest
    assert whole is not None
    assert whole.depth is not None
    assert manifest is not None
    assert manifest.depth is not None
    ((kind, limits),) = whole.depth.ranges.items()
    np.testing.assert_allclose(manifest.depth.ranges[kind], limits, atol=20)  # of 4,000
    shown = np.asarray(load_image(tmp_path / "a.tif", manifest.depth))
    for entry in manifest.entries("val")[:3]:
        left, top, right, bottom = tile_of(tmp_path / entry.image)[1].box((301, 211))  # type: ignore[union-attr]
        np.testing.assert_array_equal(np.asarray(manifest.image(entry)), shown[top:bottom, left:right])


def test_what_cannot_be_cut_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            store(tmp_path / kind / f"{name}.tif", COLOUR[..., 0] // 100, GREYS)
    (tmp_path / "masks" / "a.tif").unlink()
    Image.fromarray(COLOUR[..., 0] // 100).save(tmp_path / "masks" / "a.png")
    store(tmp_path / "masks" / "b.tif", COLOUR[:100, ..., 0] // 100, GREYS)
    spec = make_spec("own", "folder", tmp_path, classes=["a", "b", "c"], tiles=64)
    with pytest.raises(UserError) as caught:
        examine(spec, workers=1)
    assert any("a.png is no TIFF, and its picture is a TIFF of 301x211" in line for line in caught.value.details)
    assert any("b.tif is 301x100" in line for line in caught.value.details)
    assert len(caught.value.details) == 2
    make_tiled(tmp_path / "jpeg")
    colours = np.dstack([COLOUR[..., 0] // 100] * 3)
    store(tmp_path / "jpeg" / "masks" / "a.tif", colours, {"photometric": "rgb", "tile": (32, 32)})
    with pytest.raises(UserError, match=r"15 of 15 images") as caught:
        examine(make_spec("own", "folder", tmp_path / "jpeg", classes=["a", "b", "c"], tiles=64), workers=1)
    assert "is not an indexed mask (3 bands)" in caught.value.details[0]


@pytest.mark.parametrize("by_matrix", [True, False])
def test_a_tile_lies_where_its_pixels_lie(tmp_path: Path, by_matrix: bool) -> None:
    matrix = (0.5, 0.1, 0, 500_000, 0.1, -0.5, 0, 6_000_000, 0, 0, 0, 0, 0, 0, 0, 1)
    placed = [(33550, 12, 3, (0.5, 0.25, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 6e6, 0.0), True)]
    tags = [(34264, 12, 16, matrix, True)] if by_matrix else placed
    store(tmp_path / "a.tif", COLOUR, {"photometric": "rgb", "tile": (32, 32), "extratags": tags})
    whole = read_geo(tmp_path / "a.tif")
    assert whole is not None
    tile = tiles_of((301, 211), 64)[8]
    left, top, *_ = tile.box((301, 211))
    part = read_geo(tile.name(tmp_path / "a.tif"))
    assert part is not None
    assert make_geo(part.tags) == part
    points = np.array([[0.0, 0.0], [7.0, 3.0]])
    np.testing.assert_allclose(part.to_map(points), whole.to_map(points + np.array([left, top])), rtol=0, atol=1e-6)


def test_a_bank_of_tiles_holds_the_tokens_of_their_pictures(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store(tmp_path / "data" / "a.tif", COLOUR, {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"})
    manifest = examine(make_spec("toy", "folder", tmp_path / "data", tiles=100), workers=1).manifest
    assert manifest is not None
    manifest.save(tmp_path / "manifest.json")
    torch.manual_seed(0)
    save_file(build_model(TINY.model).state_dict(), tmp_path / "weights.safetensors")
    write_json(tmp_path / "weights.json", {"sha256": sha256_file(tmp_path / "weights.safetensors")})
    bank = open_bank(extract_all(tmp_path, ExtractSettings("whole", {"size": 64}), "val"))
    vit = FrozenViT(TINY, tmp_path / "weights.safetensors", device="cpu")
    assert len(bank) == 6
    names = {entry.id: entry.image for entry in manifest.entries("val")}
    for row, image in enumerate(bank.images):
        tile = tile_of(tmp_path / "data" / names[image])[1]
        assert tile is not None
        untiled = Image.fromarray(COLOUR).crop(tile.box((301, 211)))  # as a picture that somebody cut out
        pixels = np.array(untiled.resize((64, 64), Image.Resampling.BILINEAR))
        with torch.inference_mode():
            tokens = vit(vit.normalise(torch.from_numpy(pixels[None]))).tokens.to(torch.float16).numpy()
        np.testing.assert_allclose(bank.read([row], ("tokens",))["tokens"][0], tokens, rtol=2e-3, atol=1e-3)


def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    peaks = []
    for size in (1024, 8192):
        path = tmp_path / f"{size}.tif"
        blocks = (np.zeros((256, 256, 3), np.uint8) for _ in range((size // 256) ** 2))
        shape: dict[str, Any] = {"shape": (size, size, 3), "dtype": np.uint8, "tile": (256, 256)}
        tifffile.imwrite(path, blocks, photometric="rgb", compression="zlib", metadata=None, **shape)
        name = tiles_of((size, size), 256)[-1].name(path)
        load_image(name)
        tracemalloc.start()
        assert load_image(name).size == (256, 256)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_a_large_tile_has_its_own_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "REDUCED", 40)
    manifest = make_tiled(tmp_path)
    sizes = {(entry.width, entry.height) for entry in manifest.entries("val")}
    assert sizes == {(60, 70), (60, 71), (61, 70), (61, 71)}


def test_names_of_masks_are_no_tiles_either(tmp_path: Path) -> None:
    make_tiled(tmp_path)
    own = tiles_of((301, 211), 64)[3].name(tmp_path / "masks" / "a.tif")
    store(own, COLOUR[..., 0], GREYS)
    listing = Listing({"val": [(tmp_path / "images" / "a.tif", tmp_path / "masks" / "a.tif", None)]}, ())
    with pytest.raises(UserError) as caught:
        cut_up("own", listing, 64)
    assert list(caught.value.details) == [f"{own} is called as a tile of a.tif is; rename one"]


def test_tiles_of_other_sides_are_forgotten(tmp_path: Path) -> None:
    root, memory = tmp_path / "data", tmp_path / "memory"
    root.mkdir()
    store(root / "a.tif", COLOUR, {"photometric": "rgb", "tile": (64, 64)})
    store(root / "b.tif", COLOUR[:40, :40], {"photometric": "rgb"})
    for side, lines in ((64, 16), (100, 7), (100, 7)):
        examine(make_spec("own", "folder", root, tiles=side), workers=1, memory=memory)
        (file,) = memory.iterdir()
        assert len(file.read_text().splitlines()) == 1 + lines


def test_a_folder_is_checked_in_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    store(tmp_path / "data" / "a.tif", COLOUR, {"photometric": "rgb", "tile": (64, 64)})
    memory = ["--memory", str(tmp_path / "memory")]
    check = ["data", "check", "--folder", str(tmp_path / "data"), "--quick", "--tiles", "64", *memory]
    assert main(check) == 0
    assert "15" in capsys.readouterr().out
    assert main(["data", "check", "demo", "--tiles", "64", *memory]) == 1
    assert "--tiles go with --folder" in capsys.readouterr().err
