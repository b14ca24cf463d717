"""Extraction against the bare timm forward: images per second, five paired repetitions.

    python benchmarks/bench_extract.py --images DIR --weights results/weights/NAME/weights.safetensors
        [--precision float32] [--recipe whole|multicrop] [--count 48] [--repetitions 5]

The bare forward runs timm's own blocks up to the same one on ready-made tensors of the same size, batch, precision and
threads. Extraction decodes, resizes, encodes, checks and writes shards; loading the model is left out of both. On a
GPU decode and resize alone are timed too: the bound is the slower of the two.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import as_a_stage, machine, paired, spread

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.decoding import ImageViews
from patchbank.bank.encode import row_shapes
from patchbank.bank.fill import ShardRows, fill
from patchbank.config.load import default_config
from patchbank.views.base import make_recipe


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default="dinov2_vits14_saliency")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--recipe", default="whole", choices=["whole", "multicrop"])
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()

    listed = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    paths = {f"{i:016x}": path for i, path in enumerate(listed[: options.count])}
    vit = FrozenViT(default_config().backbone(options.backbone), options.weights, precision=options.precision)
    recipe = make_recipe(options.recipe, {"draws": 1} if options.recipe == "multicrop" else {}, vit.patch)
    shapes = row_shapes(vit, recipe, np.dtype(np.float16))
    tokens = shapes["tokens"][0][1]
    batch = max(1, options.batch_tokens // tokens)
    views = len(paths) * recipe.views
    ready = torch.randn(batch, 3, *recipe.size, device=vit.device, dtype=vit.dtype)
    sizes = [batch] * (views // batch) + ([views % batch] if views % batch else [])
    folder = Path(tempfile.mkdtemp(prefix="bench-extract-"))

    @torch.inference_mode()
    def bare() -> None:
        model: Any = vit.model
        for size in sizes:
            model.forward_intermediates(ready[:size], indices=[vit.block], intermediates_only=True, stop_early=True)
        if vit.device.type == "cuda":
            torch.cuda.synchronize()

    def extraction() -> None:
        fill(folder, {0: list(paths)}, ShardRows(paths, vit, recipe, shapes, "benchmark"), options.batch_tokens)

    def decode() -> None:
        dataset = ImageViews(paths, recipe)
        for image_id in paths:
            dataset[image_id]

    try:
        seconds = paired([bare, extraction, decode], options.repetitions)
    finally:
        shutil.rmtree(folder)
    rates = [[len(paths) / value for value in column] for column in seconds]
    shares = [100 * b / e for b, e in zip(seconds[0], seconds[1], strict=True)]
    print(machine())
    print(
        f"{options.backbone}, block {vit.block}, {recipe.size[0]}x{recipe.size[1]}, {options.recipe}, "
        f"{options.precision}, {len(paths)} images, batch {batch} views"
    )
    print(f"bare forward            images/s {spread(rates[0])}")
    print(f"extraction              images/s {spread(rates[1])}")
    print(f"decode+resize, 1 thread images/s {spread(rates[2], 1)}")
    print(f"extraction / bare              % {spread(shares, 1)}")


if __name__ == "__main__":
    main()
