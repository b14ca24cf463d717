from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from patchbank.evaluation.refine import refined_ids
from patchbank.evaluation.soft import soft_assignments
from patchbank.refinement.pamr import pamr_winners


def test_predictions_by_pamr_follow_the_edges_of_the_image() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 24:] = (250, 200, 20)  # the edge lies inside a patch of the 4 x 4 grid
    picture += np.random.default_rng(0).integers(0, 5, picture.shape, dtype=np.uint8)
    grid = np.array([[7, 7, 3, 3]] * 4)  # the patches' edge is at column 32
    found = refined_ids(grid, Image.fromarray(picture), (64, 64), pamr_winners)
    truth = np.where(np.arange(64) < 24, 7, 3)[None].repeat(64, 0)
    plain = np.where(np.arange(64) < 32, 7, 3)[None].repeat(64, 0)
    assert set(np.unique(found)) == {3, 7}
    assert (found != truth).mean() < (plain != truth).mean() / 2
    assert (refined_ids(np.full((2, 3), 9), Image.fromarray(picture), (10, 12), pamr_winners) == 9).all()


def test_an_id_without_a_patch_gets_no_pixel() -> None:
    scores = np.array([[[[4.0, 0.0]], [[3.9, 3.9]], [[0.0, 4.0]]]], np.float32)  # id 1 is second best everywhere
    soft = soft_assignments(scores)
    assert (soft[:, 1] == 0).all()
    assert soft_assignments(scores, every_id=True).sum(1) == pytest.approx(1)
    assert soft[0, 0, 0, 0] == pytest.approx(np.exp(4) / (np.exp(4) + np.exp(3.9) + 1), rel=1e-5)
