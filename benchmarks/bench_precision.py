"""Error of lower precision against float32 on real images: tokens, class token, attention, and segments.

    python benchmarks/bench_precision.py --images DIR --weights FILE [--count 8] [--size 448]

Relative error is |x - x32| / |x32| over all values; cosine is the smallest cosine between a token and its float32
counterpart; speed is images per second of the forward pass (median of five passes after two).
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from timing import as_a_stage, machine, paired

from patchbank.backbones.encoder import Encoded
from patchbank.backbones.vit import FrozenViT
from patchbank.config.load import default_config
from patchbank.datasets.images import load_image
from patchbank.views.base import make_recipe


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default="dinov2_vits14_saliency")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--size", type=int, default=448)
    options = parser.parse_args()
    paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    spec = default_config().backbone(options.backbone)
    reference: Encoded | None = None
    print(machine())
    print("precision  tokens    cosine    cls       attention images/s")
    for precision in ("float32", "bfloat16", "float16"):
        vit = FrozenViT(spec, options.weights, precision=precision)
        recipe = make_recipe("whole", {"size": options.size}, vit.patch)
        pixels = [recipe.make(load_image(path), "", 0).pixels.copy() for path in paths[: options.count]]
        inputs = vit.normalise(torch.cat([torch.from_numpy(p) for p in pixels]))
        kept: list[Encoded] = []

        def forward(vit: FrozenViT = vit, inputs: torch.Tensor = inputs, kept: list[Encoded] = kept) -> None:
            kept[:] = [vit(inputs)]
            if vit.device.type == "cuda":
                torch.cuda.synchronize()

        (passes,) = paired([forward], 5, warmup=2)  # the first ones allocate and load kernels
        seconds, encoded = statistics.median(passes), kept[0]
        reference = reference or encoded
        pairs = [(encoded.tokens, reference.tokens), (encoded.cls, reference.cls)]
        pairs.append((encoded.cls_attention, reference.cls_attention))
        errors = [float((a - b).norm() / b.norm()) for a, b in pairs]
        cosine = float(torch.cosine_similarity(encoded.tokens, reference.tokens, dim=-1).min())
        line = f"{errors[0]:.2e}  {cosine:.6f}  {errors[1]:.2e}  {errors[2]:.2e}"
        print(f"{precision:10s} {line}  {len(pixels) / seconds:.2f}")


if __name__ == "__main__":
    main()
