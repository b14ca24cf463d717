"""Methods as the rest of the package knows them: rows with settings, found by folder, and one way to run each stage.

Scripts, commands, ablations and tests run a stage by `run_train`, `run_predict` and `run_pictures`, on what
`patchbank.methods.jobs` describes; `patchbank.methods.shape` says what a folder holds. Nothing here lists the methods:
they are found, and a method's module is imported when it is needed.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from patchbank.errors import UserError
from patchbank.files import digest, sha256_file
from patchbank.fingerprint import code_fingerprint
from patchbank.leases import alone
from patchbank.methods.jobs import PictureJob, PredictJob, TrainJob
from patchbank.methods.shape import (
    Attentive,
    Bounded,
    Configured,
    Counted,
    Dependent,
    Following,
    Frugal,
    Inferable,
    Pictured,
    PictureModel,
    Predictor,
    Published,
    Several,
    TokenModel,
    Trainable,
    Traits,
    Untrained,
)
from patchbank.oracle import splits
from patchbank.plain import to_plain

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """One row of a report: a method or a floor with its resolved settings.

    Attributes:
        name: how rows call it.
        folder: folder of `patchbank/methods` that holds it.
        settings: what its stages get.
        seeds: its trainings.
        traits: see `Traits`.
        at: number of segments that a floor was asked for (`Traits.at_counts`), else 0.
        postprocess: name in `patchbank.evaluation.postprocessing`, or none.
        source: row whose predictions and segment clusters it reads, where that is another one.
        trained: row whose checkpoint it predicts with, where that is another one.
        features: recipe of the bank that it reads in place of `whole`.
        oracle: splits whose labels chose one of its settings, as the configuration says, or were used by a row that it
            learns after, as `patchbank.oracle` names them; its stages are given none.
        after: row of the set whose checkpoint of the same seed its training reads, where it does (`Following`).
    """

    name: str
    folder: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    traits: Traits
    at: int = 0
    postprocess: str = ""
    source: str = ""
    trained: str = ""
    features: str = "whole"
    oracle: str | None = None
    after: str = ""


def oracle_of(method: Method) -> str | None:
    """Splits whose labels a row used: for a choice, as the configuration says, or in its stages; None for none."""
    return splits(method.oracle, method.traits.oracle)


@dataclass(frozen=True)
class Row:
    """A row that a method's folder offers by itself, as floors and ceilings are.

    Attributes:
        folder: of the method.
        traits: of the row.
        entry: values that `resolve` is given.
        at: number of segments that its name asks for, else 0.
    """

    folder: str
    traits: Traits
    entry: Mapping[str, Any]
    at: int = 0


def run_train(job: TrainJob) -> None:
    """Train; `UserError` where nothing of the method is learned.

    Where another process makes the same checkpoint (a job that a cluster started twice, or one of a run that was begun
    again), this one waits for it. What an equal training has made meanwhile is taken.
    """
    module = _module(job.folder, "train")
    assert isinstance(module, Trainable), f"{module.__name__} does not fit Trainable"
    out = (job.files.checkpoint, job.files.checkpoint.with_suffix(".json"), job.files.steps_csv, job.files.epochs_csv)
    before = [_state(path) for path in out]
    with alone(job.files.checkpoint, _what(job)) as waited:
        made = [_state(path) for path in out]
        if waited and all(new and new != old for new, old in zip(made, before, strict=True)):
            LOG.info("%s was made by an equal training meanwhile", job.files.checkpoint)
            return
        from patchbank.bank.scratch import copies  # here: plans and commands read no bank

        with copies(job.banks.values() if traits(job.folder).epochs else ()):
            module.train(job)


def _state(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that stood there before; None for no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _what(job: TrainJob) -> str:
    """Hash of everything that shapes a training: the job, the content of the files it names, and the code."""
    named = [*job.banks.values(), job.statistics, *(path for path in (job.manifest, job.after) if path)]
    code = code_fingerprint(f"patchbank.methods.{job.folder}.train")
    return digest([to_plain(job), code, {str(path): sha256_file(path) for path in named if path.is_file()}], 16)


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


def load_model(folder: str, checkpoint: str | Path) -> TokenModel | PictureModel:
    """A checkpoint of a method for tokens that come from no bank."""
    module = _module(folder, "infer")
    assert isinstance(module, Inferable), f"{module.__name__} does not fit Inferable"
    model: TokenModel | PictureModel = module.load(checkpoint)
    return model


def make_model(record: Mapping[str, Any], statistics: Path | None) -> PictureModel:
    """A row that trains nothing, for pictures outside a bank; see `Untrained.make`.

    Raises:
        UserError: the method has nothing for such pictures.
    """
    folder = str(record["method"])
    module = _module(folder, "infer")
    if not isinstance(module, Untrained):
        raise UserError(f"The method {folder!r} segments pictures with what it has learned; name a trained row.")
    model: PictureModel = module.make(record, statistics)
    return model


def published(folder: str) -> Published:
    """What reads and writes checkpoints of the method's published code."""
    module = _module(folder, "published")
    assert isinstance(module, Published), f"{module.__name__} does not fit Published"
    return module


