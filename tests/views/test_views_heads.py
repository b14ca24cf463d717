"""Views that heads on single tokens train on: five squares, the mirror image, the central square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional

from patchbank.bank.centring import Centring
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.settings import CodingSettings
from patchbank.bank.verify import describe_bank, verify_bank
from patchbank.datasets import Manifest
from patchbank.errors import UserError
from patchbank.methods.tools.training_views import TrainingViews, sample_order, steps_in_epoch
from patchbank.views.base import make_recipe
from patchbank.views.five import five_boxes
from patchbank.views.recoloured import recoloured

SIZES = st.integers(1, 700)


def picture(width: int = 60, height: int = 40) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_five_squares_of_a_wide_image() -> None:
    """Half-size crops are 30 x 20, so squares of 20 lie 5 pixels inside them."""
    assert five_boxes(60, 40) == [
        (5, 0, 25, 20),
        (35, 0, 55, 20),
        (5, 20, 25, 40),
        (35, 20, 55, 40),
        (20, 10, 40, 30),
    ]


@given(SIZES, SIZES)
def test_five_squares_lie_inside_the_image(width: int, height: int) -> None:
    side = max(1, min(width // 2, height // 2))
    for x0, y0, x1, y1 in five_boxes(width, height):
        assert (x1 - x0, y1 - y0) == (side, side)
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height


@pytest.mark.parametrize("resize", ["pil", "torch", "nearest"])
def test_pixels_of_five_are_those_of_their_boxes(resize: str) -> None:
    recipe = make_recipe("five", {"size": 20, "resize": resize}, patch=4)
    views, image = recipe.make(picture(), "a", 0), picture()
    assert views.pixels.shape == (5, 20, 20, 3)
    for pixels, box in zip(views.pixels, views.boxes, strict=True):
        np.testing.assert_allclose(pixels, np.asarray(image.crop(tuple(box.tolist()))), atol=1e-4)
    assert recipe.record() == {**recipe.record(), "name": "five", "size": [20, 20]}
    assert not views.flip.any()


def test_the_mirror_image_is_the_mirrored_view_of_the_whole_image() -> None:
    whole, mirrored = (make_recipe(name, {"size": 32}, 8).make(picture(), "a", 0) for name in ("whole", "mirrored"))
    np.testing.assert_array_equal(mirrored.pixels, whole.pixels[:, :, ::-1])
    assert (mirrored.flip.tolist(), mirrored.boxes.tolist()) == ([True], whole.boxes.tolist())
    assert make_recipe("mirrored", {"size": 32}, 8).record()["name"] == "mirrored"


@given(SIZES, SIZES)
def test_the_central_square_is_central(width: int, height: int) -> None:
    (x0, y0, x1, y1) = make_recipe("center320", {"size": 16}, 16).make(picture(width, height), "a", 0).boxes[0]
    assert (x1 - x0, y1 - y0) == (min(width, height),) * 2
    assert abs((width - x1) - x0) <= 1
    assert abs((height - y1) - y0) <= 1


@pytest.mark.parametrize("of", ["whole", "center320"])
def test_other_colours_stay_in_their_places(of: str) -> None:
    plain, other = (
        make_recipe(name, own, 8) for name, own in [(of, {"size": 32}), ("recoloured", {"of": of, "size": 32})]
    )
    views = [other.make(picture(), "a", draw) for draw in range(other.draws)]
    expected = plain.make(picture(), "a", 0)
    assert (other.draws, other.size) == (4, plain.size)
    for one in views:
        np.testing.assert_array_equal(one.boxes, expected.boxes)
        assert (one.pixels.shape, one.pixels.dtype) == (expected.pixels.shape, np.float32)
        assert (one.pixels.min() >= 0, one.pixels.max() <= 255.001) == (True, True)
    assert len({one.pixels.tobytes() for one in views}) == 4
    fewer = make_recipe("recoloured", {"of": of, "size": 32, "draws": 2}, 8)
    assert fewer.make(picture(), "a", 1).pixels.tobytes() == views[1].pixels.tobytes()
    assert other.record() == {**plain.record(), "name": "recoloured", "of": of, "draws": 4, "seed": 0}


def test_colours_change_as_often_as_published() -> None:
    """Of an even grey picture blur changes nothing, grey neither; of an even red one jitter and grey do."""
    red = np.full((4, 4, 3), (200, 40, 40), np.float32)
    grey = changed = 0
    for number in range(2000):
        pixels = recoloured(red, np.random.default_rng(number))[0, 0]
        is_grey = np.ptp(pixels) < 1e-3
        grey += is_grey
        changed += not is_grey and np.abs(pixels - red[0, 0]).max() > 1e-3
    assert changed / 2000 == pytest.approx(0.5 * 0.3, abs=0.03)
    assert grey / 2000 == pytest.approx(0.5 * 0.1, abs=0.02)


class _Largest:
    """Draws the upper bound of everything, and chances that let colours change."""

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        return high if size is None else np.full(size, high)

    def random(self, size: int) -> np.ndarray:
        return np.zeros(size)

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)


def test_colours_change_by_what_is_published() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    planes = functional.gaussian_blur(torch.from_numpy(pixels / 255).permute(2, 0, 1), [21, 21], [2.0, 2.0])
    for change in (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation):
        planes = change(planes, 1.1)
    expected = functional.adjust_hue(planes, 0.1).permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(recoloured(pixels, _Largest()), expected, atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", ["recoloured", "pixels"])
def test_a_central_square_has_one_side(recipe: str) -> None:
    with pytest.raises(UserError, match=rf"{recipe}\.size is \[32, 64\], and the views of center320 have one side"):
        make_recipe(recipe, {"of": "center320", "size": [32, 64]}, 8)


@pytest.mark.parametrize("of", ["whole", "center320"])
@pytest.mark.parametrize("resize", ["pil", "torch"])
def test_pixels_are_those_of_the_view_in_eight_bits(of: str, resize: str) -> None:
    own = {"size": 32, "resize": resize}
    plain, pixels = make_recipe(of, own, 8), make_recipe("pixels", {"of": of, **own}, 8)
    expected, found = (recipe.make(picture(), "a", 0) for recipe in (plain, pixels))
    assert (found.pixels.dtype, found.pixels.shape) == (np.uint8, (1, 32, 32, 3))
    assert np.abs(found.pixels.astype(float) - expected.pixels).max() <= 0.5
    assert len(np.unique(found.pixels)) > 50
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    fields = ["pixels", "boxes", "flip", "image"]
    assert pixels.record() == {**plain.record(), "name": "pixels", "of": of, "fields": fields}


def test_a_bank_of_pixels_holds_them_and_nothing_of_the_encoder(tmp_path: Path) -> None:
    make_images(tmp_path, 5)
    pointer = extract_all(tmp_path, ExtractSettings("pixels", {"size": [32, 48]}, images_per_shard=2))
    bank = open_bank(pointer, check=True)
    stored = bank.read(np.arange(5), ("pixels", "boxes"))
    assert (stored["pixels"].dtype, stored["pixels"].shape) == (np.uint8, (5, 1, 32, 48, 3))
    manifest = Manifest.load(tmp_path / "manifest.json")
    recipe = make_recipe("whole", {"size": [32, 48]}, 16)
    for entry in manifest.entries("train"):
        row = bank.images.index(entry.id)
        np.testing.assert_array_equal(stored["pixels"][row], recipe.make(manifest.image(entry), entry.id, 0).pixels)
    assert not {"tokens", "cls"} & set(bank.fields)
    assert verify_bank(bank.folder) == 5
    assert "(5, 1, 32, 48, 3) uint8" in describe_bank(bank.folder)


def test_every_draw_is_blurred() -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    for number in range(20):
        rng = np.random.default_rng(number)
        sigma = np.random.default_rng(number).uniform(0.1, 2)
        ratio = recoloured(noise, rng).std() / noise.std()
        assert ratio < (1.1 if sigma < 0.3 else 0.98)


class _Bank:
    """A bank of three images whose token at (y, x) of image i is (i, y, x)."""

    images, grid, dim = ("a", "b", "c"), (4, 6), 3

    def read(self, rows: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        y, x = np.mgrid[:4, :6]
        tokens = [np.stack([np.full((4, 6), row), y, x], -1).reshape(1, 24, 3) for row in rows]
        return {"tokens": np.stack(tokens).astype(np.float16)}


def test_windows_are_half_the_grid_at_five_places() -> None:
    views = TrainingViews(_Bank(), "windows", Centring())  # type: ignore[arg-type]
    assert (views.count, views.grid) == (15, (2, 3))
    tokens = views.read(np.array([14, 5, 6, 7, 8]))  # not in the order of the bank
    assert tokens[:, 0].tolist() == [[2, 1, 1], [1, 0, 0], [1, 0, 3], [1, 2, 0], [1, 2, 3]]
    assert tokens[0].tolist() == [[2, y, x] for y in (1, 2) for x in (1, 2, 3)]


def test_random_windows_come_from_everywhere() -> None:
    views = TrainingViews(_Bank(), "random", Centring())  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    corners = {tuple(views.read(np.array([1]), rng)[0, 0, 1:].tolist()) for _ in range(300)}
    assert corners == {(y, x) for y in range(3) for x in range(4)}
    np.testing.assert_allclose(np.linalg.norm(views.means(), axis=1), 1, atol=1e-6)


def test_means_of_random_windows_are_of_the_whole_image() -> None:
    """What no window in the top left corner sees changes them too."""

    class Changed(_Bank):
        def read(self, rows: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
            tokens = super().read(rows, fields)["tokens"]
            tokens.reshape(len(rows), 4, 6, 3)[:, 2:, 3:] += 8
            return {"tokens": tokens}

    plain, changed = (TrainingViews(bank, "random", Centring()).means() for bank in (_Bank(), Changed()))  # type: ignore[arg-type]
    assert (np.abs(plain - changed).max(1) > 0.01).all()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_of_five_stored_views_only_one_is_read(dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_images(tmp_path, 5)
    coding = CodingSettings("train", {"size": 32}) if dtype == "int8" else None
    how = ExtractSettings("five", {"size": 32}, dtype=dtype, images_per_shard=2, coding=coding)
    bank = open_bank(extract_all(tmp_path, how))
    stored = bank.read(np.arange(len(bank)), ("tokens",))["tokens"]
    monkeypatch.setattr(bank, "read", None)  # it reads all views of a sample
    views = TrainingViews(bank, "five", Centring())
    samples = np.array([24, 3, 12, 3, 0, 11])  # not in the order of the bank
    expected = stored[samples // 5, samples % 5].astype(np.float32)
    np.testing.assert_array_equal(views.read(samples).numpy(), expected)
    assert views.means().shape == (25, bank.dim)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("centre", ["mean", "standardise"])
def test_views_are_centred_bit_by_bit_as_tokens_are_and_draws_are_rows(dtype: Any, centre: str, tmp_path: Path) -> None:
    make_images(tmp_path, 3)
    coding = CodingSettings("train", {"size": 32}) if dtype == "int8" else None
    how = ExtractSettings("recoloured", {"size": 32, "draws": 2}, dtype=dtype, images_per_shard=2, coding=coding)
    bank = open_bank(extract_all(tmp_path, how))
    stored = torch.from_numpy(bank.read(np.arange(len(bank)), ("tokens",))["tokens"][:, 0]).float()
    deviation = stored.flatten(0, 1).std(0) if centre == "standardise" else None
    centring = Centring(stored.flatten(0, 1).mean(0).double(), deviation)
    views = TrainingViews(bank, "whole", centring)
    assert views.count == 3
    found = views.read(np.array([2, 0, 1]), draws=np.array([1, 1, 0]))
    assert torch.equal(found, centring(stored)[[5, 1, 2]])
    assert torch.equal(
        TrainingViews(bank, "whole", Centring(None, deviation)).read(np.array([0]), draws=np.array([0])),
        Centring(None, deviation)(stored)[:1],
    )


@given(st.integers(1, 40), st.integers(1, 20), st.booleans())
def test_an_epoch_holds_every_sample_once_at_most(count: int, batch_size: int, keep_last: bool) -> None:
    order = sample_order(count, batch_size, 3, keep_last)
    steps = steps_in_epoch(count, batch_size, keep_last)
    epochs = [[next(order) for _ in range(steps)] for _ in range(2)]
    for number, epoch in enumerate(epochs):
        assert {of for of, _ in epoch} == {number}
        seen = np.concatenate([samples for _, samples in epoch])
        assert len(set(seen.tolist())) == len(seen)
        left = count - len(seen)
        assert left <= 1 if keep_last else left < min(batch_size, count)
