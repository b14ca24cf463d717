"""Steps of STEGO and SmooSeg from the bank against their own arithmetic.

    python benchmarks/bench_heads.py --bank results/msrc/bank/train-whole.json [--views windows] [--steps 6]
        [--repetitions 3] [--only stego|smooseg]

A step from the bank reads its views (a thread reads the next ones meanwhile) and is then the same step as on tensors in
memory: forward, losses, backward, Adam, everything random drawn. The share is the one's time over the other's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from timing import as_a_stage, machine, paired, spread

from patchbank.bank.centring import Centring
from patchbank.bank.reader import open_bank
from patchbank.methods.smooseg import step as smooseg
from patchbank.methods.smooseg.settings import SmooSegSettings
from patchbank.methods.stego import step as stego
from patchbank.methods.stego.settings import StegoSettings
from patchbank.methods.tools.batches import read_ahead
from patchbank.methods.tools.training_views import TrainingViews

CPU = torch.device("cpu")
Step = Callable[[Any], None]
Load = Callable[[int], Any]


def stego_step(views: TrainingViews) -> tuple[Load, Step]:
    """What reads a batch of STEGO, and its step."""
    settings = StegoSettings(shifts="given")
    model = stego.Stego(views.dim, 27, settings, 0)
    optimiser, rng = torch.optim.Adam(model.parameters(), lr=settings.lr), np.random.default_rng(0)
    order = np.random.default_rng(1)

    def load(_: int) -> Any:
        samples = [order.integers(0, views.count, settings.batch_size) for _ in range(2)]
        return views.read(samples[0]), views.read(samples[1])

    def step(batch: Any) -> None:
        drawn = stego.draw(rng, settings.batch_size, views.dim, settings, CPU)
        shifts = (settings.shift_intra, settings.shift_inter, settings.shift_negative)
        parts, probe = stego.losses(model, batch, views.grid, drawn, shifts, settings)
        optimiser.zero_grad()
        (parts.total + probe).backward()
        optimiser.step()

    return load, step


def smooseg_step(views: TrainingViews) -> tuple[Load, Step]:
    """What reads a batch of SmooSeg, and its step."""
    settings = SmooSegSettings()
    model = smooseg.SmooSeg(views.dim, 27, settings, 0)
    optimiser, rng = smooseg.build_optimiser(model, settings), np.random.default_rng(0)
    order = np.random.default_rng(1)

    def load(_: int) -> Any:
        return views.read(order.integers(0, views.count, settings.batch_size))

    def step(tokens: Any) -> None:
        drawn = smooseg.draw(rng, settings.batch_size, views.dim, settings, CPU)
        found = smooseg.losses(model, tokens, drawn, settings)
        smooseg.update(model, optimiser, found.total, settings.decay)

    return load, step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", required=True)
    parser.add_argument("--views", default="windows")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=["stego", "smooseg"])
    arguments = parser.parse_args()
    views = TrainingViews(open_bank(arguments.bank), arguments.views, Centring())
    print(machine())
    for name, make in {"stego": stego_step, "smooseg": smooseg_step}.items():
        if arguments.only not in (None, name):
            continue
        load, step = make(views)
        held = load(0)

        def in_memory(step: Step = step, held: Any = held) -> None:
            for _ in range(arguments.steps):
                step(held)

        def from_bank(step: Step = step, load: Load = load) -> None:
            for batch in read_ahead(load, arguments.steps):
                step(batch)

        times = paired([in_memory, from_bank], arguments.repetitions)
        memory, bank = ([value / arguments.steps for value in part] for part in times)
        share = 100 * statistics.median(memory) / statistics.median(bank)
        print(f"{name}, {views.grid[0]}x{views.grid[1]} tokens x {views.dim}, seconds a step:")
        print(f"  in memory {spread(memory)}, from the bank {spread(bank)}: {share:.0f} % (bar: 90 %)")


if __name__ == "__main__":
    as_a_stage()
    main()
