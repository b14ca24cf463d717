"""Where the foreground of an image begins (`patchbank.methods.tools.foreground_split`)."""

from __future__ import annotations

import numpy as np
import pytest
from foreground_pictures import pictures, split_of, square
from hypothesis import given
from hypothesis import strategies as st

from patchbank.methods.tools.foreground_split import Split, border_of, has_split, otsu, with_background


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_foreground_is_the_side_that_keeps_away_from_the_border(per_image: bool, sign: int) -> None:
    tokens = sign * pictures([0, 1, 2, 0])
    split = split_of(tokens, per_image)
    for image in tokens:
        assert ((split.margins(image) > 0) == square()).all()


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=60))
def test_otsu_is_as_good_as_the_best_of_all_thresholds_on_a_fine_grid(numbers: list[int]) -> None:
    values = np.array(numbers, np.float64)
    threshold = otsu(values)
    if values.min() == values.max():
        assert threshold < values.min()
        return

    def between(cut: float) -> float:
        below, above = values[values <= cut], values[values > cut]
        if not len(below) or not len(above):
            return 0.0
        return float(len(below) * len(above) * (below.mean() - above.mean()) ** 2)

    assert values.min() < threshold < values.max()
    best = max(between(cut) for cut in values)
    width = (values.max() - values.min()) / 256
    assert between(threshold) >= 0.9 * best - len(values) ** 2 * width**2


def test_the_border_of_grids_has_an_outside_and_an_inside() -> None:
    assert border_of((3, 4)).reshape(3, 4).tolist() == [[True] * 4, [True, False, False, True], [True] * 4]
    for grid in [(1, 2), (2, 2), (2, 9), (1, 7)]:
        assert 0 < border_of(grid).sum() < grid[0] * grid[1]


@pytest.mark.parametrize("per_image", [False, True])
def test_a_stored_split_is_the_same(per_image: bool) -> None:
    tokens = pictures([0, 1])
    split = split_of(tokens, per_image)
    stored = split.arrays()
    assert has_split({**stored, "other": 1})
    assert not has_split({"other": 1})
    again = Split.from_arrays(stored)
    assert (again.threshold is None) == per_image
    assert (again.margins(tokens[1]) == split.margins(tokens[1])).all()


def test_the_background_wins_where_the_margin_is_not_above_0() -> None:
    near = np.array([[3, 1], [0, 2], [5, 5]], np.float32)
    scores = with_background(near, np.array([0.5, -1, 0], np.float32))
    assert scores.tolist() == [[0, 0.5, -1.5], [0, -3, -1], [0, 0, 0]]
    assert scores.argmax(1).tolist() == [1, 0, 0]
