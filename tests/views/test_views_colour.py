"""Colour augmentation: off it changes nothing, on it changes colours only, and equals torchvision's own transforms."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from torchvision import transforms

from patchbank.seeds import generator
from patchbank.views import colour
from patchbank.views.base import make_recipe

BOXES = {
    (60, 40): [[12, 1, 52, 40], [26, 17, 50, 39], [21, 18, 44, 39], [19, 19, 35, 36]],
    (300, 17): [[138, 0, 161, 17]] * 4,
    (33, 200): [[0, 78, 33, 122], [3, 81, 22, 104], [3, 79, 25, 106], [0, 58, 33, 91]],
}
"""Draw 0 of images 0, 1 and 2 with 3 local crops, by image size, as they were before there was an augmentation."""


def picture(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("augment", [False, True])
def test_boxes_are_what_they_were(augment: bool) -> None:
    recipe = make_recipe("multicrop", {"size": 32, "local_crops": 3, "augment": augment}, 16)
    for number, (size, boxes) in enumerate(BOXES.items()):
        views = recipe.make(picture(*size), f"{number:016x}", 0)
        assert views.boxes.tolist() == boxes
        crops = [picture(*size).crop(tuple(box)).resize((32, 32), Image.Resampling.BILINEAR) for box in boxes]
        assert np.array_equal(views.pixels, np.stack([np.asarray(crop) for crop in crops])) != augment


def test_colours_depend_on_seed_image_draw_and_view() -> None:
    def made(seed: int = 0, image: str = "a" * 16, draw: int = 0) -> np.ndarray:
        recipe = make_recipe("multicrop", {"size": 32, "augment": True, "seed": seed}, 16)
        # a plain picture looks the same in every box
        return recipe.make(Image.new("RGB", (90, 90), (180, 90, 40)), image, draw).pixels

    first = made()
    np.testing.assert_array_equal(first, made())
    assert len({view.tobytes() for view in first}) == 3
    for other in (made(seed=1), made(image="b" * 16), made(draw=1)):
        assert not np.array_equal(first, other)


def test_a_distorted_view_is_what_torchvision_makes_of_the_same_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = set()
    jittered = greyed = blurred = 0
    for seed in range(40):
        rng, view = generator(seed), picture()
        if rng.random() < 0.8:
            bounds = [(0.2, 1.8)] * 3 + [(-0.2, 0.2)]
            factors = [rng.uniform(*pair) for pair in bounds]
            order = rng.permutation(4)
            jitter = transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)
            monkeypatch.setattr(jitter, "get_params", lambda *_, o=order, f=factors: (o, *f))
            view = jitter(view)
            orders.add(tuple(order))
            jittered += 1
        if rng.random() < 0.2:
            view = transforms.Grayscale(3)(view)
            greyed += 1
        if rng.random() < 0.5:
            view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
            blurred += 1
        np.testing.assert_array_equal(np.asarray(colour.distort(picture(), generator(seed))), np.asarray(view))
    assert len(orders) > 10
    assert 24 < jittered < 40
    assert 2 < greyed < 18
    assert 10 < blurred < 30


def test_the_bank_records_the_augmentation() -> None:
    records = [make_recipe("multicrop", {"augment": augment}, 16).record() for augment in (False, True)]
    assert records[0] == {**records[1], "augment": False}
