from __future__ import annotations

import numpy as np
import torch

from patchbank.refinement.pamr import CONTRAST, pamr


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


def test_pamr_keeps_a_partition() -> None:
    masks = torch.rand(3, 9, 9).softmax(0)
    np.testing.assert_allclose(pamr(torch.rand(3, 9, 9), masks).sum(0).numpy(), 1, atol=1e-5)
