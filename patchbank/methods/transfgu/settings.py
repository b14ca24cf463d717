"""Settings of TransFGU, checked once.

The defaults are the published constants wherever they are the same for all sets; what differs (classes, losses, batch,
epochs, teacher) stands in `workflow/settings/transfgu_*.yaml`. Views are recipes of the bank (`windows`, `lastblock`,
`augmented`), so their sizes stand under `recipes:`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled

TRAITS = Traits(
    kind="classes",
    trained=True,
    recipes=("windows", "lastblock", "augmented"),
    epochs=True,
    curves=True,
    pictures=("windows", "lastblock"),
)

TITLE = "TransFGU"


def _interval_problem(name: str, value: Any) -> str | None:
    if not isinstance(value, Sequence) or not value:
        return f"{name} is {value!r}, it must be a whole number or a list of them"
    return next((problem for item in value if (problem := rules.whole_number(1)(name, item))), None)


def _scales_problem(name: str, value: Any) -> str | None:
    fine = isinstance(value, Sequence) and len(value) > 0 and all(rules.is_number(s) and 0 < s <= 1 for s in value)
    return None if fine else f"{name} is {value!r}, it must be a list of shares in (0, 1]"


@dataclass(frozen=True)
class TransFGUSettings(Settings):
    """What shapes a trained segmenter, apart from its banks, its statistics and its seed.

    Args:
        stage: ``segmenter``, or ``pseudo_labels``: no segmenter is trained, the maps' own argmax is the prediction, so
            that one sees where quality is lost.
        things: classes whose centroids come from foreground (or all) windows.
        stuff: classes whose centroids come from background windows.
        background: one more class, put first, for what no thing claims; needs ``stuff: 0``.
        window_feature: ``class_token`` of every window, or ``pooled``: mean token of the whole image inside it.
        pooled_scales, pooled_select: windows of ``pooled`` (those of ``class_token`` are the recipe's own).
        pseudo_label: ``attention_gradient``, or ``token_similarity`` to k-means centroids of train tokens.
        gradient_batch: constant that gradients are divided by (the published code's batch).
        pca, whiten, sample: of ``token_similarity``: components, unit variance of each, train tokens clustered.
        segments: of ``token_similarity``: k-means segments of each image, whose means stand for its tokens; 0: none.
        niter, nredo: of every k-means (at most `similarity.SEGMENT_RESTARTS` restarts inside an image).
        heads, layers: of the decoder.
        centre: what the train tokens' statistics do to the decoder's input.
        lr: constant learning rate of Adam.
        weight_decay: L2 term, except for biases and 1-d parameters.
        epochs: passes over the list of images.
        batch_size: images of a step.
        repeat: how often the list is concatenated before it is shuffled; 0 is once.
        teacher_start: first epoch at which the student may become the teacher.
        teacher_interval: epochs between restarts, one number or one for every ten epochs.
        restart_at_end: also restart when fewer epochs than an interval remain, as published.
        checkpoint_every: epochs between two resumable states.
        precision: of the decoder's products in a training step; ``bfloat16`` is for devices with arithmetic for it, and
            many times as slow on others. Weights, losses and predictions stay float32.
    """

    TITLE = TITLE
    things: int = ruled(rules.whole_number(1))
    stuff: int = ruled(rules.whole_number(0), 0)
    background: bool = ruled(rules.flag, False)
    window_feature: str = ruled(rules.choice("class_token", "pooled"), "class_token")
    pooled_scales: Sequence[float] = ruled(_scales_problem, (0.6, 0.5, 0.4, 0.3))
    pooled_select: str = ruled(rules.choice("all", "foreground", "foreground+background"), "all")
    pseudo_label: str = ruled(rules.choice("attention_gradient", "token_similarity"), "attention_gradient")
    gradient_batch: int = ruled(rules.whole_number(1), 8)
    pca: int = ruled(rules.whole_number(0), 64)
    whiten: bool = ruled(rules.flag, True)
    sample: int = ruled(rules.whole_number(1), 50_000)
    segments: int = ruled(rules.whole_number(0), 0)
    niter: int = ruled(rules.whole_number(1), 100)
    nredo: int = ruled(rules.whole_number(1), 1)
    heads: int = ruled(rules.whole_number(1), 6)
    layers: int = ruled(rules.whole_number(1), 2)
    centre: str = ruled(rules.choice("none", "mean", "standardise"), "none")
    lr: float = ruled(rules.positive, 1e-4)
    weight_decay: float = ruled(rules.not_negative, 5e-4)
    epochs: int = ruled(rules.whole_number(1), 100)
    batch_size: int = ruled(rules.whole_number(1), 256)
    repeat: int = ruled(rules.whole_number(0), 0)
    teacher_start: int = ruled(rules.whole_number(0), 2)
    teacher_interval: Sequence[int] = ruled(_interval_problem, (2,))
    restart_at_end: bool = ruled(rules.flag, False)
    checkpoint_every: int = ruled(rules.whole_number(1), 5)
    precision: str = ruled(rules.choice("float32", "bfloat16"), "float32")
    stage: str = ruled(rules.choice("segmenter", "pseudo_labels"), "segmenter")

    def combined(self, wrong: Sequence[str]) -> list[str]:
        """Classes and projection have to fit together."""
        if wrong:
            return []
        said = []
        if self.background and self.stuff:
            said.append(f"background is true with stuff {self.stuff}; stuff classes leave no background")
        if self.things + self.stuff < 2:
            said.append("things + stuff must be at least 2")
        if self.whiten and not self.pca:
            said.append("whiten needs pca above 0")
        return said

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TransFGUSettings:
        """Settings from a configuration; keys left out keep their defaults, unknown keys raise `UserError`."""
        if "things" not in values:
            rules.refuse(TITLE, ["things must be given"])
        plain: dict[str, Any] = dict(values)
        if isinstance(plain.get("teacher_interval"), int):
            plain["teacher_interval"] = (plain["teacher_interval"],)
        for name in ("teacher_interval", "pooled_scales"):
            if isinstance(plain.get(name), list):
                plain[name] = tuple(plain[name])
        return super().from_mapping(plain)

    @property
    def maps(self) -> int:
        """Centroids, one map each."""
        return self.things + self.stuff

    @property
    def classes(self) -> int:
        """K, background included."""
        return self.maps + int(self.background)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings from the method's entry in the configuration.

    Without `things` they are what the set's number of classes leaves after stuff and background; with it, the sum has
    to be that number, because the protocol compares as many clusters as classes.
    """
    k = int(shared["k"][0])
    stuff = entry.get("stuff", 0)
    rest = k - (stuff if isinstance(stuff, int) else 0) - int(bool(entry.get("background")))
    settings = TransFGUSettings.from_mapping({"things": rest, **entry})
    if settings.classes != k:
        raise UserError(
            f"TransFGU settings: things {settings.things} + stuff {settings.stuff} + background "
            f"{int(settings.background)} are {settings.classes} classes, the set has {k} (clustering.k or its table)."
        )
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def recipes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Banks that training reads."""
    similar = settings["pseudo_label"] == "token_similarity"
    features = "whole" if similar or settings["window_feature"] == "pooled" else "windows"
    if settings["stage"] == "pseudo_labels":
        return (features,)
    return (features, "augmented") if similar else (features, "lastblock", "augmented")


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: maps have no training curves, and some read the block instead of tokens."""
    similar = settings["pseudo_label"] == "token_similarity"
    changed = replace(TRAITS, recipes=recipes(settings))
    if settings["stage"] == "segmenter":
        pooled = settings["window_feature"] == "pooled"
        return replace(changed, pictures=("whole",) if similar else ("lastblock",) if pooled else TRAITS.pictures)
    return replace(changed, curves=False, pictures=(), reads=("whole",) if similar else ("lastblock",))


def draws_read(settings: Mapping[str, Any], stored: int) -> int:
    """How many of the stored draws are read: one a pass over the list of images, and then again from the first."""
    return min(stored, int(settings["epochs"]) * max(1, int(settings["repeat"])))


def check_width(settings: Mapping[str, Any], width: int) -> None:
    """Raise `UserError` when tokens of that width cannot be split into the decoder's heads."""
    rules.check_heads(TITLE, settings["heads"], width)


def needs_class_token(settings: Mapping[str, Any]) -> str:
    """Maps are gradients at the class token's attention; only similar tokens do without."""
    if settings["pseudo_label"] == "token_similarity":
        return ""
    return "pseudo_label: attention_gradient reads its attention; set pseudo_label: token_similarity"
