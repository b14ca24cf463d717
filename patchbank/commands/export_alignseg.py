"""`patchbank export alignseg CHECKPOINT --out FILE.pth`: a head of ours in the shape of a published checkpoint."""

from __future__ import annotations

import argparse

from patchbank.paths import expand

HELP = "write an AlignSeg checkpoint in the shape of a published .pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The checkpoint and the output."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=expand, help="the .safetensors of a head")
    parser.add_argument(
        "--out", required=True, type=expand, help="the .pth to write (without backbone and optimiser state)"
    )


def run(options: argparse.Namespace) -> int:
    """Export."""
    from patchbank.methods.alignseg.head import export_published

    export_published(options.checkpoint, options.out)
    print(options.out)
    return 0
