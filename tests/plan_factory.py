"""The plan of the workflow over one configuration, with checkpoints whose files lie in a folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path
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
from patchbank.config.schema import merge


class NotYet(Exception):
    """What a workflow raises while a checkpoint is not done."""


class Files:
    """Checkpoints whose files lie in a folder; those of a set that is not in `done` are not there yet."""

    def __init__(self, folder: Path, summary: dict[str, Any], done: tuple[str, ...] = ("demo", "msrc")) -> None:
        self.folder, self.summary, self.done = folder, summary, done
        self.asked: list[tuple[Any, ...]] = []

    def _file(self, value: Any, *asked: Any) -> str:
        self.asked.append(asked)
        path = self.folder / f"{len(self.asked)}.json"
        path.write_text(json.dumps(value))
        return str(path)

    def manifest(self, dataset: str) -> str:
        return self._file({"splits": {"train": [f"i{n}" for n in range(1000)], "val": ["a"]}}, dataset)

    def count(self, dataset: str, method: str, seed: int, at: str) -> str:
        if dataset not in self.done:
            raise NotYet(dataset)
        return self._file(self.summary.get(method, {"used": None}), dataset, method, seed, at)

    def ablation_row(self, ablation: str, dataset: str, row: str) -> str:
        return self._file({"used": self.summary[row]["used"]}, ablation, dataset, row)


SUMMARY = {
    "alignseg": {"segments": 5, "used": 3.2},
    "alignseg+flip": {"segments": 5, "used": 4.0},
    "alignseg+pamr": {"used": 1.0},
}


CHANGES: dict[str, Any] = {"methods": {"alignseg": {"postprocess": ["flip", "pamr"]}}}


class Plan:
    """All subjects over one configuration, the shipped one with changes."""

    def __init__(self, folder: Path, changes: dict[str, Any] | None = None, **files: Any) -> None:
        values = copy.deepcopy(yaml.safe_load((PROJECT / "config.yaml").read_text()))
        self.config = checked(merge(values, CHANGES if changes is None else changes))
        self.files = Files(folder, SUMMARY, **files)
        self.rows = Rows(self.config, self.files)
        code = Code(PROJECT / "scripts")
        self.stages = Stages(self.rows, code)
        self.evaluation = Evaluation(self.rows, code)
        self.reports = Reports(self.rows, code, self.evaluation)
        self.ablations = Ablations(self.rows, code, self.evaluation)
