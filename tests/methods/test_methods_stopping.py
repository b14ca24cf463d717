"""A training that gets SIGTERM ends after the step that it is in, and goes on where it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alignseg_training import run, small
from head_world import RUNS, head_world, job_of, tensors_of
from jobs import train_job
from transfgu_world import EXACT, make_world

from patchbank import progress, stopping
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.methods.transfgu.settings import TransFGUSettings, recipes
from patchbank.methods.transfgu.train import train_segmenter
from patchbank.stopping import STATUS, Stopped, install

__all__ = ["head_world"]


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """The signal is handled as in a stage, and as before afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    install()
    yield
    install()  # nobody has asked
    signal.signal(signal.SIGTERM, before)


def stop_after(step: int, seen: list[int]) -> Callable[[int], None]:
    """What sends the signal after the step of that number."""

    def on_step(number: int) -> None:
        seen.append(number)
        if number == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_step


def stopped(train: Callable[[Callable[[int], None]], Any], step: int) -> list[int]:
    """The steps that are taken after a training was stopped behind the step of that number."""
    seen: list[int] = []
    with pytest.raises(Stopped) as ended:
        train(stop_after(step, seen))
    assert ended.value.code == STATUS == 143
    assert seen == list(range(step + 1))
    again: list[int] = []
    install()
    train(again.append)
    assert again == list(range(again[0], again[-1] + 1))
    return again


@pytest.mark.parametrize("method", sorted(RUNS))
def test_heads_that_count_steps_repeat_none(method: str, head_world: dict[str, Path], tmp_path: Path) -> None:
    stage = import_module(f"patchbank.methods.{method}.train")
    whole, job = (job_of(head_world, method, tmp_path / name) for name in ("whole", "stopped"))
    stage.train(whole)
    assert stopped(lambda on_step: stage.train(job, on_step), 2)[0] == 3  # a state stands after every second step
    assert tensors_of(job.files.checkpoint) == tensors_of(whole.files.checkpoint)
    assert job.files.steps_csv.read_text() == whole.files.steps_csv.read_text()
    assert not [path for path in job.state_root.iterdir() if not path.name.startswith(("proposals-", "neighbours-"))]


def test_a_signal_between_two_steps_repeats_none(
    head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, seen, check = sorted(RUNS)[0], list[int](), stopping.check
    stage = import_module(f"patchbank.methods.{method}.train")
    job = job_of(head_world, method, tmp_path)

    def late() -> None:
        if seen[-1:] == [2]:  # after everything of this step, a state stands after the one before
            os.kill(os.getpid(), signal.SIGTERM)
        check()

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(progress, "end_if_asked", late)
        stage.train(job, seen.append)
    assert seen == [0, 1, 2]
    install()
    stage.train(job, seen.append)
    assert seen == list(range(len(seen)))
    assert len(seen) > 3


def test_alignseg_goes_on_after_its_last_state(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", small())
    # 2 steps an epoch, a state every second epoch
    assert stopped(lambda on_step: run(tmp_path / "stopped", small(), on_step=on_step), 6)[0] == 4
    assert (tmp_path / "stopped" / whole["head"].name).read_bytes() == whole["head"].read_bytes()


def test_transfgu_goes_on_after_its_last_state(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    options = TransFGUSettings.from_mapping({**EXACT, "checkpoint_every": 2})
    banks = {name: open_bank(world[name]) for name in recipes(EXACT)}

    def train(folder: str, on_step: Callable[[int], None] | None = None) -> bytes:
        (tmp_path / folder).mkdir(exist_ok=True)
        job = train_job("transfgu", tmp_path / folder, device="cpu")
        train_segmenter(banks, Statistics.load(world["statistics"]), options, job, on_step)
        return job.files.checkpoint.read_bytes()

    whole = train("whole")
    assert stopped(lambda on_step: train("stopped", on_step), 6)[0] == 4
    assert (tmp_path / "stopped" / "checkpoint.safetensors").read_bytes() == whole
