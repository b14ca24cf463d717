from __future__ import annotations

import numpy as np
import pytest
from golden_files import load_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbank.methods.alignseg.foreground import ForegroundMasks, _without_specks, foreground_masks


def test_golden_foreground() -> None:
    golden = load_golden("alignseg_foreground")
    side = int(golden["grid"])
    masks = foreground_masks(golden["attention_heads"], (side, side))
    np.testing.assert_array_equal(masks.reshape(golden["foreground"].shape), golden["foreground"].astype(bool))


def test_golden_foreground_notices_another_map() -> None:
    golden = load_golden("alignseg_foreground")
    side = int(golden["grid"])
    masks = foreground_masks(golden["attention_heads"][::-1], (side, side))
    assert (masks.reshape(golden["foreground"].shape) != golden["foreground"].astype(bool)).any()


def components(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        waiting, part = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting.extend(near)
        found.append(part)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 12), st.integers(4, 12), st.integers(0, 2**31))
def test_no_component_is_smaller_than_three_patches(h: int, w: int, seed: int) -> None:
    attention = np.random.default_rng(seed).random((3, 2, h * w)) ** 6
    masks = foreground_masks(attention, (h, w))
    for mask in masks.reshape(-1, h, w):
        assert all(len(part) >= 3 for part in components(mask))
    alone = np.concatenate([foreground_masks(attention[i : i + 1], (h, w)) for i in range(3)])
    np.testing.assert_array_equal(masks, alone)  # crops do not see each other


def test_corners_touch_and_specks_go() -> None:
    drawn = np.zeros((2, 8, 8), dtype=bool)
    drawn[0, [1, 2, 3], [1, 2, 3]] = True  # three in a diagonal stay
    drawn[0, 6, :2] = True  # two go, although the other crop has a neighbour at the same place
    drawn[1, 6, 1:4] = True
    kept = _without_specks(drawn)
    assert kept[0].sum() == 3
    assert kept[0, 2, 2]
    np.testing.assert_array_equal(kept[1], drawn[1])


@pytest.mark.parametrize("draws", [1, 3])
def test_masks_of_a_bank_are_those_of_its_rows(draws: int) -> None:
    from alignseg_training import FakeBank

    bank = FakeBank(images=5, draws=3)
    masks = ForegroundMasks(bank, draws)
    rows = np.array([0, 6, 12]) + draws - 1
    attention = bank.read(rows, ("cls_attention",))["cls_attention"]
    expected = foreground_masks(attention.reshape(-1, *attention.shape[2:]), bank.grid)
    np.testing.assert_array_equal(masks(rows).reshape(expected.shape), expected)
