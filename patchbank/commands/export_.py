"""`patchbank export METHOD CHECKPOINT --out FILE`: a checkpoint of ours as the published code writes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from patchbank.commands import Command, MethodCommand
from patchbank.methods import contract
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

    def run(self, options: argparse.Namespace) -> int:
        """Export."""
        contract.published(self.method).export_published(Path(options.checkpoint), Path(options.out))
        print(options.out)
        return 0


def each() -> dict[str, Command]:
    """One command for each method that has a published format."""
    return {folder.replace("_", "-"): ExportCommand(folder) for folder in contract.published_folders()}
