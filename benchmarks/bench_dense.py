"""A grid twice as dense a side against the plain one: seconds of an extraction, paired repetitions.

    python benchmarks/bench_dense.py [--model vit_small_patch14_dinov2] [--count 8] [--size 448] [--shift 2]

Random weights and pictures of 640x480: time does not depend on what they hold. Loading the model is left out.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import as_a_stage, machine, paired, spread

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.encode import row_shapes
from patchbank.bank.fill import ShardRows, fill
from patchbank.views.base import make_recipe
from patchbank.weights.spec import BackboneSpec


def main() -> None:
    """Print seconds of both, and their ratio."""
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch14_dinov2")
    for name, value in (("count", 8), ("size", 448), ("shift", 2), ("repetitions", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="bench-dense-"))
    try:
        paths = {f"{i:016x}": folder / f"{i}.jpg" for i in range(options.count)}
        for number, path in enumerate(paths.values()):
            small = np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)
            Image.fromarray(small).resize((640, 480)).save(path)
        vit = FrozenViT(BackboneSpec("random", options.model, block=8), None)
        recipes = [
            make_recipe("whole", {"size": options.size}, vit.patch),
            make_recipe("dense", {"size": options.size, "shift": options.shift}, vit.patch),
        ]
        rows = [ShardRows(paths, vit, r, row_shapes(vit, r, np.dtype(np.float16)), "benchmark") for r in recipes]
        runs = [lambda one=one: fill(folder / "bank", {0: list(paths)}, one, 8192) for one in rows]
        plain, dense = paired(runs, options.repetitions)
    finally:
        shutil.rmtree(folder)
    print(machine())
    print(f"{options.model} to block 8, {options.size}x{options.size}, {options.count} pictures, shift {options.shift}")
    print(f"whole s {spread(plain)}")
    print(f"dense s {spread(dense)}")
    print(f"ratio {spread([many / one for one, many in zip(plain, dense, strict=True)])}")


if __name__ == "__main__":
    main()
