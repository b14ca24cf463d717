"""Pictures of a few pixels and of extreme proportions: whatever draws from the patch grid draws them too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bank_factory import TINY, extract_all
from hypothesis import given
from hypothesis import strategies as st
from page_factory import CLASSES, METHODS, make_page, make_run
from PIL import Image
from safetensors.torch import save_file

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.drawing.overlay import IGNORED, NUMBER, nearest, number_positions, palette, region_pixels
from patchbank.drawing.pictures import THIN, WIDTH, fit
from patchbank.files import sha256_file, write_json
from patchbank.inference.naming import own_segments
from patchbank.inference.pictures import GridSegments, PictureWriter
from patchbank.methods.transfgu.pictures import _windows
from patchbank.report.page.sheets import SIDE, crop
from patchbank.report.panel import draw_panel, panel_columns, truth_of
from patchbank.report.sheet import draw_sheet
from patchbank.views.windows import FOREGROUND
from patchbank.weights.model import build_model

SIZES = ((1, 1), (300, 1), (1, 200), (5, 3), (6, 6), (10_000, 1))
"""(width, height) of the pictures."""

sides = st.integers(1, 9)


@given(st.integers(0, 2**32 - 1), sides, sides, sides, sides)
def test_a_region_never_vanishes(seed: int, h: int, w: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    region = rng.random((h, w)) < 0.3
    region[rng.integers(h), rng.integers(w)] = True
    found = region_pixels(region, height, width)
    assert found.shape == (height, width)
    assert found.any()
    usual = nearest(region, height, width)
    if usual.any():
        np.testing.assert_array_equal(found, usual)
        return
    for y, x in np.argwhere(found):  # each pixel holds the centre of a patch of the region
        centres = [
            (r, c)
            for r, c in np.argwhere(region)
            if y <= (r + 0.5) * height / h < y + 1 and x <= (c + 0.5) * width / w < x + 1
        ]
        assert centres


def test_a_region_between_the_pixels_is_in_the_pixel_around_it() -> None:
    region = np.zeros((4, 4), np.bool_)
    region[0, 3] = True
    np.testing.assert_array_equal(region_pixels(region, 1, 1), [[True]])
    np.testing.assert_array_equal(region_pixels(region, 2, 2), [[False, True], [False, False]])
    np.testing.assert_array_equal(region_pixels(region, 1, 3), [[False, False, True]])


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_crops_of_every_region_of_the_grid(width: int, height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for place in range(16):
        region = np.arange(16).reshape(4, 4) == place
        assert crop(image, region_pixels(region, height, width)).shape == (SIDE, SIDE, 3)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_shown_pictures_are_neither_hairlines_nor_out_of_proportion(width: int, height: int) -> None:
    shown = fit(width, height)
    assert max(shown) == WIDTH
    assert min(shown) >= THIN
    if min(width, height) * WIDTH >= THIN * max(width, height):
        assert shown == (round(width * WIDTH / max(width, height)), round(height * WIDTH / max(width, height)))


def test_numbers_stand_on_no_picture_that_is_thinner_than_they_are() -> None:
    assert number_positions(np.zeros((NUMBER - 1, 400), np.int64)) == []
    assert number_positions(np.zeros((400, NUMBER - 1), np.int64)) == []
    assert [value for value, _, _ in number_positions(np.zeros((NUMBER, 400), np.int64))] == [0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of pictures of all sizes, each with one class or two, banks and statistics."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / "data" / kind / split).mkdir(parents=True)
        for index, (width, height) in enumerate(SIZES):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / "images" / split / f"{index}.png")
            mask = rng.integers(0, 3, (height, width), dtype=np.uint8)
            Image.fromarray(mask).save(folder / "data" / "masks" / split / f"{index}.png")
    scan(make_spec("toy", "folder", folder / "data", classes=CLASSES), workers=1).save(folder / "manifest.json")
    torch.manual_seed(0)
    save_file(build_model(TINY.model).state_dict(), folder / "weights.safetensors")
    write_json(folder / "weights.json", {"sha256": sha256_file(folder / "weights.safetensors")})
    extract_all(folder, ExtractSettings("whole", {"size": 64}), "val")
    compute_statistics(folder / "val-whole.json", folder / "statistics.npz")
    return folder


def test_page_and_panel_of_tiny_pictures_are_written(world: Path, tmp_path: Path) -> None:
    out = make_run(world, tmp_path)
    page = make_page(world, out).read_text()
    assert page.count('<figure class="shot">') >= len(SIZES)
    shown = {path.name.split(".")[1] for path in (out / "gallery").iterdir()}
    assert shown == {"image", "truth", "pca", *METHODS}
    sizes = {Image.open(path).size for path in (out / "gallery").glob("*.image.jpg")}
    assert sizes == {(400, 400), (400, 16), (16, 400), (400, 240)}
    assert {path.name.split(".")[0] for path in (out / "clusters").iterdir()} == set(METHODS)
    columns = panel_columns(
        [("kmeans", "classes", 0)], [out / "kmeans" / "seed0" / "val.h5"], [out / "kmeans" / "scores.json"], []
    )
    draw_panel(Manifest.load(world / "manifest.json"), columns, tmp_path / "panel.png")
    assert Image.open(tmp_path / "panel.png").width > 3 * WIDTH


def test_the_sheet_of_a_set_shows_pictures_without_a_mask_too(world: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(world / "manifest.json")
    draw_sheet(manifest, tmp_path / "all.png")
    content = manifest.splits["train"][0]
    object.__setattr__(content, "mask", None)
    draw_sheet(manifest, tmp_path / "without.png")
    assert Image.open(tmp_path / "without.png").width == Image.open(tmp_path / "all.png").width
    truth = truth_of(manifest, content)
    assert truth is not None
    np.testing.assert_array_equal(truth, np.full((content.height, content.width), IGNORED))


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_outputs_of_segment_have_the_pictures_size(tmp_path: Path, width: int, height: int, upsample: str) -> None:
    scores = np.random.default_rng(0).normal(size=(5, 7, 7)).astype(np.float32)
    writer = PictureWriter(tmp_path, own_segments(5), upsample, soft=True)  # type: ignore[arg-type]
    writer("x", Image.new("RGB", (width, height)), GridSegments(scores, np.arange(5)))
    labels = np.asarray(Image.open(tmp_path / "labels" / "x.png"))
    assert labels.shape == (height, width)
    assert labels.max() < 5
    assert Image.open(tmp_path / "overlays" / "x.png").size == (width, height)


class WindowBank:
    """Stands for a bank of one image with windows in every corner, one of them of a single pixel."""

    input_size = (64, 64)

    def read(self, rows: list[int], fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        boxes = np.array([[0, 0, 20, 20], [60, 60, 64, 64], [63, 0, 64, 1], [1, 1, 2, 2]], np.float32)
        stored = {"window": np.full(4, FOREGROUND), "boxes": boxes, "cls": np.zeros((4, 8), np.float32)}
        return {name: stored[name][None] for name in fields}


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_windows_of_thin_pictures_are_a_pixel_at_least(width: int, height: int) -> None:
    pixels = np.full((height, min(width, 400), 3), 200, np.uint8)
    cell = _windows(WindowBank(), 0, pixels, np.zeros((3, 8), np.float32), 3, palette(3))  # type: ignore[arg-type]
    assert cell.pixels.shape == pixels.shape
    assert cell.caption == "4 of 4 selected"