def published_folders() -> dict[str, str]:
    """Folders of the methods with a published format, sorted, by the names that commands have for them."""
    return {folder.replace("_", "-"): folder for folder in method_folders() if offers(folder, "published")}


@cache
def method_folders() -> tuple[str, ...]:
    """Folders of `patchbank/methods` with a method, sorted."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/predict.py")))


@cache
def offers(folder: str, module: str) -> bool:
    """Whether the method has a module of that name, such as ``infer``."""
    return folder in method_folders() and find_spec(f"patchbank.methods.{folder}.{module}") is not None


def traits(folder: str) -> Traits:
    """Traits of the method in folder `folder`; `UserError` names the folders that hold a method."""
    return _settings(folder).TRAITS


def rows() -> dict[str, Row]:
    """Every row that a folder offers by itself, by its name, without a number of segments."""
    rows: dict[str, Row] = {}
    for folder in method_folders():
        module = _settings(folder)
        if isinstance(module, Several):
            rows |= {name: Row(folder, of, {"row": name}) for name, of in module.ROWS.items()}
        else:
            rows[folder.replace("_", "-")] = Row(folder, module.TRAITS, {})
    return rows


def row_named(name: str) -> Row:
    """The row of that name, ``<row>-<segments>`` for one at a number of segments.

    Raises:
        UserError: there is none; the floors and ceilings are named.
    """
    known = rows()
    base, _, number = name.rpartition("-")
    if name in known and not known[name].traits.at_counts:
        return known[name]
    if base in known and known[base].traits.at_counts and re.fullmatch("[1-9][0-9]*", number):
        return replace(known[base], entry={**known[base].entry, "segments": int(number)}, at=int(number))
    listed = [
        f"{name}-<q>" if row.traits.at_counts else name
        for name, row in known.items()
        if row.traits.floor or row.traits.ceiling
    ]
    raise UserError(f"{name!r} is neither a method nor a floor or ceiling ({', '.join(listed)}).")


def check_width(folder: str, settings: Mapping[str, Any], width: int) -> None:
    """Raise `UserError` when the method in `folder` cannot work with tokens of that width."""
    module = _settings(folder)
    if isinstance(module, Bounded):
        module.check_width(settings, width)


def needs_class_token(folder: str, settings: Mapping[str, Any]) -> str:
    """What of the method in `folder` needs an encoder with a class token, with the way out; empty for nothing."""
    module = _settings(folder)
    return module.needs_class_token(settings) if isinstance(module, Attentive) else ""


def draws_read(folder: str, settings: Mapping[str, Any], stored: int) -> int:
    """How many of a bank's stored draws the training reads."""
    module = _settings(folder)
    return module.draws_read(settings, stored) if isinstance(module, Frugal) else stored


def training_steps(folder: str, settings: Mapping[str, Any], images: int) -> tuple[int, int] | None:
    """Steps of a training on so many images, and samples of a step; None where the method does not say."""
    module = _settings(folder)
    return module.training_steps(settings, images) if isinstance(module, Counted) else None


def cheaper(folder: str) -> Mapping[str, Any]:
    """Settings with which the method in `folder` needs fewer or smaller banks; nothing where it does not say."""
    module = _settings(folder)
    return module.CHEAPER if isinstance(module, Counted) else {}


def resolve(name: str, row: Row, shared: Mapping[str, Any], seeds: Sequence[int]) -> Method:
    """A method from its entry in the configuration, or a floor or ceiling.

    Args:
        name: how rows call it.
        row: folder, and values of its own.
        shared: see `Configured.resolve`.
        seeds: seeds of trainings.

    Raises:
        UserError: values that the method does not accept.
    """
    module = _settings(row.folder)
    settings = module.resolve(row.entry, shared)
    traits = module.traits(settings) if isinstance(module, Dependent) else row.traits
    after = module.after(settings) if isinstance(module, Following) else ""
    return Method(name, row.folder, settings, tuple(seeds), traits, at=row.at, after=after)


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
