"""A method as a type: its traits, and what each of its modules must offer.

A method is a folder of `patchbank/methods`. Its modules, each with the protocol that it fits:

| module | protocol | there |
|---|---|---|
| `settings.py` | `Configured` | always |
| `predict.py` | `Predictor` | always |
| `train.py` | `Trainable` | where it learns something |
| `infer.py` | `Inferable` | where it works on pictures outside a bank too |
| `pictures.py` | `Pictured` | where it shows what it makes on its way to a prediction |

`settings.py` declares, where it needs them, also ``recipes(settings)`` (the banks that are read depend on the
settings), ``traits(settings)`` (other traits do) and ``check_width(settings, width)`` (not every width of the tokens
will do). Scripts, commands, ablations and tests run a stage by `run_train`, `run_predict` and `run_pictures`, on what
`patchbank.methods.jobs` describes. Nothing here lists the methods: they are found.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from patchbank.errors import UserError
from patchbank.methods.jobs import PictureJob, PredictJob, TrainJob

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Traits:
    """Traits of a method.

    Attributes:
        kind: ``segments`` (ids inside one image, given dataset-wide ids by segment clusters) or ``classes``.
        trained: whether there is a `train.py`.
        recipes: recipes of the bank that training reads (unless `settings.recipes` says it for given settings).
        curves: whether `steps.csv` of training holds losses to draw.
        pictures: recipes of the train split's bank that `pictures.draw` of the method's folder reads; empty where it
            has none. They show what the method makes on its way to a prediction.
        reads: recipes of the bank that prediction reads.
        floor: whether rows are marked as a floor.
        ceiling: whether rows are marked as a ceiling.
        fitted: whether its clusters are fitted on the split that `fit` names; segments' clusters always are.
        oracle: split whose labels it used for training or a choice, ``"train"`` or ``"val"``; None for none. Only with
            one do its stages get the `manifest`, and with it the labels.
    """

    kind: Literal["segments", "classes"]
    trained: bool
    recipes: tuple[str, ...] = ()
    curves: bool = False
    pictures: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("whole",)
    floor: bool = False
    ceiling: bool = False
    fitted: bool = False
    oracle: Literal["train", "val"] | None = None


@dataclass(frozen=True)
class Method:
    """One row of a report: a method or a floor with its resolved settings.

    Attributes:
        name: how rows call it, e.g. ``alignseg`` or ``voronoi-5``.
        folder: folder of `patchbank/methods` that holds it.
        settings: what its stages get.
        seeds: its trainings.
        traits: see `Traits`.
        postprocess: option of `patchbank.evaluation.refine` that is applied when pixels are counted, or none.
        source: row whose predictions and segment clusters it reads, where that is another one.
        trained: row whose checkpoint it predicts with, where that is another one.
        features: recipe of the bank that it reads in place of `whole`.
        oracle: split whose labels chose one of its settings, as the configuration says; its stages are given none.
    """

    name: str
    folder: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    traits: Traits
    postprocess: str = ""
    source: str = ""
    trained: str = ""
    features: str = "whole"
    oracle: str | None = None


class TokenModel(Protocol):
    """What `Inferable.load` returns: a torch module from an image's tokens to scores of its segments or classes.

    Attributes:
        record: the checkpoint's record; `backbone` describes the encoder (None where it is not known).
        dim: width D of the tokens.
        segments: number Q of segments.
    """

    record: Mapping[str, Any]
    dim: int
    segments: int

    def scores(self, tokens: Tensor) -> Tensor:
        """Scores (B, Q, N) float32 of tokens (B, N, D) float16 or float32, exactly as stage `predict` computes them."""
        ...

    def __call__(self, tokens: Tensor) -> Tensor:
        """The same from float32 tokens, in plain operations that can be written as ONNX."""
        ...

    def to(self, device: torch.device) -> Any:
        """Move the module."""
        ...


@runtime_checkable
class Configured(Protocol):
    """`settings.py`: what the configuration has to know; it imports nothing that is slow to import."""

    TRAITS: Traits

    def resolve(self, own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
        """Complete, checked settings from the method's entry; `UserError` for values that it does not accept."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """`train.py`: from banks to a checkpoint whose record holds at least `method`, `seed` and `settings`."""

    def train(self, job: TrainJob) -> None:
        """Train and write `job.files`; equal jobs give equal tensors."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """`predict.py`: from a bank, and a checkpoint where something was trained, to predictions on the patch grid."""

    def predict(self, job: PredictJob) -> None:
        """Predict every image of the split and write `job.out`."""
        ...


@runtime_checkable
class Inferable(Protocol):
    """`infer.py`: the method on tokens that come from no bank."""

    def load(self, path: str | Path) -> TokenModel:
        """The model of a checkpoint; `UserError` where it is none of this method."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """`pictures.py`: what the method makes on its way to a prediction."""

    def draw(self, job: PictureJob) -> None:
        """Draw some training images and write `job.out`."""
        ...


def run_train(job: TrainJob) -> None:
    """Train; `UserError` where nothing of the method is learned."""
    module = _module(job.folder, "train")
    assert isinstance(module, Trainable), f"{module.__name__} does not fit Trainable"
    module.train(job)


def run_predict(job: PredictJob) -> None:
    """Predict one split."""
    module = _module(job.folder, "predict")
    assert isinstance(module, Predictor), f"{module.__name__} does not fit Predictor"
    module.predict(job)


def run_pictures(job: PictureJob) -> None:
    """Draw what the method makes on its way to a prediction."""
    module = _module(job.folder, "pictures")
    assert isinstance(module, Pictured), f"{module.__name__} does not fit Pictured"
    module.draw(job)


def load_model(folder: str, checkpoint: str | Path) -> TokenModel:
    """A checkpoint of a method for tokens that come from no bank."""
    module = _module(folder, "infer")
    assert isinstance(module, Inferable), f"{module.__name__} does not fit Inferable"
    model: TokenModel = module.load(checkpoint)
    return model


def method_folders() -> list[str]:
    """Folders of `patchbank/methods` with a method, sorted."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/predict.py"))


