"""Crops: geometry, determinism, recipes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.encode import encode, row_shapes
from patchbank.errors import UserError
from patchbank.seeds import generator
from patchbank.views import geometry
from patchbank.views.base import RecipeProtocol, make_recipe
from patchbank.views.geometry import MAX_REDRAWS, RATIO, intersection, local_box, random_box
from patchbank.weights.spec import BackboneSpec

SIZES = st.integers(1, 700)


def picture(width: int = 60, height: int = 40) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@given(SIZES, SIZES, st.integers(0, 1000), st.sampled_from([(0.05, 0.25), (0.5, 1.0), (1.0, 1.0)]))
def test_a_crop_lies_inside_the_image(width: int, height: int, seed: int, scale: tuple[float, float]) -> None:
    x0, y0, x1, y1 = random_box(generator(seed), width, height, scale)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height


@given(st.integers(200, 700), st.integers(200, 700), st.integers(0, 1000))
def test_area_and_ratio_of_a_crop_are_within_their_bounds(width: int, height: int, seed: int) -> None:
    x0, y0, x1, y1 = random_box(generator(seed), width, height, (0.05, 0.25))
    w, h = x1 - x0, y1 - y0
    assert 0.045 <= w * h / (width * height) <= 0.26
    assert RATIO[0] * 0.95 <= w / h <= RATIO[1] * 1.05


def test_crops_are_spread_over_area_and_place() -> None:
    boxes = np.array([random_box(generator(i), 400, 300, (0.05, 0.25)) for i in range(2000)])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 120_000
    assert abs(area.mean() - 0.15) < 0.005  # uniform between 0.05 and 0.25
    assert abs(np.log((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])).mean()) < 0.02  # log-uniform
    assert boxes[:, 0].min() == 0
    assert boxes[:, 2].max() == 400


@given(st.integers(30, 500), st.integers(30, 500), st.integers(0, 1000))
def test_a_local_crop_meets_the_global_one(width: int, height: int, seed: int) -> None:
    rng = generator(seed)
    anchor = random_box(rng, width, height, (0.5, 1.0))
    box = local_box(rng, width, height, (0.05, 0.25), anchor)
    assert 0 <= box[0] < box[2] <= width
    assert 0 <= box[1] < box[3] <= height
    area = (box[2] - box[0]) * (box[3] - box[1])
    assert intersection(box, anchor) > min(math.floor(0.05 * width * height), area - 1)


def test_an_overlap_that_cannot_be_reached_ends_with_the_centred_crop() -> None:
    anchor = (300, 200, 400, 300)
    box = local_box(generator(0), 400, 300, (0.01, 0.02), anchor)
    assert intersection(box, anchor) == (box[2] - box[0]) * (box[3] - box[1])


def test_a_local_crop_is_redrawn_until_it_shares_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    anchor = (0, 0, 100, 100)
    apart, exact, enough = (150, 0, 180, 30), (90, 0, 110, 50), (90, 0, 110, 51)  # 0, 500 and 510 of 500 pixels
    for draws, expected in (([apart, exact, enough], enough), ([enough, apart], enough)):
        waiting = iter(draws)
        monkeypatch.setattr(geometry, "random_box", lambda *_, w=waiting: next(w))
        assert local_box(generator(0), 100, 100, (0.05, 0.25), anchor) == expected


def test_redraws_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(geometry, "random_box", lambda *_: drawn.append(1) or (380, 280, 400, 300))
    assert local_box(generator(0), 400, 300, (0.05, 0.25), (0, 0, 200, 100)) == (90, 40, 110, 60)
    assert len(drawn) == MAX_REDRAWS


@pytest.mark.parametrize(
    ("size", "box"), [((300, 30), (130, 0, 170, 30)), ((30, 300), (0, 130, 30, 170)), ((1, 1), (0, 0, 1, 1))]
)
def test_where_no_try_fits_the_largest_central_crop_is_taken(
    size: tuple[int, int], box: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "TRIES", 0)
    assert random_box(generator(0), *size, (0.5, 1.0)) == box


def test_intersection_by_hand() -> None:
    assert intersection((0, 0, 4, 4), (2, 3, 9, 9)) == 2
    assert intersection((0, 0, 4, 4), (4, 0, 9, 9)) == 0


def test_multicrop_depends_on_seed_image_and_draw_only() -> None:
    recipe = make_recipe("multicrop", {"size": 32, "draws": 3}, 16)
    views = recipe.make(picture(), "a" * 16, 1)
    assert views.pixels.shape == (3, 32, 32, 3)
    again = make_recipe("multicrop", {"size": 32, "draws": 9}, 16).make(picture(), "a" * 16, 1)
    np.testing.assert_array_equal(views.pixels, again.pixels)
    for other in (recipe.make(picture(), "b" * 16, 1), recipe.make(picture(), "a" * 16, 2)):
        assert not np.array_equal(views.boxes, other.boxes)
    seeded = make_recipe("multicrop", {"size": 32, "seed": 1}, 16).make(picture(), "a" * 16, 1)
    assert not np.array_equal(views.boxes, seeded.boxes)


def test_a_view_is_its_box_resized() -> None:
    views = make_recipe("multicrop", {"size": 32}, 16).make(picture(), "a" * 16, 0)
    box = tuple(int(v) for v in views.boxes[2])
    expected = picture().crop(box).resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(views.pixels[2], np.asarray(expected))


def test_whole_squashes_and_rounds_to_the_patch() -> None:
    recipe = make_recipe("whole", {"size": 320}, 14)
    assert recipe.size == (322, 322)
    views = recipe.make(picture(), "a" * 16, 0)
    assert views.pixels.shape == (1, 322, 322, 3)
    assert views.boxes.tolist() == [[0, 0, 60, 40]]


def test_a_recipe_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match=r"Recipe 'tiles' does not exist; recipes are augmented, .*whole, windows\."):
        make_recipe("tiles", {}, 14)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"local_scale": (0.01, 0.05)}, r"local_scale is \[0.01, 0.05\]; local crops must share more than 0.05"),
        ({"global_scale": (0.02, 0.04)}, r"global_scale is \[0.02, 0.04\]; local crops must share"),
        ({"global_scale": (1.0, 0.5)}, r"global_scale is \[1.0, 0.5\]; the smaller bound comes first"),
    ],
)
def test_crops_that_cannot_overlap_are_refused(settings: dict[str, tuple[float, float]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_recipe("multicrop", settings, 14)


def test_flipped_features_of_a_mirror_image_are_mirrored() -> None:
    torch.manual_seed(0)
    vit = FrozenViT(BackboneSpec("random", "vit_tiny_patch16_224", block=1, norm=False), None, device="cpu")
    recipe, whole = make_recipe("flipped", {"size": (32, 48)}, 16), make_recipe("whole", {"size": (32, 48)}, 16)
    assert recipe.record() == {**whole.record(), "name": "flipped"}
    assert row_shapes(vit, recipe, np.dtype(np.float16)) == row_shapes(vit, whole, np.dtype(np.float16))
    pixels = torch.tensor(recipe.make(picture(), "a" * 16, 0).pixels)[None, None]
    mirror = pixels.flip(4)

    def encoded(recipe: RecipeProtocol, image: torch.Tensor) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in encode(vit, recipe, image, 12).items()}

    one, other = (encoded(recipe, image) for image in (pixels, mirror))
    plain, plain_mirror = (encoded(whole, image) for image in (pixels, mirror))
    for name, shape in (("tokens", (2, 3, -1)), ("cls_attention", (3, 2, 3))):
        grid, turned = one[name][0, 0].reshape(shape), other[name][0, 0].reshape(shape)
        columns = 1 if name == "tokens" else 2
        np.testing.assert_allclose(turned, np.flip(grid, columns), rtol=0, atol=1e-6)
        halves = [fields[name][0, 0].reshape(shape) for fields in (plain, plain_mirror)]
        np.testing.assert_allclose(grid, (halves[0] + np.flip(halves[1], columns)) / 2, rtol=0, atol=1e-6)
        assert not np.allclose(grid, halves[0], rtol=0, atol=1e-3)
    np.testing.assert_allclose(one["cls"], (plain["cls"] + plain_mirror["cls"]) / 2, rtol=0, atol=1e-6)
