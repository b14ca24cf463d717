"""`patchbank export onnx --checkpoint C --weights W --out model.onnx`: encoder and head as one model."""

from __future__ import annotations

import argparse

from patchbank.arguments import positive
from patchbank.commands.segment import add_encoder_arguments
from patchbank.outputs import add_overwrite, output_file
from patchbank.paths import expand

HELP = "write encoder and head as one ONNX model, checked against torch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Models, input, output."""
    parser.add_argument(
        "--checkpoint", required=True, type=expand, help="e.g. results/SET/METHOD/seed0/checkpoint.safetensors"
    )
    parser.add_argument("--out", required=True, type=expand, help="the .onnx to write")
    add_overwrite(parser)
    add_encoder_arguments(parser)
    parser.add_argument("--size", type=positive, default=448, help="side of the input in pixels (default 448)")
    parser.add_argument(
        "--input", choices=["uint8", "float32"], default="uint8", help="RGB as uint8, or as float32 in [0, 1]"
    )


def run(options: argparse.Namespace) -> int:
    """Export, and print how far the file's scores are from torch's."""
    from patchbank.inference.onnx_model import export_onnx

    with output_file(options.out, options.overwrite) as target:
        done = export_onnx(options.checkpoint, target, options.size, options.input, options.weights, options.backbone)
    h, w = done.grid
    print(
        f"{options.out}: image (N, 3, {done.size}, {done.size}) {options.input} -> scores (N, Q, {h}, {w}); largest "
        f"difference from torch {done.difference:.1e}"
    )
    return 0
