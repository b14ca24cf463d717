"""Proposals of PriMaPs with and without the edges of the pixels, from banks.

    python benchmarks/bench_proposals.py --bank results/msrc/bank/train-whole.json
        --pixels results/msrc/bank/train-pixels.json --statistics results/msrc/statistics.npz
        [--size 320] [--repetitions 3] [--refine none pamr crf]

Seconds of clock an image, on all cores that may be used; what a training of all seeds pays once. `crf` needs
pydensecrf2 (`pip install 'patchbank[crf]'`).
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

from timing import as_a_stage, machine, paired, spread

from patchbank.bank.centring import Centring
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.methods.primaps.settings import PrimapsSettings
from patchbank.methods.primaps.stored import StoredProposals
from patchbank.methods.tools.phases import origin
from patchbank.methods.tools.training_views import TrainingViews
from patchbank.refinement import crf
from patchbank.threads import available


def made(refine: str, arguments: argparse.Namespace) -> None:
    """Proposals of all images of the bank, which are thrown away."""
    bank, pixels = open_bank(arguments.bank), open_bank(arguments.pixels)
    centring = Centring.of(Statistics.load(arguments.statistics), "mean", bank.dim)
    settings = PrimapsSettings(refine=refine, size=arguments.size)
    known = origin({"whole": bank, "pixels": pixels}, {}, 0, centring, "patchbank.methods.primaps.train")
    known |= {"threads": available(), "library": crf.version()}
    views = TrainingViews(bank, "whole", centring)
    with tempfile.TemporaryDirectory() as folder:
        size = (arguments.size, arguments.size)
        StoredProposals(Path(folder), views, settings, size, known, pixels)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bank", "pixels", "statistics"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--refine", nargs="+", default=["none", "pamr", "crf"], choices=["none", "pamr", "crf"])
    arguments = parser.parse_args()
    print(machine())
    images = len(open_bank(arguments.bank).images)
    seconds = paired([partial(made, refine, arguments) for refine in arguments.refine], arguments.repetitions, warmup=0)
    for refine, values in zip(arguments.refine, seconds, strict=True):
        print(f"{refine}: {spread([value / images for value in values], 3)} s an image, {images} images")


if __name__ == "__main__":
    as_a_stage()
    main()
