"""Runs of the workflow on the Slurm of the tests, and what they made."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slurm_cluster import until
from workflow_tools import TINY, Project

from patchbank.config.schema import merge
from patchbank.files import read_json
from patchbank.leases import ENDING, Leases, holder

PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2")
SCORES = "results/demo/alignseg/scores.json"
CHECKPOINT = "results/demo/{}/seed0/checkpoint.safetensors"
BANK = "results/demo/bank/train-multicrop.json"

_EPOCHS = {"epochs": 6, "checkpoint_every": 1}
DEMO = merge(TINY, {"datasets": {"demo": {"settings": {"methods": {"alignseg": _EPOCHS}}}}})
"""The small demo with its shipped rows, whose training can be met between two states."""


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


@contextmanager
def held(*files: Path) -> Iterator[None]:
    """Hold the leases of files: a job that would make one of them waits, with what it could make before it complete."""
    with Leases() as leases:
        for file in files:
            assert leases.take(file, "a test")
        yield


def left_over(folder: Path) -> list[Path]:
    """Temporary files and leases below a folder."""
    return [path for path in folder.rglob("*") if ".tmp" in path.name or path.name.endswith(ENDING)]


def shards(project: Path, bank: str) -> list[Path]:
    """Shards of a bank of the demo, seen from the folder of results."""
    file = project / f"results/demo/bank/{bank}.json"
    folder = file.parent / read_json(file)["bank"]
    return sorted(path.resolve().relative_to(project.resolve() / "results") for path in folder.glob("0*.h5"))


def log_of(project: Project, step: str) -> str:
    """What the last job of a step of the demo said, `extract-val-whole-0-of-1` for instance."""
    file = project.folder / f"results/logs/demo/{step}.log"
    return file.read_text() if file.exists() else ""


def kill_after_a_state(project: Project, method: str) -> None:
    """Kill a training that has written a state and is not done: it runs in slices that are shorter than an epoch."""
    checkpoint = project.folder / CHECKPOINT.format(method)
    pids: list[int] = []

    def begun() -> bool:
        by = holder(checkpoint)
        pids[:] = [by.process.pid] if by and by.process else []
        return bool(pids)

    def has_a_state() -> bool:
        os.kill(pids[0], signal.SIGCONT)
        time.sleep(0.02)
        os.kill(pids[0], signal.SIGSTOP)
        return bool(list((project.folder / "results/.training").rglob("state.safetensors")))

    until(begun, 300, pause=0.01)
    try:
        until(has_a_state, 300, pause=0)
        assert not checkpoint.exists()
    finally:
        os.kill(pids[0], signal.SIGKILL)
