"""Test-time steps of a head: refinement inside the image, the metric's space, merging."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from alignseg_oracles import assignment_logits
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from patchbank.methods.alignseg.grouping import LOWEST, group, settle
from patchbank.methods.alignseg.model import normalise


def sample(
    seed: int, crops: int = 2, patches: int = 30, dim: int = 6, queries: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    tokens = torch.randn(crops, patches, dim, generator=made)
    found = torch.randn(crops, queries, dim, generator=made)
    return tokens, 1 / torch.linalg.vector_norm(tokens, dim=-1), found


def test_without_steps_scores_are_the_published_cosines() -> None:
    tokens, inverse, queries = sample(0)
    torch.testing.assert_close(group(tokens, inverse, queries), assignment_logits(tokens, queries).transpose(1, 2))


@given(seed=st.integers(0, 1000))
def test_a_step_never_lowers_what_the_assignment_maximises(seed: int) -> None:
    tokens, inverse, queries = sample(seed)
    unit = tokens * inverse[..., None]
    reached = [
        float((settle(unit, normalise(queries), steps) @ unit.transpose(1, 2)).amax(1).sum()) for steps in range(5)
    ]
    assert all(later >= earlier - 1e-4 for earlier, later in pairwise(reached))


def test_refinement_is_spherical_k_means_by_hand() -> None:
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]])
    inverse = 1 / torch.linalg.vector_norm(tokens, dim=-1)
    queries = torch.tensor([[[1.0, 0.1], [0.1, 1.0]]])
    # the diagonal token is as near to both: the first query wins it and moves to the mean of (1, 0) and (1, 1) / sqrt 2
    first = torch.tensor([1.0, 0.0]) + torch.tensor([1.0, 1.0]) / 2**0.5
    expected = torch.stack([first / first.norm(), torch.tensor([0.0, 1.0])])[None]
    torch.testing.assert_close(settle(tokens * inverse[..., None], normalise(queries), 1), expected)


def test_a_query_without_tokens_stays() -> None:
    tokens, inverse, queries = sample(1)
    unit = tokens * inverse[..., None]
    lost = torch.cat([normalise(queries), -unit.mean(1, keepdim=True)], 1)
    lost = normalise(lost)
    won = (lost @ unit.transpose(1, 2)).argmax(1)
    moved = settle(unit, lost, 1)
    for crop in range(len(lost)):
        for query in set(range(5)) - set(won[crop].tolist()):
            torch.testing.assert_close(moved[crop, query], lost[crop, query])


def merged_by_hand(scores: np.ndarray, unit: np.ndarray, above: float) -> list[frozenset[int]]:
    """Sets of patches of one crop, by the obvious loop."""
    labels = scores.argmax(0)
    parts = {int(k): set(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels)}
    while len(parts) > 1:
        names = sorted(parts)
        means = {k: unit[sorted(parts[k])].sum(0) for k in names}
        means = {k: mean / np.linalg.norm(mean) for k, mean in means.items()}
        cosine, a, b = max((float(means[a] @ means[b]), -a, -b) for a in names for b in names if a < b)
        if cosine <= above:
            break
        parts[-a] |= parts.pop(-b)
    return [frozenset(part) for part in parts.values()]


@given(seed=st.integers(0, 500), above=st.sampled_from([-0.5, 0.0, 0.3, 0.6, 0.9]), metric=st.booleans())
def test_merging_joins_the_most_alike_first(seed: int, above: float, metric: bool) -> None:
    tokens, inverse, queries = sample(seed, queries=5)
    matrix = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)) if metric else None
    before = group(tokens, inverse, queries, 2, matrix).numpy()
    after = group(tokens, inverse, queries, 2, matrix, above).numpy()
    unit = tokens * inverse[..., None]
    unit = (unit if matrix is None else normalise(unit @ matrix)).numpy()
    for crop in range(len(tokens)):
        expected = merged_by_hand(before[crop], unit[crop], above)
        labels = after[crop].argmax(0)
        assert {frozenset(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels)} == set(expected)
        assert (after[crop][np.setdiff1d(np.arange(5), labels)] < 1).all()


def test_a_merged_segment_keeps_the_higher_score_and_leaves_the_lowest_behind() -> None:
    tokens, inverse, queries = sample(3)
    one = group(tokens, inverse, queries, merge_above=-0.999)
    before = group(tokens, inverse, queries)
    used = [sorted(set(before[crop].argmax(0).tolist())) for crop in range(2)]
    for crop in range(2):
        torch.testing.assert_close(one[crop, used[crop][0]], before[crop, used[crop]].amax(0))
        assert bool((one[crop, used[crop][1:]] == LOWEST).all())


@pytest.mark.parametrize("refine", [0, 3])
def test_a_crop_is_grouped_alike_alone_and_in_a_batch(refine: int) -> None:
    tokens, inverse, queries = sample(5, crops=3)
    together = group(tokens, inverse, queries, refine, torch.eye(6), 0.5)
    for crop in range(3):
        part = slice(crop, crop + 1)
        alone = group(tokens[part], inverse[part], queries[part], refine, torch.eye(6), 0.5)
        torch.testing.assert_close(together[part], alone)
