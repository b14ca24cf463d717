"""`patchbank export METHOD CHECKPOINT --out FILE`: a checkpoint of ours as the published code writes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from patchbank.commands import Command, MethodCommand
from patchbank.methods import contract
from patchbank.outputs import add_overwrite, output_file
from patchbank.paths import expand_path


class ExportCommand(MethodCommand):
    """The command of one method."""

    what = "write a checkpoint as the published code of {} does"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The checkpoint and the output."""
        parser.add_argument("checkpoint", metavar="CHECKPOINT", type=expand_path, help="the .safetensors of a training")
        parser.add_argument(
            "--out", required=True, type=expand_path, help="the file to write (without backbone and optimiser state)"
        )
        add_overwrite(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Export."""
        with output_file(options.out, options.overwrite) as target:
            contract.published(self.method).export_published(Path(options.checkpoint), target)
        print(options.out)
        return 0


def each() -> dict[str, Command]:
    """One command for each method that has a published format."""
    return {name: ExportCommand(folder) for name, folder in contract.published_folders().items()}
