"""Training is killed twenty times with SIGKILL, wherever it is, and ends as if nothing had happened.

A fresh process imports torch once and forks a child for every attempt, because starting Python takes longer than the
whole training. A child tells every finished step through a pipe; the parent lets it finish a random number of them,
waits for a random fraction of a step or of a checkpoint, and kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alignseg_training import run, small, table, untimed

from patchbank.fingerprint import code_fingerprint

KILLS = 20
EPOCHS, STEPS_PER_EPOCH, EVERY = 250, 2, 2  # a state every 4 steps, 500 steps


def attempt(folder: Path) -> tuple[int, int]:
    """Start or go on with the training in a child; its process and the pipe with its steps, 4 bytes each."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        settings = small(epochs=EPOCHS, checkpoint_every=EVERY)
        run(folder, settings, on_step=lambda step: os.write(writing, step.to_bytes(4, "big")))
        os._exit(0)
    finally:
        os._exit(1)


def steps_of(pipe: int, count: int | None = None) -> list[int]:
    """The next `count` steps of a child, or all that it tells before it ends."""
    found: list[int] = []
    while (count is None or len(found) < count) and (told := os.read(pipe, 4)):
        found.append(int.from_bytes(told, "big"))
    return found


def kill_and_resume(folder: Path) -> dict[str, list[list[int]]]:
    """The steps of every killed attempt and of the last one, which ends by itself."""
    chance = random.Random(0)
    killed = []
    for _ in range(KILLS):
        child, pipe = attempt(folder)
        steps = steps_of(pipe, chance.randrange(30))
        time.sleep(chance.random() * chance.choice([0.002, 0.02]))
        os.kill(child, signal.SIGKILL)
        steps += steps_of(pipe)
        os.close(pipe)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        killed.append(steps)
    child, pipe = attempt(folder)
    last = steps_of(pipe)
    assert os.waitpid(child, 0)[1] == 0
    return {"killed": killed, "last": [last]}


@pytest.mark.exhaustive
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "undisturbed", small(epochs=EPOCHS, checkpoint_every=EVERY))
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "killed")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["killed"]) == KILLS
    reached = -1
    for steps in [*told["killed"], *told["last"]]:
        if steps:
            assert steps == list(range(steps[0], steps[0] + len(steps)))
            # a kill may fall between a step and the word of it
            assert reached + 1 - EVERY * STEPS_PER_EPOCH <= steps[0] <= reached + 2
            reached = max(reached, steps[-1])
    assert sum(map(len, told["killed"])) > 100
    out = {name: tmp_path / "killed" / undisturbed[name].name for name in undisturbed}
    assert out["head"].read_bytes() == undisturbed["head"].read_bytes()
    assert untimed(out["steps"]) == untimed(undisturbed["steps"])
    assert untimed(out["epochs"]) == untimed(undisturbed["epochs"])
    assert [int(row["step"]) for row in table(out["steps"])] == list(range(EPOCHS * STEPS_PER_EPOCH))
    assert not list(out["state"].iterdir())


if __name__ == "__main__":
    import torch._dynamo  # noqa: F401 (AdamW imports it: once here instead of in every child)

    code_fingerprint("patchbank.methods.alignseg.train")  # cached for the children
    print(json.dumps(kill_and_resume(Path(sys.argv[1]))))
