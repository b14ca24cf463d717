"""`patchbank segment PATH... --row ROW --out DIR`: segments or classes of pictures (docs/inference.md)."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from patchbank.arguments import positive
from patchbank.commands.extract import add_model, encoder
from patchbank.paths import expand

if TYPE_CHECKING:
    from patchbank.inference.models import Models
    from patchbank.weights.spec import BackboneSpec

HELP = "divide pictures into segments or classes, with a row of results, a checkpoint, or without any training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, models, outputs."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", type=expand, help="picture, or folder of pictures (with its sub-folders)"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--row", type=expand, help="a row of results, e.g. results/mine/kmeans")
    source.add_argument("--checkpoint", type=expand, help="e.g. results/SET/METHOD/seed0/checkpoint.safetensors")
    source.add_argument("--method", metavar="NAME", help="a floor, without a set and any training")
    parser.add_argument("--segments", type=positive, metavar="N", help="of each picture, for --method")
    parser.add_argument("--out", required=True, type=expand, help="folder to write to")
    add_encoder_arguments(parser)
    add_model(parser, parser)
    parser.add_argument("--block", type=int, metavar="B", help="block to read, for --method (default: the backbone's)")
    parser.add_argument(
        "--clusters", type=expand, help="segment clusters of a run; default: clusters.npz beside the checkpoint"
    )
    parser.add_argument("--own-ids", action="store_true", help="ids of each picture's own, even where clusters are")
    parser.add_argument(
        "--size", type=positive, help="side in pixels to which a picture is squashed (default: that of the set, or 448)"
    )
    parser.add_argument(
        "--window", type=positive, metavar="PX", help="slide a window over the picture at its own resolution instead"
    )
    parser.add_argument(
        "--shift",
        type=positive,
        metavar="N",
        help="N times as dense a patch grid a side, at N^2 the time (default: that of the row's predictions, or 1)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="F",
        help="make the picture F times as large before windows",
    )
    parser.add_argument(
        "--upsample",
        choices=["bilinear", "nearest"],
        default="bilinear",
        help="from patches to pixels: of soft assignments (bilinear), or the best segment of each patch (nearest)",
    )
    parser.add_argument("--soft", action="store_true", help="write soft assignments as .npz too")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda, cuda:1...")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: all)")


def add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    """What names the encoder, for every command that runs it."""
    parser.add_argument(
        "--weights",
        type=expand,
        help="the encoder's weights; default: results/weights/<backbone>/weights.safetensors",
    )
    parser.add_argument(
        "--backbone", help="a backbone of config.yaml, for --method or a checkpoint that does not name its own"
    )


def run(options: argparse.Namespace) -> int:
    """Segment; files that are left out are named on stderr, once more at the end, and the exit status is 1 then."""
    from patchbank import threads
    from patchbank.errors import SHOWN, UserError

    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads is {options.threads}, it must be at least 1.")
    threads.limit(options.threads)
    # torch reads the threads when it is imported
    from patchbank.inference.segment import SegmentSettings, segment

    fields = ("size", "window", "shift", "scale", "upsample", "soft", "precision", "device")
    written, problems, naming = segment(
        options.paths,
        models_of(options),
        options.out,
        SegmentSettings(**{name: getattr(options, name) for name in fields}),
        report=lambda problem: print(f"patchbank: left out {problem}", file=sys.stderr),
        note=lambda sentence: print(f"patchbank: {sentence}", file=sys.stderr),
    )
    print(f"pictures written to {options.out}: {written}; ids are {naming.kind} of {naming.source}, see legend.json")
    if problems:
        total = written + len(problems)
        print(f"patchbank: {len(problems)} of {total} pictures were left out, the others are written:", file=sys.stderr)
        print("\n".join(f"  - {problem}" for problem in problems[:SHOWN]), file=sys.stderr)
        if len(problems) > SHOWN:
            print(f"  ... and {len(problems) - SHOWN} more, all of them named above", file=sys.stderr)
    return 1 if problems else 0


def models_of(options: argparse.Namespace) -> Models:
    """What the arguments name.

    Raises:
        UserError: arguments of ``--method`` beside another source or the other way round, or what opening it refuses.
    """
    from patchbank.errors import UserError
    from patchbank.inference.models import ModelFiles, method_models, row_models

    if options.method is not None:
        if options.clusters:
            raise UserError("--clusters belongs to a row or a checkpoint; --method has ids of each picture's own.")
        return method_models(options.method, options.segments, *encoder_of(options))
    only = ("--segments", "--model", "--file", "--block", "--mean", "--std", "--no-norm")
    values = {name: getattr(options, name[2:].replace("-", "_")) for name in only}
    if idle := [name for name, value in values.items() if value is not None and value is not False]:  # 0 is a block
        raise UserError(f"{', '.join(idle)} belong to --method; a row and a checkpoint name these themselves.")
    rest = (options.weights, options.backbone, options.clusters, options.own_ids)
    return row_models(options.row, *rest) if options.row else ModelFiles(options.checkpoint, *rest)


def encoder_of(options: argparse.Namespace) -> tuple[BackboneSpec, str]:
    """The encoder that the arguments name, by default that of a folder of one's own, and the file of its weights.

    Weights that are not there are fetched to where the pipeline puts them.

    Raises:
        UserError: an encoder that is not known, or weights that cannot be had.
    """
    from pathlib import Path

    from patchbank.config.load import default_config
    from patchbank.config.own_folder import BACKBONE
    from patchbank.errors import UserError
    from patchbank.inference.encoder import WEIGHTS
    from patchbank.weights.fetch import fetch_weights

    if options.model and options.backbone:
        raise UserError("--model and --backbone both name an encoder; give one.")
    if options.file and not options.model:
        raise UserError("--file holds the weights of --model TIMM_NAME; those of a --backbone are --weights.")
    default = None if options.model else default_config().values["backbone"] or BACKBONE
    named = {**vars(options), "backbone": options.backbone or default}
    blocks = None if options.block is None else [options.block]
    spec = encoder(argparse.Namespace(**{**named, "block": blocks}))
    weights = Path(options.weights or WEIGHTS.format(name=spec.name))
    if options.file or not (options.weights or weights.is_file()):
        fetch_weights(spec, weights, weights.with_suffix(".json"))
    return spec, str(weights)
