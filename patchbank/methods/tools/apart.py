"""Whether a ceiling that learns from labels may be scored: not on the images whose labels it has seen."""

from __future__ import annotations

from patchbank.datasets import Manifest
from patchbank.left_out import CannotBeMade

FEW = 0.01
"""Share of the scored images that may be copies of train images at other paths: published sets hold some (msrc one of
118), which the notes of the set name."""


def check_apart(known: Manifest, otherwise: str) -> None:
    """Refuse to learn from the labels of the train split where scored images are in it.

    Args:
        known: the set.
        otherwise: what the method would do, to end a sentence.

    Raises:
        CannotBeMade: an image stands in both splits, or more than `FEW` of the scored ones have a copy in the other.
    """
    trained = {entry.image for entry in known.entries(known.train_split)}
    scored = known.entries(known.eval_split)
    listed = sum(entry.image in trained for entry in scored)
    if listed or len(known.copies) > FEW * len(scored):
        raise CannotBeMade(
            f"{listed + len(known.copies)} of {len(scored)} scored images are images of split {known.train_split!r} of "
            f"{known.dataset}, too, and {otherwise}; give the set a train split of its own, or leave the row out."
        )
