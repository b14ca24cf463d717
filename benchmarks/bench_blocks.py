"""Several blocks in one pass against the deepest of them alone: seconds of an extraction, paired repetitions.

    python benchmarks/bench_blocks.py [--model vit_small_patch14_dinov2] [--blocks 5 8 11] [--count 8] [--repetitions 5]

Random weights and pictures: time does not depend on them. Loading the model is left out.
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
from patchbank.bank.fill import BlockBank, ShardRows, fill_blocks
from patchbank.views.base import make_recipe
from patchbank.weights.spec import BackboneSpec, Read


def at(blocks: list[int]) -> tuple[Read, ...]:
    """Blocks with the final norm, as the specification below reads them."""
    return tuple((block, True) for block in blocks)


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_small_patch14_dinov2")
    parser.add_argument("--blocks", type=int, nargs="+", default=[5, 8, 11])
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="bench-blocks-"))
    try:
        paths = {f"{i:016x}": folder / f"{i}.png" for i in range(options.count)}
        for number, path in enumerate(paths.values()):
            pixels = np.random.default_rng(number).integers(0, 256, (options.size, options.size, 3), np.uint8)
            Image.fromarray(pixels).save(path)
        deepest = max(options.blocks)
        vit = FrozenViT(BackboneSpec("random", options.model, block=deepest), None, blocks=at(options.blocks))
        recipe = make_recipe("whole", {"size": options.size}, vit.patch)
        rows = ShardRows(paths, vit, recipe, row_shapes(vit, recipe, np.dtype(np.float16)), "benchmark")

        def run(blocks: list[int]) -> None:
            ids = {0: list(paths)}
            fill_blocks([BlockBank(b, folder / str(b[0]), ids, "benchmark") for b in at(blocks)], rows, 8192)

        seconds = paired([lambda: run([deepest]), lambda: run(options.blocks)], options.repetitions)
    finally:
        shutil.rmtree(folder)
    print(machine())
    print(f"{options.model}, {options.size}x{options.size}, {options.count} pictures")
    print(f"block {deepest} alone       s {spread(seconds[0])}")
    print(f"blocks {options.blocks} s {spread(seconds[1])}")
    print(f"ratio {spread([several / one for one, several in zip(*seconds, strict=True)])}")


if __name__ == "__main__":
    main()
