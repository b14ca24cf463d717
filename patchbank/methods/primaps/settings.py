"""Settings of PriMaPs, checked once.

The defaults are our own: whole images, centred tokens, everything on the patch grid. What is published stands in
`workflow/settings/primaps_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled
from patchbank.methods.tools.view_names import VIEWS, on_views
from patchbank.refinement import crf

TITLE = "PriMaPs"
PLAIN_VIEWS = ("whole", "center320")
"""Views that other banks hold too: in other colours, and as pixels."""
OPTIONS = {"student": ("same", "recoloured"), "refine": ("none", "pixels")}
"""Of options that need such a bank: the value without it, and its recipe."""
WHOSE = {"recoloured": "the student's views", "pixels": "the pixels that proposals follow"}
"""What is read from these banks."""
NEEDS = (*PLAIN_VIEWS, *(recipe for _, recipe in OPTIONS.values()))
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), needs=NEEDS, epochs=True, curves=True)
_SHARE = rules.number("must lie between 0 and 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class PrimapsSettings(Settings):
    """What shapes a row, apart from its banks, its statistics and its seed.

    Args:
        stage: ``em``; ``baseline``, cosine k-means by gradient, for as many `epochs`; or ``proposals``, which trains
            nothing: segments inside images, each image with a number of its own.
        codes: a row of the same set whose codes EM runs on, from that row's classes; empty for tokens. Proposals are
            those of tokens all the same.
        views: what is trained on (`patchbank.methods.tools.training_views`); ``center320`` is published.
        centre: what is done to tokens first; ``none`` is published.
        threshold: see `proposals.Rule`.
        most: most proposals of an image; what is left is background. Nothing is published.
        reference: the published choices where proposals are made (`proposals`).
        size: side in pixels at which labels are compared while EM trains; 0 is the patch grid, 320 is published.
        refine: how proposals follow the pixels of their view (recipe `pixels`), at `size`: ``none``, by ``pamr``, or by
            ``crf`` (`patchbank.refinement`), published.
        student: what the student of EM sees: the ``same`` tokens as the teacher, or those of the same views in other
            colours (recipe `recoloured`, a draw at random in every step), published.
        start_epochs: of the baseline before EM; none on codes, which start from their classes.
        epochs: of EM, or of the baseline where it is the row.
        pca_batches: batches of images whose tokens give the start.
        gamma: see `step.focal_loss`.
        teacher_every, teacher_decay: see `prototypes.Teacher`.
        mirror: whether scores are averaged with those of the mirror image (bank `mirrored`); published.
        lr: of Adam.
        batch_size: views of a step.
        checkpoint_every: steps between two resumable states.
    """

    TITLE = TITLE
    stage: str = ruled(rules.choice("em", "baseline", "proposals"), "em")
    codes: str = ruled(rules.text, "")
    views: str = ruled(rules.choice(*(name for name in VIEWS if name != "random")), "whole")
    centre: str = ruled(rules.choice("none", "mean", "standardise"), "mean")
    threshold: float = ruled(_SHARE, 0.4)
    most: int = ruled(rules.whole_number(1, 254), 31)
    reference: bool = ruled(rules.flag, False)
    size: int = ruled(rules.whole_number(0), 0)
    refine: str = ruled(rules.choice("none", "pamr", "crf"), "none")
    student: str = ruled(rules.choice("same", "recoloured"), "same")
    start_epochs: int = ruled(rules.whole_number(0), 2)
    epochs: int = ruled(rules.whole_number(1), 50)
    pca_batches: int = ruled(rules.whole_number(1), 93)
    gamma: float = ruled(rules.not_negative, 2.0)
    teacher_every: int = ruled(rules.whole_number(1), 10)
    teacher_decay: float = ruled(rules.below_one, 0.98)
    mirror: bool = ruled(rules.flag, False)
    lr: float = ruled(rules.positive, 5e-3)
    batch_size: int = ruled(rules.whole_number(1), 32)
    checkpoint_every: int = ruled(rules.whole_number(1), 200)

    def combined(self, wrong: Sequence[str]) -> list[str]:
        """Settings that would do nothing: of a training in proposals, of the start on codes."""
        if self.codes and self.stage != "em":
            return [f"codes is {self.codes!r}, which stage: {self.stage} does not read; leave it out"]
        if self.codes and self.start_epochs:
            return [f"start_epochs is {self.start_epochs} on the codes of {self.codes}, whose classes are the start: 0"]
        if self.stage != "proposals":
            return self._of_options()
        read = ("stage", "centre", "threshold", "most", "reference")
        idle = [one.name for one in fields(self) if one.name not in read and getattr(self, one.name) != one.default]
        return [
            f"{name} is {getattr(self, name)!r}, which stage: proposals does not read; leave it out" for name in idle
        ]

    def _of_options(self) -> list[str]:
        """What is wrong with options that need a bank of their own."""
        given = [
            f"{name} is {getattr(self, name)!r}"
            for name, (without, _) in OPTIONS.items()
            if getattr(self, name) != without
        ]
        if self.stage == "baseline":
            return [f"{option}, which stage: baseline does not read; leave it out" for option in given]
        if self.views not in PLAIN_VIEWS:
            return [f"{option}, and views is {self.views!r}: choose {' | '.join(PLAIN_VIEWS)}" for option in given]
        if self.refine != "none" and not self.size:
            return [f"refine is {self.refine!r}, and size is 0, the patch grid: give pixels a side; published is 320"]
        return []


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters."""
    start = {"start_epochs": 0} if entry.get("codes") else {}
    settings = PrimapsSettings.resolved({**start, **entry}, shared, "k", "kmeans_seeds")
    wrong = [
        problem
        for recipe in more_recipes(settings)
        if (problem := _other_views(recipe, settings["views"], shared["recipes"]))
    ]
    if settings["refine"] == "crf" and not crf.installed():
        wrong.append(f"refine is 'crf', and {crf.INSTALL}, or none")
    rules.refuse(TITLE, wrong)
    return settings


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: proposals are segments, as many as an image has, and nothing is trained."""
    if settings["stage"] == "proposals":
        return Traits(kind="segments", trained=False, varying=True)
    of = on_views(TRAITS, settings)
    return replace(of, recipes=(*of.recipes, *more_recipes(settings)))


def more_recipes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Recipes of banks that options need."""
    return tuple(recipe for name, (without, recipe) in OPTIONS.items() if settings[name] != without)


def _other_views(recipe: str, views: str, recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """What is wrong with a recipe of other views than those that are trained on; nothing of the same ones."""
    wanted, given = {"of": views, **recipes[views]}, recipes[recipe]
    dense = wanted.pop("shift", 1) != 1
    ways = [
        f"recipes.{recipe}.{key} to {value!r}"
        for key, value in wanted.items()
        if _both_sides(given[key]) != _both_sides(value)
    ]
    ways += ["recipes.whole.shift to 1"] if dense else []
    return f"{WHOSE[recipe]} have to be those of {views}; set {', '.join(ways)}" if ways else ""


def _both_sides(value: Any) -> Any:
    """A size as [H, W]; any other value as it is."""
    return [value, value] if isinstance(value, int) else value


def after(settings: Mapping[str, Any]) -> str:
    """The row whose codes EM runs on; empty where it runs on tokens."""
    return str(settings["codes"])