def offers(folder: str, module: str) -> bool:
    """Whether the method has a module of that name, such as ``infer``."""
    return folder in method_folders() and find_spec(f"patchbank.methods.{folder}.{module}") is not None


def traits(folder: str) -> Traits:
    """Traits of the method in folder `folder`; `UserError` names the folders that hold a method."""
    return _settings(folder).TRAITS


def check_width(folder: str, settings: Mapping[str, Any], width: int) -> None:
    """Raise `UserError` when the method in `folder` cannot work with tokens of that width."""
    module: Any = _settings(folder)
    if hasattr(module, "check_width"):
        module.check_width(settings, width)


def resolve(
    name: str,
    folder: str,
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
    seeds: Sequence[int],
) -> Method:
    """A method from its entry in the configuration.

    Args:
        name: how rows call it.
        folder: folder of `patchbank/methods`.
        own: the entry's values.
        shared: what every k-means of the set has in common (K, seeds, projection), and the settings of `multicrop`.
        seeds: seeds of trainings.

    Raises:
        UserError: for a folder without a method, or values that the method does not accept.
    """
    module: Any = _settings(folder)
    found, settings = traits(folder), module.resolve(own, shared)
    if hasattr(module, "recipes"):
        found = replace(found, recipes=tuple(module.recipes(settings)))
    if hasattr(module, "traits"):
        found = replace(found, **module.traits(settings))
    return Method(name=name, folder=folder, settings=settings, seeds=tuple(seeds), traits=found)


def _module(folder: str, name: str) -> ModuleType:
    """A module of a method; `UserError` where there is no such method, or it has no such module."""
    if folder not in method_folders():
        raise UserError(f"There is no method {folder!r}; methods are {', '.join(method_folders())}.")
    if not offers(folder, name):
        able = [other for other in method_folders() if offers(other, name)]
        raise UserError(f"The method {folder!r} has no `{name}`; {', '.join(able)} have.")
    return importlib.import_module(f"patchbank.methods.{folder}.{name}")


def _settings(folder: str) -> Configured:
    module = _module(folder, "settings")
    assert isinstance(module, Configured), f"{module.__name__} does not fit Configured"
    return module
