"""`patchbank segment`, whole path: pictures per second, five paired repetitions.

    python benchmarks/bench_segment.py --images DIR --weights results/weights/NAME/weights.safetensors
        [--count 24] [--queries 5] [--size 448] [--window PX] [--precision float32] [--device auto] [--repetitions 5]

Three rates of the same pictures: resize and frozen encoder alone (whole pictures); the whole path without writing
(decode, resize, encode, head, upsampling to the picture's own size); the whole path with palette PNG and overlay
written. Loading the models is left out of all. The head has random weights: its arithmetic is that of a trained one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image
from timing import as_a_stage, machine, paired, spread

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.centring import Centring
from patchbank.config.load import default_config
from patchbank.datasets.images import load_image
from patchbank.inference.inputs import find_inputs
from patchbank.inference.naming import own_segments
from patchbank.inference.pictures import GridSegments, PictureWriter
from patchbank.inference.segment import Segmenter, segment_files
from patchbank.inference.tokens import whole_tokens
from patchbank.methods.alignseg.head import Head
from patchbank.methods.alignseg.infer import Inference
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.settings import AlignSegSettings


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", default="dinov2_vits14_saliency")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--window", type=int)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()

    device = None if options.device == "auto" else options.device
    vit = FrozenViT(default_config().backbone(options.backbone), options.weights, device, options.precision)
    settings = AlignSegSettings(queries=options.queries)
    mean = torch.zeros(vit.dim, dtype=torch.float64)
    head = Inference(Head(QueryDecoder(vit.dim, settings).eval(), settings, Centring(mean), {})).to(vit.device)
    segmenter = Segmenter(vit, head, own_segments(options.queries), options.size, options.window)
    inputs = find_inputs([options.images], options.images / "out")[: options.count]
    ready = [load_image(one.path) for one in inputs]

    def encoder() -> None:
        for start in range(0, len(ready), segmenter.batch):
            whole_tokens(vit, ready[start : start + segmenter.batch], options.size)
        if vit.device.type == "cuda":
            torch.cuda.synchronize()

    def upsample(name: str, image: Image.Image, segments: GridSegments) -> None:
        segments.labels(image.height, image.width, "bilinear")

    with tempfile.TemporaryDirectory(prefix="bench-segment-") as folder:
        writer = PictureWriter(Path(folder), segmenter.naming)
        seconds = paired(
            [
                encoder,
                lambda: segment_files(inputs, segmenter, upsample),
                lambda: segment_files(inputs, segmenter, writer),
            ],
            options.repetitions,
        )
    rates = [[len(inputs) / value for value in column] for column in seconds]
    print(machine())
    where = f"windows of {options.window}" if options.window else f"{options.size}x{options.size}"
    print(
        f"{options.backbone}, block {vit.block}, {where}, {options.queries} queries, {options.precision}, "
        f"{vit.device.type}, {len(inputs)} pictures, {segmenter.batch} at a time"
    )
    for name, column in zip(
        ("resize and encoder alone", "whole path, not written", "whole path, written"), rates, strict=True
    ):
        print(f"{name:26} images/s {spread(column)}")


if __name__ == "__main__":
    main()
