"""Recipe `dense`: where its tokens lie, checked with an encoder whose tokens tell what they saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from patchbank.backbones.encoder import Encoded
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.encode import encode, encode_rows, image_views, row_shapes
from patchbank.errors import UserError
from patchbank.views.base import make_recipe
from patchbank.views.bounds import read_as, recipe_problems, stored_as
from patchbank.views.dense import interleaved
from patchbank.weights.spec import BackboneSpec


class MeanOfPatch:
    """An encoder whose token is the mean colour of its patch; the class token that of the image."""

    heads, dim, class_token = 1, 3, True

    def __init__(self, patch: int) -> None:
        self.patch, self.passes = patch, 0

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.patch, width // self.patch

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return images.double()

    def __call__(self, images: torch.Tensor) -> Encoded:
        self.passes += len(images)
        h, w = self.grid(*images.shape[1:3])
        tokens = images.reshape(len(images), h, self.patch, w, self.patch, 3).mean((2, 4)).flatten(1, 2)
        return Encoded(tokens, tokens.mean(1), tokens[:, None, :, 0] / tokens[:, None, :, 0].sum(-1, keepdim=True))


def rows_of(image: Image.Image, patch: int, shift: int, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    recipe = make_recipe("dense", {"size": list(size), "shift": shift}, patch)
    pictures = tuple(part[None] for part in image_views(recipe, image, "a"))
    return encode_rows(MeanOfPatch(patch), recipe, pictures, 10**6)  # type: ignore[arg-type]


def middles(size: tuple[int, int], squash: int) -> Image.Image:
    """A picture `squash` times as large: red and green tell x and y in pixels of the squashed one, three steps each."""
    y, x = (3 * (np.arange(side * squash) + 0.5) / squash for side in size)
    pixels = np.zeros((len(y), len(x), 3))
    pixels[..., 0], pixels[..., 1] = x, y[:, None]
    return Image.fromarray(pixels.round().astype(np.uint8))


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([(4, 2), (8, 2), (16, 2), (3, 3), (9, 3), (8, 4), (5, 1)]))
@settings(max_examples=30)
def test_tokens_stand_in_the_middle_of_the_cells_of_the_finer_grid(h: int, w: int, kind: tuple[int, int]) -> None:
    """Exact wherever shifts are whole pixels: every cell against the mean of its patch in the mirrored picture."""
    patch, shift = kind
    size = (h * patch, w * patch)
    pixels = np.random.default_rng(h * w).integers(0, 256, (*size, 3), dtype=np.uint8)
    tokens = rows_of(Image.fromarray(pixels), patch, shift, size)["tokens"]
    margin = patch
    padded = np.pad(pixels.astype(np.float64), ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    cell = patch / shift
    expected = []
    for i in range(shift * h):
        for j in range(shift * w):
            top, left = ((k + 0.5) * cell - patch / 2 + margin for k in (i, j))
            assert top == int(top)
            expected.append(padded[int(top) : int(top) + patch, int(left) : int(left) + patch].mean((0, 1)))
    np.testing.assert_allclose(tokens[0, 0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("patch", "squash"), [(14, 1), (14, 2), (16, 2), (6, 3)])
def test_tokens_tell_their_middles(patch: int, squash: int) -> None:
    """Also where a quarter of a patch is no whole pixel, and where the picture is squashed, but for rounded colours."""
    size = (3 * patch, 4 * patch)
    tokens = rows_of(middles(size, squash), patch, 2, size)["tokens"][0, 0].reshape(6, 8, 3).numpy()
    columns, rows = ((np.arange(count) + 0.5) * patch / 2 for count in (8, 6))
    inside = slice(1, -1)  # cells at the border see mirrored pixels
    np.testing.assert_allclose(tokens[inside, inside, 0], np.tile(3 * columns[inside], (4, 1)), atol=0.6)
    np.testing.assert_allclose(tokens[inside, inside, 1].T, np.tile(3 * rows[inside], (6, 1)), atol=0.6)


def test_the_grids_of_four_shifts_interleave_by_hand() -> None:
    parts = torch.arange(4).view(1, 4, 1, 1) * 10 + torch.arange(2).view(1, 1, 2, 1)  # grid of 1 x 2
    assert interleaved(parts, (1, 2), 2).flatten().tolist() == [0, 10, 1, 11, 20, 30, 21, 31]


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([2, 3]))
@settings(max_examples=20)
def test_any_picture_gives_a_full_grid_of_its_own_colours(width: int, height: int, shift: int) -> None:
    image = Image.new("RGB", (width, height), (10, 200, 77))
    rows = rows_of(image, 14, shift, (28, 42))
    assert rows["tokens"].shape == (1, 1, 6 * shift**2, 3)
    np.testing.assert_allclose(rows["tokens"][0, 0].numpy(), np.tile([10.0, 200, 77], (6 * shift**2, 1)))
    assert rows["boxes"].tolist() == [[[0, 0, width, height]]]


def test_what_is_said_of_the_class_token_is_that_of_all_views() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    rows = rows_of(image, 16, 2, (32, 48))
    assert (rows["cls"].shape, rows["cls_attention"].shape) == ((1, 1, 3), (1, 1, 1, 24))
    torch.testing.assert_close(rows["cls"][0, 0], rows["tokens"][0, 0].mean(0))
    torch.testing.assert_close(rows["cls_attention"].sum(-1), torch.ones(1, 1, 1, dtype=torch.float64))
    view = rows["tokens"][0, 0, :, 0].view(4, 6)[::2, ::2]  # that of the first shift
    share = rows["cls_attention"].view(4, 6)[::2, ::2]
    torch.testing.assert_close(share, view / view.sum() / 4)


def test_batches_of_any_size_say_the_same_and_rows_are_as_declared() -> None:
    torch.manual_seed(0)
    vit = FrozenViT(BackboneSpec("tiny", "vit_tiny_patch16_224", block=0), None, device="cpu")
    recipe = make_recipe("dense", {"size": 32}, 16)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    pixels = torch.stack([image_views(recipe, Image.fromarray(image), "a")[0] for image in images])
    small, large = (encode(vit, recipe, pixels, batch) for batch in (4, 10**6))
    for name, (shape, _) in row_shapes(vit, recipe, np.dtype(np.float16)).items():
        if name in large:
            assert large[name].shape == (3, *shape)
            torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-5)
    assert {"tokens", "cls", "cls_attention"} == set(large)
    plain = encode(vit, make_recipe("whole", {"size": 32}, 16), pixels[:, :, :1], 10**6)["tokens"]
    grid: NDArray[np.float32] = large["tokens"].view(3, 4, 4, -1)[:, ::2, ::2].flatten(1, 2).numpy()
    np.testing.assert_allclose(grid, plain[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def test_whole_with_a_shift_is_dense_and_read_as_whole() -> None:
    assert stored_as("whole", {"size": 448, "resize": "pil", "shift": 1}) == ("whole", {"size": 448, "resize": "pil"})
    assert stored_as("whole", {"size": 448, "shift": 2}) == ("dense", {"size": 448, "shift": 2})
    assert stored_as("flipped", {"size": 448, "shift": 1}) == ("flipped", {"size": 448})
    assert (read_as("dense"), read_as("whole"), read_as("multicrop")) == ("whole", "whole", "multicrop")
    assert list(recipe_problems({"shift": 2, "resize": "torch"})) == [
        "shift is 2, which needs resize: pil; received 'torch'"
    ]
    with pytest.raises(UserError, match="shift is 2, which needs resize: pil; received 'torch'"):
        make_recipe("dense", {"resize": "torch"}, 16)
