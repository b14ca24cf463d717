"""Trainings of heads on single tokens get SIGKILL or SIGTERM, wherever they are, and end as if nothing had happened.

A fresh process imports torch once and forks a child for every attempt. A child tells every finished step through a
pipe; the parent lets it finish some of them, waits for a moment, and sends a signal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from head_world import RUNS, head_world, job_of, tensors_of

from patchbank.methods.jobs import TrainingFiles
from patchbank.stopping import STATUS, Stopped, install

KILLS = 5
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in sorted(RUNS)}
CASES["primaps-codes"] = ("primaps", {"codes": "stego", "start_epochs": 0})
CASES["primaps-baseline"] = ("primaps", {"stage": "baseline"})
CASES["primaps-student"] = ("primaps", {"student": "recoloured", "codes": "stego", "start_epochs": 0})
CASES["stego-probe"] = ("stego", {"probe": "reference"})
CASES["cause-mlp-leak"] = ("cause_mlp", {"probe": "reference", "probe_epochs": 30, "supervised_leak": "reference"})
LONG: dict[str, dict[str, Any]] = {name: {"steps": 60, "checkpoint_every": 4} for name in RUNS}
LONG |= {name: {"epochs": 30, "checkpoint_every": 4} for name in ("primaps", "cause_mlp", "cause_tr")}
__all__ = ["head_world"]


def attempt(method: str, job: Any) -> tuple[int, int]:
    """Start or go on with the training in a child; its process and the pipe with its steps, 4 bytes each."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        install()
        stage = import_module(f"patchbank.methods.{method}.train")
        stage.train(job, on_step=lambda step: os.write(writing, step.to_bytes(4, "big")))
        os._exit(0)
    except Stopped:
        os._exit(STATUS)
    finally:
        os._exit(1)


def steps_of(pipe: int, count: int | None = None) -> list[int]:
    found: list[int] = []
    while (count is None or len(found) < count) and (told := os.read(pipe, 4)):
        found.append(int.from_bytes(told, "big"))
    return found


def kill_and_resume(method: str, job: Any) -> list[list[int]]:
    """The steps of every killed attempt, and of the last one, which ends by itself."""
    chance, told = random.Random(0), []
    for number in range(KILLS):
        sent = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        child, pipe = attempt(method, job)
        steps = steps_of(pipe, chance.randrange(1, 12))
        time.sleep(chance.random() * 0.02)
        os.kill(child, sent)
        steps += steps_of(pipe)
        os.close(pipe)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in ((-sent,) if sent == signal.SIGKILL else (STATUS, 0))
        told.append(steps)
    child, pipe = attempt(method, job)
    told.append(steps_of(pipe))
    assert os.waitpid(child, 0)[1] == 0
    return told


def kill_among_proposals(method: str, job: Any) -> list[list[int]]:
    """How many proposals were counted when each attempt was killed, and the steps of the one that ends by itself."""
    stored = import_module(f"patchbank.methods.{method}.stored")
    stored._BLOCK, plain = 1, stored.soft_masks

    def slowly(*given: Any) -> Any:
        time.sleep(0.5)  # so that the parent, however busy, comes before the next one
        return plain(*given)

    stored.soft_masks = slowly
    counted = []
    for number in range(KILLS):
        sent = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        child, pipe = attempt(method, job)
        while proposals_of(job) <= number:
            assert os.waitpid(child, os.WNOHANG)[0] == 0, "it ended before its proposals"
            time.sleep(0.001)
        os.kill(child, sent)
        assert steps_of(pipe) == []
        os.close(pipe)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (-sent if sent == signal.SIGKILL else STATUS)
        counted.append(proposals_of(job))
    child, pipe = attempt(method, job)
    steps = steps_of(pipe)
    assert os.waitpid(child, 0)[1] == 0
    return [counted, steps]


def proposals_of(job: Any) -> int:
    counts = [json.loads(path.read_text())["done"] for path in Path(job.state_root).glob("proposals-*/done.json")]
    return sum(counts)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", CASES)
def test_kills_change_nothing(case: str, head_world: dict[str, Path], tmp_path: Path) -> None:
    method, own = CASES[case]
    settings, known = LONG[method] | own, dict(head_world)
    if row := own.get("codes"):
        learned = job_of(head_world, row, tmp_path / row)
        import_module(f"patchbank.methods.{row}.train").train(learned)
        known[row] = learned.files.checkpoint
    told = killed_and_whole("kill_and_resume", method, known, settings, tmp_path)
    assert len(told) == KILLS + 1
    assert sum(map(len, told)) >= 60


@pytest.mark.exhaustive
def test_kills_among_proposals_change_nothing(head_world: dict[str, Path], tmp_path: Path) -> None:
    own = RUNS["primaps"] | {"start_epochs": 0, "refine": "pamr", "size": 300}
    counted, steps = killed_and_whole("kill_among_proposals", "primaps", head_world, own, tmp_path)
    assert counted == sorted(counted)
    assert 1 <= counted[0] < counted[-1] < 9, "none was made again, and some were left every time"
    assert steps == list(range(8))


def killed_and_whole(
    how: str, method: str, known: Mapping[str, Path], settings: dict[str, Any], folder: Path
) -> list[list[int]]:
    """What a function of this file tells of a training that it kills; it ends as one that nobody disturbs."""
    whole = job_of(known, method, folder / "whole", **settings)
    import_module(f"patchbank.methods.{method}.train").train(whole)
    world = {name: str(path) for name, path in known.items()}
    done = subprocess.run(
        [sys.executable, __file__, how, method, str(folder / "killed"), json.dumps(world), json.dumps(settings)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killed = replace(whole, files=TrainingFiles.below(folder / "killed"))
    assert tensors_of(killed.files.checkpoint) == tensors_of(whole.files.checkpoint)
    assert killed.files.steps_csv.read_text() == whole.files.steps_csv.read_text()
    told: list[list[int]] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    import torch._dynamo  # noqa: F401 (optimisers import it: once here instead of in every child)

    how, name, target, world, own = sys.argv[1:]
    banks = {recipe: Path(path) for recipe, path in json.loads(world).items()}
    mine = job_of(banks, name, Path(target), **json.loads(own))
    kill = {"kill_and_resume": kill_and_resume, "kill_among_proposals": kill_among_proposals}[how]
    print(json.dumps(kill(name, mine)))
