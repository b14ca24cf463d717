from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from patchbank.evaluation.refine import CONTRAST, pamr, pamr_winners, refined_ids
from patchbank.evaluation.soft import soft_assignments


def slow_step(image: np.ndarray, masks: np.ndarray, dilations: tuple[int, ...]) -> np.ndarray:
    """One step, pixel by pixel."""
    _, height, width = image.shape
    out = np.zeros_like(masks)
    offsets = [(dy * d, dx * d) for d in dilations for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    for y in range(height):
        for x in range(width):
            places = [(np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)) for dy, dx in offsets]
            around = np.array([image[:, r, c] for r, c in places])
            patch = np.concatenate([around, np.repeat(image[None, :, y, x], len(dilations), axis=0)])
            likeness = -np.abs(around - image[:, y, x]) / (CONTRAST * patch.std(0, ddof=1) + 1e-8)
            weight = np.exp(likeness.mean(1) - likeness.mean(1).max())
            weight /= weight.sum()
            out[:, y, x] = sum(w * masks[:, r, c] for w, (r, c) in zip(weight, places, strict=True))
    return out


def test_pamr_is_the_obvious_one() -> None:
    rng = np.random.default_rng(0)
    image, masks = rng.random((3, 7, 6)), rng.random((4, 7, 6))
    expected = slow_step(image, slow_step(image, masks, (1, 2)), (1, 2))
    found = pamr(torch.from_numpy(image), torch.from_numpy(masks), 2, (1, 2)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_pamr_keeps_a_partition_and_follows_the_edges_of_the_image() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 24:] = (250, 200, 20)  # the edge lies inside a patch of the 4 x 4 grid
    picture += np.random.default_rng(0).integers(0, 5, picture.shape, dtype=np.uint8)
    grid = np.array([[7, 7, 3, 3]] * 4)  # the patches' edge is at column 32
    found = refined_ids(grid, Image.fromarray(picture), (64, 64), pamr_winners)
    truth = np.where(np.arange(64) < 24, 7, 3)[None].repeat(64, 0)
    plain = np.where(np.arange(64) < 32, 7, 3)[None].repeat(64, 0)
    assert set(np.unique(found)) == {3, 7}
    assert (found != truth).mean() < (plain != truth).mean() / 2
    masks = torch.rand(3, 9, 9).softmax(0)
    np.testing.assert_allclose(pamr(torch.rand(3, 9, 9), masks).sum(0).numpy(), 1, atol=1e-5)
    assert (refined_ids(np.full((2, 3), 9), Image.fromarray(picture), (10, 12), pamr_winners) == 9).all()


def test_an_id_without_a_patch_gets_no_pixel() -> None:
    scores = np.array([[[[4.0, 0.0]], [[3.9, 3.9]], [[0.0, 4.0]]]], np.float32)  # id 1 is second best everywhere
    soft = soft_assignments(scores)
    assert (soft[:, 1] == 0).all()
    assert soft_assignments(scores, every_id=True).sum(1) == pytest.approx(1)
    assert soft[0, 0, 0, 0] == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(3.9) + 1), rel=1e-5)
