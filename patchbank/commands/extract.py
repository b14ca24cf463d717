"""`patchbank extract DIR --out BANK`: a bank of a folder of pictures, by the function that the workflow calls."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.arguments import positive
from patchbank.outputs import add_overwrite, claim_folder
from patchbank.paths import expand

if TYPE_CHECKING:
    from patchbank.weights.spec import BackboneSpec

HELP = "make a bank of a folder of pictures, without a workflow"
KEPT = "results/weights/{name}"
"""Where the workflow keeps weights."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Pictures, encoder, outputs."""
    parser.add_argument("folder", metavar="DIR", type=expand, help="pictures, or images/ (with folders of splits)")
    parser.add_argument("--out", required=True, type=expand, metavar="BANK", help="folder to write to")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--backbone", help="a backbone of the configuration (`patchbank backbones` lists them)")
    add_model(parser, which)
    parser.add_argument("--size", type=positive, default=448, metavar="N", help="side in pixels (default 448)")
    parser.add_argument(
        "--shift",
        type=positive,
        default=1,
        metavar="N",
        help="N times as dense a grid, at N^2 the time, block by block",
    )
    parser.add_argument(
        "--block", type=int, nargs="+", metavar="B", help="blocks to read in one pass, from 0 (default: the backbone's)"
    )
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--dtype", choices=["float16", "float32", "int8"], default="float16", help="of stored values")
    parser.add_argument(
        "--pca", type=positive, default=0, metavar="K", help="store K directions instead of all channels"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads (default: all)")
    add_overwrite(parser)


def add_model(parser: argparse.ArgumentParser, which: argparse._ActionsContainer) -> None:
    """A model of timm's in place of a backbone; `which` holds its name, beside ``--backbone`` where one excludes it."""
    which.add_argument("--model", metavar="TIMM_NAME", help="a model of timm's; its weights are --file")
    parser.add_argument("--file", type=expand, metavar="WEIGHTS", help=".safetensors or .pth of --model")
    parser.add_argument("--mean", type=float, nargs=3, metavar=("R", "G", "B"), help="of --model, where timm has none")
    parser.add_argument("--std", type=float, nargs=3, metavar=("R", "G", "B"), help="of --model, where timm has none")
    parser.add_argument("--no-norm", action="store_true", help="leave the final norm out")


def run(options: argparse.Namespace) -> int:
    """Extract, and print where each bank is."""
    from patchbank import memory, threads
    from patchbank.errors import UserError

    pictures, out = Path(options.folder), Path(options.out)
    if not pictures.is_dir():
        raise UserError(f"{pictures} is not a folder of pictures.")
    count = threads.limit(options.threads)
    memory.keep()
    # torch reads the threads when it is imported
    from patchbank.bank.extract import ExtractSettings
    from patchbank.bank.folder import bank_of_folder
    from patchbank.plain import to_plain
    from patchbank.views.bounds import stored_as

    spec = encoder(options)
    kept = kept_weights(spec) if options.backbone else None
    told = {"folder": str(pictures.absolute()), "backbone": to_plain(spec), "size": options.size}
    if options.shift > 1:
        told["shift"] = options.shift
    if options.pca:
        told["pca"] = options.pca
    run_of = {**told, "precision": options.precision, "dtype": options.dtype}
    claim_folder(out, "extract.json", run_of, ("manifest.json", "bank", "weights"), options.overwrite)
    recipe = stored_as("whole", {"size": options.size, "shift": options.shift})
    settings = ExtractSettings(*recipe, options.precision, options.dtype)
    for pointer, folder in bank_of_folder(pictures, out, spec, settings, kept, count, options.pca).items():
        print(f"{pointer}: {folder}")
    return 0


def kept_weights(spec: BackboneSpec) -> Path | None:
    """Folder of the weights that the workflow has fetched for this entry; None where they are of another one."""
    from patchbank.files import read_json, sha256_file

    folder = Path(KEPT.format(name=spec.name))
    weights, provenance = folder / "weights.safetensors", folder / "weights.json"
    if not weights.is_file() or not provenance.is_file():
        return None
    record, files = read_json(provenance), [source for source in spec.sources if source["kind"] == "file"]
    entry = record.get("entry")
    if record["model"] != spec.model or entry not in (files or spec.sources):
        return None
    if files and not (Path(entry["path"]).is_file() and sha256_file(entry["path"]) == record["source_sha256"]):
        return None
    return folder


def encoder(options: argparse.Namespace) -> BackboneSpec:
    """The encoder that the arguments name, with the blocks that they ask for.

    Raises:
        UserError: a backbone that is not configured, a model without weights, a block that does not exist.
    """
    from patchbank.config.encoders import backbone_spec, with_normalisation
    from patchbank.config.load import default_config
    from patchbank.errors import UserError

    if options.backbone:
        config = default_config()
        if options.backbone not in config.values["backbones"]:
            listed = ", ".join(config.values["backbones"])
            raise UserError(f"--backbone {options.backbone} is not one of the configuration's ({listed}).")
        if options.file or options.mean or options.std:
            raise UserError("--file, --mean and --std belong to --model; those of a --backbone stand in config.yaml.")
        entry: dict[str, Any] = dict(config.values["backbones"][options.backbone])
        entry["sources"] = list(config.backbone(options.backbone).sources)
        entry.pop("file", None)
        name = options.backbone
    else:
        if not options.file:
            raise UserError(f"--model {options.model} needs the weights: --file WEIGHTS.")
        name = str(options.model).replace("/", "_")
        source = {"kind": "file", "path": str(options.file)}
        entry = {"model": options.model, "sources": [source], "block": -1, "mean": options.mean, "std": options.std}
        entry = with_normalisation({"backbones": {name: entry}})["backbones"][name]
    if options.no_norm:
        entry["norm"] = False
    if options.block:
        *others, entry["block"] = options.block
        entry["blocks"] = others
    return backbone_spec(name, entry)
