"""`patchbank import alignseg FILE.pth --heads 3 --out head.safetensors`: a published checkpoint as one of ours."""

from __future__ import annotations

import argparse

from patchbank.paths import expand

HELP = "make a checkpoint of a published AlignSeg .pth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, what its shapes do not tell, the output."""
    parser.add_argument("file", metavar="FILE.pth", type=expand, help="the published checkpoint")
    parser.add_argument("--heads", type=int, required=True, help="attention heads: 3 for VOC and COCO, 4 for MOVi")
    parser.add_argument(
        "--out", required=True, type=expand, help="the .safetensors to write; its record is written beside it"
    )


def run(options: argparse.Namespace) -> int:
    """Import."""
    from patchbank.methods.alignseg.head import import_published

    import_published(options.file, options.out, options.heads)
    print(f"{options.out}; give its encoder with --backbone and --weights where it is used")
    return 0
