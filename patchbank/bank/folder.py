"""Banks of a folder of pictures, without a workflow: manifest, weights, extraction and joining, one after the other.

Outputs in one folder: `manifest.json`, `weights/`, `bank/`, and a pointer ``<split>-b<block>.json`` for every bank,
which `patchbank.open_bank` takes. Pictures without folders of splits make one split.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.format import read_record
from patchbank.bank.settings import CodingSettings
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.weights.fetch import fetch_weights
from patchbank.weights.spec import BackboneSpec

LAYOUT = "folder"


def bank_of_folder(
    pictures: Path,
    out: Path,
    spec: BackboneSpec,
    settings: ExtractSettings,
    weights: Path | None = None,
    threads: int | None = None,
    pca: int = 0,
) -> dict[str, str]:
    """Extract every split of a folder at the backbone's block and all of its further blocks, in one pass of each.

    Args:
        pictures: a tree of layout `folder`; masks are not read.
        out: folder of the outputs.
        spec: the encoder.
        settings: recipe, precision, storage.
        weights: folder with `weights.safetensors` and `weights.json`; None fetches them into `out`.
        threads: CPU threads.
        pca: directions that are kept of all channels; 0 keeps the channels.

    Returns:
        Pointer of each bank -> the bank's folder.

    Raises:
        UserError: no pictures, weights that cannot be had, or what extraction refuses.
    """
    if out.resolve().is_relative_to(pictures.resolve()):
        raise UserError(f"--out {out} lies inside {pictures}, whose pictures are read; name a folder elsewhere.")
    manifest = out / "manifest.json"
    found = scan(make_spec(LAYOUT, LAYOUT, pictures.absolute()))
    write = out / "weights" if weights is None else weights
    files = (write / "weights.safetensors", write / "weights.json")
    if weights is None:
        fetch_weights(spec, *files)
    found.save(manifest)
    if settings.dtype == "int8" or pca:
        splits = _splits(found)
        trained = "train" if "train" in splits else splits[0]
        whole = {key: value for key, value in settings.recipe_settings.items() if key != "shift"}
        settings = replace(settings, coding=CodingSettings(trained, whole, pca))
    banks = {}
    for split in _splits(found):
        for read in (reads := (spec.read, *spec.blocks)):
            # the first job computes all banks, the others find theirs
            one = spec.at(read, reads)
            part = out / "parts" / f"{split}-b{read[0]}.json"
            extract(ExtractJob(manifest, split, one, *files, settings, out / "bank", part, threads=threads))
            pointer = out / f"{split}-b{read_json(part)['record']['backbone']['block']}.json"
            finish([part], manifest, pointer)
            banks[str(pointer)] = str(read_record(pointer)[0])
    return banks


def _splits(manifest: Manifest) -> list[str]:
    """Splits with pictures, of those that hold the same ones only the first."""
    kept: dict[tuple[str, ...], str] = {}
    for split in manifest.splits:
        ids = tuple(entry.id for entry in manifest.entries(split))
        if ids:
            kept.setdefault(ids, split)
    return list(kept.values())
