"""Names of clusterings are written and read by one rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbank.variants import is_variant, k_and_seed, variant_name


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_name_tells_what_it_was_made_of(k: int, seed: int) -> None:
    assert is_variant(variant_name(k, seed))
    assert k_and_seed(variant_name(k, seed)) == (k, seed)


def test_names_are_sorted_by_number_not_by_letter() -> None:
    assert sorted(["k21-s10", "k100-s0", "k21-s2", "k3-s0"], key=k_and_seed) == [
        "k3-s0",
        "k21-s2",
        "k21-s10",
        "k100-s0",
    ]


@pytest.mark.parametrize("name", ["segments", "k3", "k3-s", "k3-s1x", "k-3-s1", "xk3-s1"])
def test_other_names_are_none(name: str) -> None:
    assert not is_variant(name)
    with pytest.raises(ValueError, match="not named k<K>-s<seed>"):
        k_and_seed(name)
