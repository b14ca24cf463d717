"""`patchbank segment PATH... --checkpoint C --out DIR`: segments or classes of pictures (docs/inference.md)."""

from __future__ import annotations

import argparse
import sys

from patchbank.arguments import positive
from patchbank.paths import expand

HELP = "divide pictures into segments or classes with a trained checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, models, outputs."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", type=expand, help="picture, or folder of pictures (with its sub-folders)"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--row", type=expand, help="a row of results, e.g. results/mine/kmeans")
    source.add_argument("--checkpoint", type=expand, help="e.g. results/SET/METHOD/seed0/checkpoint.safetensors")
    parser.add_argument("--out", required=True, type=expand, help="folder to write to")
    add_encoder_arguments(parser)
    parser.add_argument(
        "--clusters", type=expand, help="segment clusters of a run; default: clusters.npz beside the checkpoint"
    )
    parser.add_argument("--own-ids", action="store_true", help="ids of each picture's own, even where clusters are")
    parser.add_argument("--size", type=positive, help="side in pixels to which a picture is squashed (default 448)")
    parser.add_argument(
        "--window", type=positive, metavar="PX", help="slide a window over the picture at its own resolution instead"
    )
    parser.add_argument(
        "--shift", type=positive, default=1, metavar="N", help="N times as dense a patch grid a side, at N^2 the time"
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
    parser.add_argument("--backbone", help="a backbone of config.yaml, for a checkpoint that does not name its own")


def run(options: argparse.Namespace) -> int:
    """Segment; files that are left out are named on stderr, once more at the end, and the exit status is 1 then."""
    from patchbank import threads
    from patchbank.errors import SHOWN, UserError

    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads is {options.threads}, it must be at least 1.")
    threads.limit(options.threads)
    # torch reads the threads when it is imported
    from patchbank.inference.inputs import row_checkpoint
    from patchbank.inference.segment import ModelFiles, SegmentSettings, segment

    checkpoint = options.checkpoint or row_checkpoint(options.row)
    fields = ("size", "window", "shift", "upsample", "soft", "precision", "device")
    written, problems, naming = segment(
        options.paths,
        ModelFiles(checkpoint, options.weights, options.backbone, options.clusters, options.own_ids),
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
