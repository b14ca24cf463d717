"""`patchbank pca PATH... --out DIR`: patch features as colours, one basis for all pictures (docs/inference.md)."""

from __future__ import annotations

import argparse
import sys

from patchbank.arguments import positive
from patchbank.commands.extract import add_model
from patchbank.commands.segment import add_encoder_arguments, encoder_of
from patchbank.outputs import add_overwrite
from patchbank.paths import expand

HELP = "draw what the encoder sees: the three main directions of patch features as red, green and blue"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, encoder, basis, output."""
    parser.add_argument("paths", metavar="PATH", nargs="+", type=expand, help="picture, or folder of pictures")
    parser.add_argument("--out", required=True, type=expand, help="folder to write to")
    parser.add_argument("--basis", type=expand, metavar="FILE", help="basis.npz of another run, for the same colours")
    add_encoder_arguments(parser)
    add_model(parser, parser)
    parser.add_argument("--block", type=int, metavar="B", help="block to read (default: the backbone's)")
    parser.add_argument("--size", type=positive, help="side in pixels to which a picture is squashed (default 448)")
    parser.add_argument(
        "--window", type=positive, metavar="PX", help="slide a window over the picture at its own resolution instead"
    )
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1...")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: all)")
    add_overwrite(parser)


def run(options: argparse.Namespace) -> int:
    """Draw; the exit status is 1 where a picture was left out."""
    from patchbank import threads

    threads.limit(options.threads)
    # torch reads the threads when it is imported
    from patchbank.backbones.vit import FrozenViT
    from patchbank.devices import torch_device
    from patchbank.files import sha256_file
    from patchbank.inference.pca import BASIS, pca_pictures
    from patchbank.inference.segment import SegmentSettings

    settings = SegmentSettings(**{name: getattr(options, name) for name in ("size", "window", "precision", "device")})
    spec, weights = encoder_of(options)
    vit = FrozenViT(spec, weights, torch_device(settings.device), settings.precision)
    written, problems, source = pca_pictures(
        options.paths,
        vit,
        sha256_file(weights),
        options.out,
        settings,
        options.basis,
        options.overwrite,
        lambda sentence: print(f"patchbank: left out {sentence}", file=sys.stderr),
    )
    print(f"pictures written to {options.out}: {written}; basis of {source}, kept in {options.out}/{BASIS}")
    return 1 if problems else 0
