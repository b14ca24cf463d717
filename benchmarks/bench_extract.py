"""Extraction against the bare timm forward: images per second, five paired repetitions, start and steady state apart.

    python benchmarks/bench_extract.py --images DIR --weights results/weights/NAME/weights.safetensors
        [--precision float32] [--recipe whole|multicrop] [--count 48] [--shard 128] [--repetitions 5]

The bare forward runs timm's own blocks up to the same one on ready-made tensors of the same size, batch, precision and
threads. Extraction decodes, resizes, encodes, checks and writes shards; loading the model is left out of both. Decode
and resize are timed alone, in one thread and in the processes that extraction has: the bound is the slower of the
latter and the bare forward. `--count 5000` takes the files again and again where there are fewer: each is an image of
its own, with crops of its own, but the disk is asked for few of them. 5,000 images of 1,024 tokens take 4 GB.

Steady state is from the first shard on the disk (of decoding: from the first batch) to the last one; start is what the
first one took longer than its images do in steady state. With one shard there is no steady state.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import as_a_stage, machine, paired, spread

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.decoding import ImageViews, decoders, image_batches
from patchbank.bank.encode import row_shapes
from patchbank.bank.fill import BlockBank, Everything, ShardRows, fill_blocks
from patchbank.config.load import default_config
from patchbank.views.base import make_recipe


class Clock(Everything):
    """Seconds after which each shard, or batch, was there, and with how many images."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self.there: list[tuple[float, int]] = []

    def made(self, bank: BlockBank, shard: int) -> None:
        """A shard is on the disk."""
        self.note(len(bank.parts[shard]))

    def note(self, images: int) -> None:
        """So many more images are there."""
        self.there.append((time.perf_counter() - self._begin, images))


@dataclass
class Runs:
    """Start (s) and steady state (images/s) of each run that had one, the first of which is not counted."""

    starts: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, clock: Clock) -> None:
        """Note a run."""
        (first, images), last = clock.there[0], clock.there[-1][0]
        if len(clock.there) > 1:
            self.rates.append(sum(n for _, n in clock.there[1:]) / (last - first))
            self.starts.append(first - images / self.rates[-1])

    def __str__(self) -> str:
        if not self.rates:
            return "none, all of it is the start: raise --count or lower --shard"
        starts = f"start {spread(self.starts[1:])} s, {self.starts[0]:.2f} s the first time"
        return f"images/s {spread(self.rates[1:])}; {starts}"


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default="dinov2_vits14_saliency")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--recipe", default="whole", choices=["whole", "multicrop"])
    parser.add_argument("--count", type=int, default=48, help="images, also more than there are files")
    parser.add_argument("--shard", type=int, default=128, help="images of a shard")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    files = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    if not files:
        parser.error(f"there is no .jpg or .png below {options.images}")
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as folder:
        measure(options, files, Path(folder))


def measure(options: argparse.Namespace, files: Sequence[Path], folder: Path) -> None:
    """Time all of it in turn and print."""
    ids = [f"{i:016x}" for i in range(options.count)]
    paths = {image: files[i % len(files)] for i, image in enumerate(ids)}
    vit = FrozenViT(default_config().backbone(options.backbone), options.weights, precision=options.precision)
    recipe = make_recipe(options.recipe, {"draws": 1} if options.recipe == "multicrop" else {}, vit.patch)
    rows = ShardRows(paths, vit, recipe, row_shapes(vit, recipe, np.dtype(np.float16)), "benchmark")
    parts = {i: ids[start : start + options.shard] for i, start in enumerate(range(0, len(ids), options.shard))}
    tokens = rows.shapes["tokens"][0][1]
    batch = max(1, options.batch_tokens // tokens)
    views, size = len(ids) * recipe.views, max(1, options.batch_tokens // (recipe.views * tokens))
    ready = torch.randn(batch, 3, *recipe.size, device=vit.device, dtype=vit.dtype)
    sizes = [batch] * (views // batch) + ([views % batch] if views % batch else [])
    batches = [ids[start : start + size] for start in range(0, len(ids), size)]
    extracted, decoded, workers = Runs(), Runs(), decoders(vit.device, None)
    alone = ids[: len(files)]

    @torch.inference_mode()
    def bare() -> None:
        model: Any = vit.model
        for number in sizes:
            model.forward_intermediates(ready[:number], indices=[vit.block], intermediates_only=True, stop_early=True)
        if vit.device.type == "cuda":
            torch.cuda.synchronize()

    def extraction() -> None:
        clock = Clock()
        fill_blocks([BlockBank(vit.read, folder, parts, rows.content)], rows, options.batch_tokens, claims=clock)
        extracted.add(clock)

    def decode() -> None:
        clock = Clock()
        loader = image_batches(batches, ImageViews(paths, recipe), size, workers, pinned=vit.device.type == "cuda")
        for ids, _ in zip(batches, loader, strict=True):
            clock.note(len(ids))
        decoded.add(clock)

    def decode_alone() -> None:
        dataset = ImageViews(paths, recipe)
        for image in alone:
            dataset[image]

    seconds = paired([bare, extraction, decode, decode_alone], options.repetitions)
    counts = [len(ids), len(ids), len(ids), len(alone)]
    rates = [[count / value for value in column] for count, column in zip(counts, seconds, strict=True)]
    print(machine())
    print(
        f"{options.backbone}, block {vit.block}, {recipe.size[0]}x{recipe.size[1]}, {options.recipe}, "
        f"{options.precision}, {len(ids)} images of {min(len(files), len(ids))} files, {len(parts)} shard(s), "
        f"batch {batch} views"
    )
    say(rates, extracted, decoded, workers)


def say(rates: Sequence[Sequence[float]], extracted: Runs, decoded: Runs, workers: int) -> None:
    """Print images/s of the bare forward, extraction, decoding in processes and in one thread, and their shares."""
    bare, extraction, decode, alone = rates
    print(f"bare forward                  images/s {spread(bare)}")
    print(f"extraction                    images/s {spread(extraction)}")
    print(f"  steady state                {extracted}")
    print(f"decode+resize, {workers:2} process(es) images/s {spread(decode, 1)}")
    print(f"  steady state                {decoded}")
    print(f"decode+resize, 1 thread       images/s {spread(alone, 1)}")
    print(f"extraction / bare                    % {shares(extraction, bare)}")
    if extracted.rates and decoded.rates:
        steady = extracted.rates[1:]
        bound = [min(pair) for pair in zip(bare, decoded.rates[1:], strict=True)]
        print(f"  steady state / bare                % {shares(steady, bare)}")
        print(f"  steady state / the bound           % {shares(steady, bound)}")


def shares(parts: Sequence[float], wholes: Sequence[float]) -> str:
    """Percent, of pairs."""
    return spread([100 * part / whole for part, whole in zip(parts, wholes, strict=True)], 1)


if __name__ == "__main__":
    main()
