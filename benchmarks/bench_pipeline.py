"""What extraction costs beside decoding, resizing and the forward pass: an encoder that only hands over ready tensors.

    python benchmarks/bench_pipeline.py [--images DIR] [--count 400] [--size 448] [--grid 32] [--dim 384]
        [--workers 2] [--repetitions 5]

Without `--images` it makes JPEGs of COCO's size (640x480) from noise of several scales. Printed are, by image of
`grid`^2 tokens in float16:

- CPU time of this process while it extracts (fetching what was decoded, cast, checks, sums, checksums, file write, the
  final fsync), user and system; the stand-in for the encoder normalises nothing and returns float32 tensors that lie
  ready. Bar: 1.5 ms.
- images per second of the pipeline against the same decoding processes alone, whose output nobody reads.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import as_a_stage, machine, paired, spread

from patchbank.backbones.vit import Encoded
from patchbank.bank.decoding import ImageViews, image_batches
from patchbank.bank.encode import row_shapes
from patchbank.bank.fill import ShardRows, fill
from patchbank.views.base import make_recipe

BATCH = 8


class Ready:
    """The encoder's place: tokens of a batch are there before it is asked."""

    def __init__(self, grid: int, size: int, dim: int) -> None:
        self.device, self.dim, self.heads, self._grid = torch.device("cpu"), dim, 6, grid
        self.read = (11, True)
        self.patch, self.class_token = size // grid, True
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randn(BATCH, 5 + grid * grid, dim, generator=generator)
        self._said = Encoded(tokens[:, 5:], tokens[:, 0], torch.rand(BATCH, 6, grid * grid, generator=generator))

    def grid(self, _height: int, _width: int) -> tuple[int, int]:
        """The patch grid, whatever the input."""
        return self._grid, self._grid

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """The images as they are."""
        return images

    def __call__(self, images: torch.Tensor) -> Encoded:
        """As many ready rows as there are images."""
        said, count = self._said, len(images)
        return Encoded(said.tokens[:count], said.cls[:count], said.cls_attention[:count])


def make_jpegs(folder: Path, count: int) -> None:
    """Pictures of 640x480 with the detail of a photograph."""
    rng = np.random.default_rng(0)
    for i in range(count):
        picture = np.zeros((480, 640, 3), np.float32)
        for side, strength in ((6, 90), (24, 40), (96, 20), (320, 10)):
            noise = rng.normal(0, strength, (side * 3 // 4, side, 3)).astype(np.float32) + 128 / 4
            layers = [Image.fromarray(noise[..., c]).resize((640, 480), Image.Resampling.BICUBIC) for c in range(3)]
            picture += np.stack([np.asarray(layer) for layer in layers], -1)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{i:04d}.jpg", quality=92)


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--grid", type=int, default=32)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-pipeline-"))
    try:
        measure(options, folder)
    finally:
        shutil.rmtree(folder)


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Time both and print."""
    if options.images is None:
        (folder / "images").mkdir()
        make_jpegs(folder / "images", min(options.count, 200))
    files = sorted(p for p in (options.images or folder / "images").rglob("*") if p.suffix.lower() in (".jpg", ".png"))
    paths = {f"{i:016x}": files[i % len(files)] for i in range(options.count)}
    vit: Any = Ready(options.grid, options.size, options.dim)
    recipe = make_recipe("whole", {"size": options.size}, vit.patch)
    rows = ShardRows(paths, vit, recipe, row_shapes(vit, recipe, np.dtype(np.float16)), "benchmark")
    ids = list(paths)
    parts = {i: ids[start : start + 128] for i, start in enumerate(range(0, len(ids), 128))}
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    spent: dict[str, list[float]] = {"pipeline": [], "decode": []}

    def counted(name: str, function: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            before = time.process_time()
            function()
            spent[name].append(1e3 * (time.process_time() - before) / len(ids))

        return run

    def pipeline() -> None:
        fill(folder, parts, rows, BATCH * options.grid**2, workers=options.workers)

    def decode() -> None:
        for _ in image_batches(batches, ImageViews(paths, recipe), BATCH, options.workers, pinned=False):
            pass

    seconds = paired([counted("decode", decode), counted("pipeline", pipeline)], options.repetitions)
    rates = [[len(ids) / value for value in column] for column in seconds]
    shares = [100 * alone / both for alone, both in zip(*seconds, strict=True)]
    rest = options.repetitions
    print(machine())
    print(f"{len(ids)} images, {recipe.size[0]}x{recipe.size[1]}, {options.grid**2} x {options.dim} float16 tokens")
    print(f"CPU time of extracting, no decoding   ms/image {spread(spent['pipeline'][-rest:])}")
    print(f"  of it fetching what was decoded     ms/image {spread(spent['decode'][-rest:])}")
    print(f"decode + resize, {options.workers} process(es)      images/s {spread(rates[0], 1)}")
    print(f"pipeline                              images/s {spread(rates[1], 1)}")
    print(f"pipeline / decode + resize                   % {spread(shares, 1)}")


if __name__ == "__main__":
    main()
