"""Steps of heads from the bank against the same steps on tensors in memory.

    python benchmarks/bench_heads.py --bank results/msrc/bank/train-whole.json --statistics results/msrc/statistics.npz
        [--steps 10] [--repetitions 3] [--only stego|smooseg|cause_mlp|primaps|cause_tr]

Both are trainings as the pipeline runs them, in turns: one reads its views (a thread reads the next ones while a step
is taken), the other is given those of its first step again. The share is the one's time over the other's, of every
phase; the first step of a phase and the last, which stores a state, are not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from timing import as_a_stage, machine, spread

from patchbank.bank.reader import open_bank
from patchbank.methods.contract import Row, resolve, run_train, traits
from patchbank.methods.jobs import TrainingFiles, TrainJob
from patchbank.methods.tools.phases import Phase, Phases

WHOLE: dict[str, Any] = {"size": 448, "resize": "pil"}
SHARED: dict[str, Any] = {
    "k": [27],
    "kmeans_seeds": [0],
    "kmeans": {"niter": 1, "nredo": 1},
    "recipes": {"whole": WHOLE, "five": WHOLE, "center320": WHOLE, "recoloured": {"of": "whole", **WHOLE}},
}


def lengths(steps: int, images: int) -> dict[str, dict[str, Any]]:
    """Settings under which every phase of a head takes about `steps` steps."""
    cause = steps * 16 / (5 * images)
    return {
        "stego": {"steps": steps, "shifts": "given"},
        "smooseg": {"steps": steps},
        "cause_mlp": {"mediator_epochs": cause, "epochs": cause, "batch_size": 16},
        "primaps": {"start_epochs": -(-steps * 32 // images), "epochs": -(-steps * 32 // images)},
        "cause_tr": {"mediator_epochs": steps * 8 / images, "epochs": steps * 8 / images},
    }


class Watch:
    """Times the steps of all trainings while it lasts, and may hold what they read.

    Attributes:
        held: whether every step is given what the first one read.
        seconds: of each step by phase.
    """

    def __init__(self, held: bool) -> None:
        self.held, self.seconds = held, dict[str, list[float]]()

    def __enter__(self) -> Watch:
        self._plain: Callable[..., Any] = Phases.run
        Phases.run = lambda phases, phase: self._run(phases, phase)  # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Phases.run = self._plain  # type: ignore[method-assign]

    def _run(self, phases: Phases, phase: Phase[Any]) -> list[list[float]]:
        ends: list[float] = []

        def step(number: int, batch: Any) -> list[float]:
            values = phase.step(number, batch)
            ends.append(time.perf_counter())
            return values

        first = [phase.load(0)] if self.held else []
        load = (lambda _: first[0]) if self.held else phase.load
        rows: list[list[float]] = self._plain(phases, replace(phase, load=load, step=step))
        inner = ends[:-1]
        self.seconds[phase.name] = [late - early for early, late in pairwise(inner)]
        return rows


def trained(name: str, own: dict[str, Any], arguments: argparse.Namespace, held: bool, root: Path) -> Watch:
    """One training; what it makes is left in a folder of its own, but for what all seeds share."""
    method = resolve(name, Row(name, traits(name), {**own, "checkpoint_every": 10**6}), SHARED, (0,))
    with tempfile.TemporaryDirectory() as folder, Watch(held) as watch:
        files = TrainingFiles.below(Path(folder))
        run_train(
            TrainJob(
                folder=name,
                banks=dict.fromkeys(method.traits.recipes, Path(arguments.bank)),
                statistics=Path(arguments.statistics),
                settings=method.settings,
                seed=0,
                files=files,
                state_root=root,
            )
        )
    return watch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", required=True)
    parser.add_argument("--statistics", required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=list(lengths(1, 1)))
    arguments = parser.parse_args()
    if arguments.steps < 5:
        parser.error("--steps is below 5, too few for a median without the first and the last")
    print(machine())
    heads = lengths(arguments.steps, len(open_bank(arguments.bank).images))
    for name, own in heads.items() if not arguments.only else [(arguments.only, heads[arguments.only])]:
        with tempfile.TemporaryDirectory() as root:
            rounds = [
                [trained(name, own, arguments, held, Path(root)).seconds for held in (True, False)]
                for _ in range(1 + arguments.repetitions)
            ][1:]
        print(f"{name}, seconds a step:")
        for phase in rounds[0][0]:
            memory, bank = ([statistics.median(one[side][phase]) for one in rounds] for side in (0, 1))
            share = 100 * statistics.median(memory) / statistics.median(bank)
            print(
                f"  {phase}: in memory {spread(memory, 3)}, from the bank {spread(bank, 3)}: {share:.0f} % (bar: 90 %)"
            )


if __name__ == "__main__":
    as_a_stage()
    main()
