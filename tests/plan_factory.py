"""The plan of the workflow over one configuration, with checkpoints whose files lie in a folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from patchbank.config.folders import PROJECT
from patchbank.config.load import checked
from patchbank.config.plan.ablations import Ablations
from patchbank.config.plan.code import Code
from patchbank.config.plan.evaluation import Evaluation
from patchbank.config.plan.reports import Reports
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.stages import Stages
from patchbank.config.plan.sweeps import Sweeps
from patchbank.config.schema import merge


def of(**values: str) -> Any:
    """Wildcards of a job, of the set `msrc` where none is named."""
    return SimpleNamespace(**{"dataset": "msrc", **values})


class NotYet(Exception):
    """What a workflow raises while a checkpoint is not done."""


class Files:
    """Checkpoints whose files lie in a folder; those of a set that is not in `done` are not there yet."""

    def __init__(self, folder: Path, used: dict[str, float], done: tuple[str, ...] = ("demo", "msrc")) -> None:
        self.folder, self.used, self.done = folder, used, done
        self.asked: list[tuple[Any, ...]] = []

    def _file(self, value: Any, *asked: Any) -> str:
        self.asked.append(asked)
        path = self.folder / f"{len(self.asked)}.json"
        path.write_text(json.dumps(value))
        return str(path)

    def parts(self, dataset: str, split: str, recipe: str) -> str:
        return self._file({"parts": {"train": 3, "val": 1}[split]}, dataset, split, recipe)

    def segment_numbers(self, dataset: str) -> str:
        if dataset not in self.done:
            raise NotYet(dataset)
        return self._file({"numbers": [4, 5]}, dataset)

    def k_chart(self, dataset: str) -> str:
        if dataset not in self.done:
            raise NotYet(dataset)
        return self._file({"suggested": 7}, dataset)

    def ablation_row(self, ablation: str, dataset: str, row: str) -> str:
        return self._file({"used": self.used[row]}, ablation, dataset, row)


CHANGES: dict[str, Any] = {"methods": {"alignseg": {"postprocess": ["flip", "pamr"]}}}


class Plan:
    """All subjects over one configuration, the shipped one with changes."""

    def __init__(self, folder: Path, changes: dict[str, Any] | None = None, **files: Any) -> None:
        values = copy.deepcopy(yaml.safe_load((PROJECT / "config.yaml").read_text()))
        self.config = checked(merge(values, CHANGES if changes is None else changes))
        self.files = Files(folder, {}, **files)
        self.rows = Rows(self.config, self.files)
        code = Code(PROJECT / "scripts")
        self.stages = Stages(self.rows, code)
        self.evaluation = Evaluation(self.rows, code)
        self.reports = Reports(self.rows, code, self.evaluation)
        self.ablations = Ablations(self.rows, code, self.evaluation)
        self.sweeps = Sweeps(self.rows, code, self.evaluation)
