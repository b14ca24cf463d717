"""Jobs of tests: what a stage of a method is given, with values for what a test does not care about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchbank.methods.jobs import PredictJob, TrainingFiles, TrainJob


def train_job(method: str, out: Path, **fields: Any) -> TrainJob:
    """A training of the method in folder `method` that writes its files, and its states, below `out`."""
    given: dict[str, Any] = {"banks": {}, "statistics": out / "no-statistics.npz", "settings": {}, "seed": 0}
    given |= {"files": TrainingFiles.below(out), "state_root": out / "state", "threads": 1}
    return TrainJob(folder=method, **(given | fields))


def predict_job(method: str, out: Path, **fields: Any) -> PredictJob:
    """A prediction of toy/val, row `mine`, that is written to the file `out`."""
    given: dict[str, Any] = {"row": "mine", "banks": {}, "statistics": out / "no-statistics.npz", "settings": {}}
    given |= {"seed": 0, "dataset": "toy", "split": "val", "threads": 1}
    return PredictJob(folder=method, out=out, **(given | fields))
