"""What post-processing there is, each an option of a method's `postprocess` list with a row of its own.

| option | what it does | reads |
|---|---|---|
| `flip` | features averaged over the picture and its mirror image, with the method's checkpoint | recipe `flipped` |
| `bilinear` | softmax of the scores on the grid, upsampled bilinearly, then the argmax | the method's predictions |
| `pamr` | pixel-adaptive mask refinement, at the size that is compared | predictions and picture |
| `crf` | dense CRF, at the encoder's input size | predictions and picture |

The last three are other counts of the same predictions; `pamr` and `crf` are rules of `patchbank.refinement`
(`patchbank.evaluation.refine`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from patchbank.refinement import crf


@dataclass(frozen=True)
class PostProcessing:
    """One option.

    Attributes:
        features: recipe of the bank that is read in place of `whole`, whose settings it shares; empty for another count
            of the method's own predictions.
        upsample: from the patch grid to pixels; None for the method's own rule.
        refined_at: size at which pixels are refined: that of the ``comparison``, or the encoder's ``input``; None where
            nothing is refined.
        missing: sentence that says what has to be installed, or nothing.
    """

    features: str = ""
    upsample: Literal["nearest", "bilinear"] | None = None
    refined_at: Literal["comparison", "input"] | None = None
    missing: Callable[[], str] = str


OPTIONS = {
    "flip": PostProcessing(features="flipped"),
    "bilinear": PostProcessing(upsample="bilinear"),
    "pamr": PostProcessing(upsample="nearest", refined_at="comparison"),
    "crf": PostProcessing(
        upsample="nearest", refined_at="input", missing=lambda: "" if crf.installed() else crf.INSTALL
    ),
}
NONE = PostProcessing()
"""What a row without post-processing does."""


def named(option: str) -> PostProcessing:
    """An option by its name; empty is none."""
    return OPTIONS[option] if option else NONE


def settings_recipe(recipe: str) -> str:
    """The recipe whose settings a recipe has: features of a post-processing, and the mirror image, are as `whole`."""
    return "whole" if recipe in {"mirrored", *(option.features for option in OPTIONS.values())} else recipe
