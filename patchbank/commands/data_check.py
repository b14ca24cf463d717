"""`patchbank data check DATASET`: decode every file of a set, name all bad ones, show counts, classes and a sheet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.arguments import positive
from patchbank.outputs import add_overwrite, check_output
from patchbank.paths import SCANS, expand_path

if TYPE_CHECKING:
    from patchbank.datasets import DatasetSpec

HELP = "decode every image and mask of a set, name all bad files, count classes, draw a sheet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, and where it lies."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("dataset", metavar="DATASET", nargs="?", help="name of a set in config.yaml")
    which.add_argument(
        "--folder", type=expand_path, metavar="DIR", help="a set of your own: images/ and, with classes, masks/"
    )
    parser.add_argument("--classes", metavar="A,B,...", help="class names of --folder; without them it has no labels")
    parser.add_argument(
        "--label-map", metavar="MAP", help="of --folder: e.g. '{1: sky, 2: road, 0: 255}' (255: ignored)"
    )
    parser.add_argument(
        "--tiles", type=positive, metavar="N", help="cut TIFFs of --folder into tiles of about N pixels a side"
    )
    parser.add_argument(
        "--config",
        type=expand_path,
        metavar="FILE",
        help="configuration (default: config.yaml here, else the shipped one)",
    )
    parser.add_argument("--data-root", type=expand_path, metavar="DIR", help="replaces data_root of the configuration")
    parser.add_argument("--quick", action="store_true", help="read headers only: no class histogram, no sheet")
    parser.add_argument("--workers", type=positive, metavar="N", help="processes that decode (default: all CPUs)")
    parser.add_argument(
        "--memory", type=expand_path, metavar="DIR", default=SCANS, help=f"kept results (default: {SCANS})"
    )
    parser.add_argument(
        "--sheet",
        type=expand_path,
        metavar="PNG",
        help="where the sheet goes (default: results/<set>/sheet.png, or results/sheets/)",
    )
    add_overwrite(parser)


def run(options: argparse.Namespace) -> int:
    """Print what is worth a sentence, then tables; every problem where there are any."""
    from patchbank.datasets.scan import examine
    from patchbank.drawing.mark import source_of
    from patchbank.errors import UserError
    from patchbank.files import digest
    from patchbank.report.sheet import draw_sheet

    spec = dataset_spec(options)
    source = f"{spec.name} {digest(str(spec.root.resolve()))}"
    if options.sheet is not None:
        check_output(options.sheet, lambda path: source_of(path) == source, options.overwrite, "--sheet")
    try:
        scanned = examine(spec, options.workers, _note, options.memory, options.quick)
    except UserError as error:
        if not error.details:
            raise
        for detail in error.details:
            print(f"  - {detail}", file=sys.stderr)
        raise UserError(f"{str(error).splitlines()[0]} {str(error).splitlines()[-1]}") from None
    for note in scanned.notes:
        print(f"- {note}")
    print(scanned.summary.table())
    if scanned.manifest is not None:
        sheet = options.sheet or _sheet(spec, options.folder)
        draw_sheet(scanned.manifest, sheet, source=source)
        print(f"\nsheet: {sheet}")
    return 0


def dataset_spec(options: argparse.Namespace) -> DatasetSpec:
    """The set that the command line names; `UserError` lists the configured ones when there is none of that name."""
    from patchbank.config.config import shipped_schema
    from patchbank.config.folders import config_file
    from patchbank.config.load import checked
    from patchbank.config.own_folder import slug_of
    from patchbank.config.typed import read_values
    from patchbank.datasets import make_spec
    from patchbank.errors import UserError

    if options.folder is not None:
        classes = [name.strip() for name in (options.classes or "").split(",") if name.strip()]
        name, label_map = slug_of(options.folder.resolve()), _label_map(options.label_map)
        tiles = options.tiles or 0
        return make_spec(name, "folder", options.folder, classes=classes, label_map=label_map, tiles=tiles)
    if not (options.classes is options.label_map is options.tiles is None):
        raise UserError(
            "--classes, --label-map and --tiles go with --folder; those of a configured set stand in the configuration."
        )
    path = options.config or config_file()
    schema = shipped_schema()
    values = read_values(path, schema)
    if options.data_root is not None:
        values = {**values, "data_root": str(options.data_root)}
    config = checked(values, schema)
    if options.dataset not in config.datasets:
        known = ", ".join(config.datasets)
        raise UserError(f"{path} has no set {options.dataset!r}; it has {known}. A folder of your own is --folder DIR.")
    return config.spec(options.dataset)


def _label_map(text: str | None) -> dict[str | int, str | int] | None:
    """The map of `--label-map`; None where there is none."""
    import yaml

    from patchbank.errors import UserError

    try:
        label_map = None if text is None else yaml.safe_load(text)
    except yaml.YAMLError:
        label_map = text
    if text is not None and not isinstance(label_map, dict):
        raise UserError(f"--label-map {text!r} is no map; write one as '{{1: sky, 2: road, 0: 255}}', in quotes.")
    return label_map


def _sheet(spec: DatasetSpec, folder: Path | None) -> Path:
    """Where the sheet goes: for a folder to a name that no set's results and no other folder's sheet have."""
    from patchbank.files import digest

    if folder is None:
        return Path("results", spec.name, "sheet.png")
    return Path("results", "sheets", f"{spec.name}-{digest(str(folder.resolve()))}.png")


def _note(text: str) -> None:
    print(text, file=sys.stderr)
