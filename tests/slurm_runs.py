"""Runs of the workflow on the Slurm of the tests, and what they made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from slurm_cluster import until
from workflow_tools import TINY, Project

from patchbank.config.schema import merge

PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2")
SCORES = "results/demo/alignseg/scores.json"
BANK = "results/demo/bank/train-multicrop.json"
_ONE_ROW = {"epochs": 6, "checkpoint_every": 1, "postprocess": []}
SMALL = merge(TINY, {"datasets": {"demo": {"settings": {"methods": {"alignseg": _ONE_ROW}}}}})
"""One row, some epochs, whose states are kept one by one."""


class Run:
    """Snakemake with the shipped profile, beside this process."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self.log = project.folder / f"main-{len(list(project.folder.glob('main-*')))}.log"
        # two cores a job, as a local run on two cores has: equal threads, equal bits
        command = project.command(*PROFILE, "--max-threads", "2", *arguments)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=project.folder, env=project.environment, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def text(self) -> str:
        """What it said until now."""
        return self.log.read_text(errors="replace")

    def says(self, text: str, seconds: float = 300) -> None:
        """Wait until it says something."""
        until(lambda: text in self.text or self.process.poll() is not None, seconds)
        assert text in self.text, self.text[-6000:]

    def succeeds(self, seconds: float = 1500) -> str:
        """Wait for its end, which is a good one; all that it said."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"not done after {seconds} s:\n{self.text[-6000:]}")
        assert code == 0, self.text[-6000:]
        return self.text

    def end(self) -> None:
        """Kill it where it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def results(folder: Path) -> dict[str, bytes]:
    """Bytes of the files below a folder of results by their path; none of those that say how long something took, or
    when it was made."""
    left_out, timed = ("logs", "benchmarks", ".training", ".scan"), ("bank.h5", "steps.csv", "epochs.csv", "index.html")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = [(path.relative_to(folder), path) for path in paths]
    return {
        str(name): b"" if name.name in timed else path.read_bytes()
        for name, path in named
        if name.parts[0] not in left_out
    }
