"""What a stage of a method is given: one value, made by scripts, commands, ablations and tests alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.errors import UserError


@dataclass(frozen=True)
class TrainingFiles:
    """What a training writes.

    Attributes:
        checkpoint: `.safetensors`, and its record as `.json` beside it (`patchbank.checkpoints.store`).
        steps_csv: log with one row a step.
        epochs_csv: log with one row an epoch.
    """

    checkpoint: Path
    steps_csv: Path
    epochs_csv: Path

    @classmethod
    def below(cls, folder: Path) -> TrainingFiles:
        """The files under their usual names in `folder`."""
        return cls(folder / "checkpoint.safetensors", folder / "steps.csv", folder / "epochs.csv")


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """What training and prediction are given alike.

    Attributes:
        folder: of the method.
        banks: recipe -> bank (folder, or pointer file) of the split that is read.
        statistics: `.npz` of the statistics stage.
        settings: the method's resolved settings.
        seed: of everything random; of a prediction that of its training, where there is one.
        manifest: of the set, for a method that declares that it uses labels; None for every other.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``...
        threads: CPU threads; None for all.
    """

    folder: str
    banks: Mapping[str, Path]
    statistics: Path
    settings: Mapping[str, Any]
    seed: int
    manifest: Path | None = None
    device: str = "auto"
    threads: int | None = None

    def labels(self) -> Path:
        """The manifest, for a method that reads labels; `UserError` without one."""
        if self.manifest is None:
            raise UserError(f"The method {self.folder!r} reads labels; name the manifest of the set.")
        return self.manifest


@dataclass(frozen=True, kw_only=True)
class TrainJob(StageJob):
    """One training.

    Attributes:
        files: what is written.
        state_root: folder for the states from which an interrupted training goes on.
        after: checkpoint of the row that it learns after (`patchbank.methods.shape.Following`), of the same seed; None
            for a method that reads none.
    """

    files: TrainingFiles
    state_root: Path
    after: Path | None = None

    def learned_after(self) -> Path:
        """That checkpoint, for a method that reads one; `UserError` without it."""
        if self.after is None:
            raise UserError(f"The method {self.folder!r} learns after another row here; name that row's checkpoint.")
        return self.after

    def oracle(self) -> dict[str, str]:
        """What a record says of labels: `oracle`, the split whose labels shape what is learned; nothing without."""
        return {} if self.manifest is None else {"oracle": "train"}

    def record(self, bank: Mapping[str, Any], threads: int) -> dict[str, Any]:
        """What the checkpoint says of a training on whole images.

        Args:
            bank: record of the bank that was read.
            threads: CPU threads that were used.
        """
        return {
            "method": self.folder,
            "settings": dict(self.settings),
            "seed": self.seed,
            "bank": bank["manifest"],
            "backbone": bank["backbone"],
            "threads": threads,
            **self.oracle(),
        }


@dataclass(frozen=True, kw_only=True)
class PredictJob(StageJob):
    """One prediction of one split.

    Attributes:
        row: how reports call it.
        dataset, split: what is predicted.
        out: prediction file to write (`patchbank.predictions`).
        checkpoint: of the training; None where nothing is trained.
    """

    row: str
    dataset: str
    split: str
    out: Path
    checkpoint: Path | None = None

    def trained(self) -> Path:
        """The checkpoint, for a method that learned something; `UserError` without one."""
        if self.checkpoint is None:
            raise UserError(f"{self.row} predicts with what it has learned; train it first, or name its checkpoint.")
        return self.checkpoint


@dataclass(frozen=True)
class PictureJob:
    """Pictures of what a method makes on its way to a prediction.

    Attributes:
        folder: of the method.
        manifest: of the set, for its images.
        banks: recipe -> bank of the train split, those of `Traits.pictures`.
        checkpoint: of one training.
        settings: the method's resolved settings.
        out: PNG to write.
    """

    folder: str
    manifest: Path
    banks: Mapping[str, Path]
    checkpoint: Path
    settings: Mapping[str, Any]
    out: Path
