"""A run is killed again and again, in whatever stage it is, and ends as if nothing had happened.

`PATCHBANK_KILLS=100` kills a hundred times; the seed is fixed, the moments are those of the machine.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from workflow_tools import TINY, Project

from patchbank.checkpoints.store import load_checkpoint
from patchbank.config.schema import merge
from patchbank.files import read_json, read_npz

pytestmark = pytest.mark.exhaustive
KILLS = int(os.environ.get("PATCHBANK_KILLS", "4"))
WHOLE, JOB = "whole run", "one job"
FEW: dict[str, Any] = {
    "floors": ["single"],
    "ceilings": [],
    "datasets": {"demo": {"settings": {"methods": {"alignseg": {"postprocess": []}}}}},
}
"""Every stage of a set, and few rows."""


def outcome(project: Project) -> dict[str, Any]:
    """What the results of a run say, without what depends on the clock."""
    results = project.folder / "results"
    found: dict[str, Any] = {}
    for path in sorted(results.rglob("*")):
        name = str(path.relative_to(results))
        if path.suffix == ".npz":
            found[name] = {key: (array.dtype.str, array.tobytes()) for key, array in read_npz(path).items()}
        elif path.suffix == ".safetensors":
            tensors = load_checkpoint(path)[0] if path.with_name("steps.csv").is_file() else {}
            found[name] = {key: tensor.numpy().tobytes() for key, tensor in tensors.items()} or path.read_bytes()
        elif path.match("bank/**/0*.h5"):
            found[name] = path.read_bytes()
    found["rows"] = read_json(results / "demo" / "report.json")["rows"]
    return found


def jobs_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The scripts that a run has started."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if any(".snakemake/scripts" in word for word in child.cmdline())]
    except psutil.Error:
        return []


def disturbed(project: Project, chance: random.Random, longest: float) -> tuple[str, bool]:
    """Start or go on with the run, and kill it, or one of its jobs, at a random moment; whether it ended before."""
    how, moment = chance.choice((WHOLE, WHOLE, JOB)), chance.random() * longest
    with subprocess.Popen(
        project.command("--cores", "2", "--nolock", "all"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while process.poll() is None and not jobs_of(process):
            time.sleep(0.05)
        time.sleep(moment)
        killed = False
        while process.poll() is None and not killed:
            if how == WHOLE:
                os.killpg(process.pid, signal.SIGKILL)
                killed = True
            elif jobs := jobs_of(process):
                with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
                    chance.choice(jobs).kill()
                    killed = True
            else:
                time.sleep(0.02)
        process.wait()
    return how, not killed


def test_kills_in_all_stages_change_nothing(tmp_path: Path) -> None:
    whole, killed = (
        Project(tmp_path / "whole", merge(TINY, FEW), forks=True),
        Project(tmp_path / "killed", merge(TINY, FEW)),
    )
    started = time.monotonic()
    whole.done("all")
    longest = max(2.0, 1.2 * (time.monotonic() - started) / min(KILLS, 12))
    chance, told = random.Random(0), []
    while sum(not ended for _, ended in told) < KILLS:
        told.append(disturbed(killed, chance, longest))
        print(len(told), *told[-1], f"{time.monotonic() - started:.0f} s", flush=True)
        if told[-1][1]:  # all done: from the beginning
            for path in (killed.folder / "results").iterdir():
                subprocess.run(["rm", "-r", path], check=True)
    assert {how for how, _ in told} == {WHOLE, JOB}
    killed.forks = True  # what is left to do, nobody kills
    killed.done("all")
    assert killed.planned("all") == {}
    expected, found = outcome(whole), outcome(killed)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert sum(len(value) for value in expected.values()) > 100
    left = [path for path in (killed.folder / "results").rglob(".*") if ".tmp" in path.name or ".lease" in path.name]
    assert left == []
    assert list((killed.folder / "results" / ".training").rglob("*")) == []
    assert np.isfinite([row["miou"]["mean"] for row in found["rows"]]).all()
