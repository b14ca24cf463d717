"""`patchbank import METHOD FILE --out CHECKPOINT`: a checkpoint of published code as one of ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from patchbank.commands import Command, MethodCommand
from patchbank.errors import UserError
from patchbank.methods import contract
from patchbank.outputs import add_overwrite, output_file
from patchbank.paths import expand_path


class ImportCommand(MethodCommand):
    """The command of one method."""

    what = "make a checkpoint of a file of the published code of {}"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The file, what it does not tell, the output."""
        parser.add_argument("file", metavar="FILE", type=expand_path, help="the published checkpoint, e.g. a .pth")
        for option in contract.published(self.method).OPTIONS:
            default = "" if option.default is None else f" (default {option.default})"
            required = option.default is None
            flag, text = f"--{option.name}", option.help + default
            parser.add_argument(flag, type=int, metavar="N", required=required, default=option.default, help=text)
        parser.add_argument(
            "--out", required=True, type=expand_path, help="the .safetensors to write; its record is written beside it"
        )
        add_overwrite(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Import."""
        module = contract.published(self.method)
        given = {option.name: int(getattr(options, option.name)) for option in module.OPTIONS}
        if Path(options.out).suffix != ".safetensors":
            raise UserError(f"--out {options.out}: a checkpoint of ours ends in .safetensors; name one that does.")
        with output_file(options.out, options.overwrite) as target:
            module.import_published(Path(options.file), target, given)
        print(f"{options.out}; give its encoder with --backbone and --weights where it is used")
        return 0


def each() -> dict[str, Command]:
    """One command for each method that has a published format."""
    return {name: ImportCommand(folder) for name, folder in contract.published_folders().items()}
