"""`patchbank segment`, whole path: pictures per second, five paired repetitions.

    python benchmarks/bench_segment.py --images DIR --weights results/weights/NAME/weights.safetensors
        [--count 24] [--queries 5] [--size 448] [--window PX] [--precision float32] [--device auto] [--repetitions 5]

Three rates of the same pictures: resize and frozen encoder alone (whole pictures); the whole path without writing
(decode, resize, encode, head, upsampling to the picture's own size); the whole path with palette PNG and overlay
written. Loading the models is left out of all. The head has random weights: its arithmetic is that of a trained one.

    python benchmarks/bench_segment.py --images DIR --pause MS [--count 24] [--repetitions 5]

The same without an encoder, which is a pause of so many milliseconds a picture, as a GPU's is for the processor:
what the other stages need of the processor, and whether they hide behind it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
from patchbank.inference.segment import segment_files
from patchbank.inference.segmenter import Segmenter
from patchbank.inference.tokens import squashed, whole_tokens
from patchbank.methods.alignseg.head import Head
from patchbank.methods.alignseg.infer import Inference
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.settings import AlignSegSettings


class Pause:
    """An encoder of constant tokens that sleeps.

    Args:
        seconds: for each picture.
    """

    patch, dim, device = 14, 384, torch.device("cpu")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patches down and across."""
        return height // self.patch, width // self.patch

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels as they are."""
        return images

    def __call__(self, inputs: torch.Tensor) -> Any:
        """Zeros, after the pause."""
        h, w = self.grid(*inputs.shape[1:3])
        time.sleep(self._seconds * len(inputs))
        return SimpleNamespace(tokens=torch.zeros((len(inputs), h * w, self.dim)))


class Uniform:
    """A head that gives every picture the same scores, for `Pause`."""

    dim = Pause.dim

    def __init__(self, segments: int) -> None:
        self.segments = segments
        self._scores = torch.randn((segments, 1 << 14), generator=torch.Generator().manual_seed(0))

    def scores(self, tokens: torch.Tensor) -> torch.Tensor:
        """The same scores (B, Q, N) for every picture."""
        return self._scores[:, : tokens.shape[1]].expand(len(tokens), -1, -1)


def encoder_of(options: argparse.Namespace) -> FrozenViT:
    device = None if options.device == "auto" else options.device
    return FrozenViT(default_config().backbone(options.backbone), options.weights, device, options.precision)


def head_for(vit: Any, queries: int) -> Any:
    """A head with random weights."""
    if isinstance(vit, Pause):
        return Uniform(queries)
    settings, mean = AlignSegSettings(queries=queries), torch.zeros(vit.dim, dtype=torch.float64)
    return Inference(Head(QueryDecoder(vit.dim, settings).eval(), settings, Centring(mean), {})).to(vit.device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pause", type=float, metavar="MS", help="in place of the encoder, a pause for each picture")
    parser.add_argument("--backbone", default="dinov2_vits14_saliency")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--window", type=int)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if (options.weights is None) == (options.pause is None):
        parser.error("name --weights, or --pause in place of the encoder")
    return options


def main() -> None:
    as_a_stage(keeps=False)
    options = arguments()
    inputs = find_inputs([options.images], options.images / "out")[: options.count]
    vit: Any = Pause(options.pause / 1000) if options.pause is not None else encoder_of(options)
    segmenter = Segmenter(
        vit, head_for(vit, options.queries), own_segments(options.queries), options.size, options.window
    )
    ready = [load_image(one.path) for one in inputs]

    def encoder() -> None:
        for start in range(0, len(ready), segmenter.batch):
            pictures = ready[start : start + segmenter.batch]
            whole_tokens(vit, [squashed(image, vit.patch, options.size) for image in pictures])
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
        start = time.process_time()
        segment_files(inputs, segmenter, writer)
        busy = (time.process_time() - start) / len(inputs)
    rates = [[len(inputs) / value for value in column] for column in seconds]
    print(machine())
    where = f"windows of {options.window}" if options.window else f"{options.size}x{options.size}"
    print(
        f"{options.backbone}, block {vit.block}, {where}, {options.queries} queries, {options.precision}, "
        f"{vit.device.type}, {len(inputs)} pictures, {segmenter.batch} at a time"
        if isinstance(vit, FrozenViT)
        else f"a pause of {options.pause:g} ms in place of the encoder, {where}, {len(inputs)} pictures"
    )
    for name, column in zip(
        ("resize and encoder alone", "whole path, not written", "whole path, written"), rates, strict=True
    ):
        print(f"{name:26} images/s {spread(column)}")
    print(f"whole path, written: {busy * 1000:.1f} ms of the processor a picture")


if __name__ == "__main__":
    main()
