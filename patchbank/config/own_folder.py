"""A folder of one's own as a set, without editing a file: ``snakemake eval_mine --config folder=DIR``.

Every folder has results of its own. They are called `mine` until these are another folder's, then by the folder's name
(small letters, digits and `_`), or as `name` says. `results/<name>/folder.json` tells whose they are; a folder that is
gone gives its results to the one in which all of its pictures are found.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.config.schema import plain_name
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.pages import located
from patchbank.errors import UserError
from patchbank.files import digest, read_json, write_json

MINE = "mine"
"""Name of the results of the first folder, and of the target of every one: ``eval_mine``."""
BACKBONE = "dinov2_vits14_saliency"
"""Its backbone, unless `backbone` replaces every set's own: its weights need no account and no hub."""
RESERVED = ("ablations", "bank", "benchmarks", "logs", "sheets", "summary", "weights")
"""Names of folders of `results/` that are no sets."""
RESULTS = Path("results")
OWNER = "folder.json"
"""In the results of a folder: which one."""
NAME = re.compile("[a-z0-9][a-z0-9_]*")
"""Names of sets, the same as of the schema's `datasets`."""


def with_own_folder(values: dict[str, Any], results: Path = RESULTS) -> dict[str, Any]:
    """The configuration with the set of `folder`, where that is given; `name` is then the name of its results.

    Args:
        values: a complete configuration.
        results: folder of all results, which tells the names that are taken.

    Raises:
        UserError: `classes` or `name` without `folder`, a name that cannot be had, or no free name.
    """
    if values["folder"] is None:
        only = {"classes": "describe", "tiles": "cuts pictures of", "name": "names the results of"}
        only |= dict.fromkeys(("label_map", "depth"), "belongs to")
        for key, what in only.items():
            if values[key]:
                raise UserError(f"config: {key} {what} `folder`; give --config folder=DIR as well.")
        return values
    folder = Path(values["folder"]).absolute()
    name = results_name(folder, values["name"], values["datasets"], results)
    classes = values["classes"]
    names = [part.strip() for part in classes.split(",") if part.strip()] if isinstance(classes, str) else classes
    entry: dict[str, Any] = {
        "layout": "folder",
        "root": str(folder),
        "backbone": BACKBONE,
        "classes": names,
        "settings": {},
    }
    entry |= {key: values[key] for key in ("label_map", "depth") if values[key] is not None}
    if values["tiles"]:
        entry["tiles"] = values["tiles"]
    return values | {"name": name, "datasets": values["datasets"] | {name: entry}}


def results_name(folder: Path, wanted: str | None, datasets: Mapping[str, Any], results: Path = RESULTS) -> str:
    """Name of a folder's results.

    Args:
        folder: absolute.
        wanted: the name that the user gave, or None.
        datasets: configured sets, whose names are taken.
        results: folder of all results.

    Raises:
        UserError: the wanted name cannot be had, or none is free.
    """
    if wanted is not None:
        _check_wanted(wanted, folder, datasets, results)
        return wanted
    if MINE in datasets:
        raise UserError(
            f"config: datasets has a set {MINE!r}, so the results of folder={folder} need another name; add "
            f"name={_suggestion(folder, datasets, results)}."
        )
    slug = slug_of(folder)
    named = f"own_{slug}" if slug in datasets or slug in RESERVED else slug
    for name in (named, MINE):
        if _is(folder_of(results / name), folder):
            return name
    for name in (MINE, named):
        if _free(results / name, folder):
            return name
    taken = " and ".join(f"{results / name} (of {folder_of(results / name)})" for name in dict.fromkeys((MINE, named)))
    raise UserError(
        f"config: the results of other folders are in {taken}; give those of {folder} a name of their own: --config "
        f"{shlex.quote(f'folder={folder}')} name={_suggestion(folder, datasets, results)}."
    )


def slug_of(folder: Path) -> str:
    """A set's name made from a folder's: ``Meine Bilder (2)`` is ``meine_bilder_2``."""
    return plain_name(folder.name)[:60].strip("_") or f"folder_{digest(os.fsencode(folder).hex())}"


def claim(name: str, folder: str | Path, results: Path = RESULTS) -> None:
    """Write down whose results `results/<name>` are."""
    write_json(results / name / OWNER, {"folder": str(folder)})


def own_results(results: Path = RESULTS) -> dict[str, Path]:
    """Names of the results of all own folders, and the folders."""
    folders = {path.parent.name: folder_of(path.parent) for path in sorted(results.glob(f"*/{OWNER}"))}
    return {name: folder for name, folder in folders.items() if folder is not None}


def folder_of(results: Path) -> Path | None:
    """The folder whose results these are; None where there are none."""
    if not results.is_dir() or all(path.name == OWNER for path in results.iterdir()):
        return None
    if (results / OWNER).is_file():
        return Path(read_json(results / OWNER)["folder"])
    manifest = results / "manifest.json"  # results from before folders were written down
    return Manifest.load(manifest).root if manifest.is_file() else None


def _check_wanted(wanted: str, folder: Path, datasets: Mapping[str, Any], results: Path) -> None:
    if not NAME.fullmatch(wanted):
        raise UserError(
            f"config: name={wanted} cannot name results; write small letters, digits and _, for example "
            f"name={_suggestion(Path(wanted), datasets, results)}."
        )
    if wanted in datasets or wanted in RESERVED:
        taken = "a set of the configuration" if wanted in datasets else "a folder of results/"
        other = _suggestion(folder, datasets, results)
        raise UserError(f"config: name={wanted} is {taken} already; choose another, for example name={other}.")
    if not _free(results / wanted, folder):
        raise UserError(
            f"config: {results / wanted} holds the results of {folder_of(results / wanted)}, not of {folder}; choose "
            f"another name, for example name={_suggestion(folder, datasets, results)}."
        )


def _suggestion(folder: Path, datasets: Mapping[str, Any], results: Path) -> str:
    """A name that is free."""
    slug = slug_of(folder)
    above = f"{slug_of(folder.parent)}_{slug}" if folder.parent.name else slug
    for name in (slug, above, *(f"{slug}_{number}" for number in range(2, 1000))):
        if name not in datasets and name not in RESERVED and _free(results / name, folder):
            return name
    return f"{slug}_{digest(str(folder))}"


def _free(results: Path, folder: Path) -> bool:
    """Whether results of `folder` may lie here: nobody's, its own, or those of a folder that became this one."""
    owner = folder_of(results)
    return owner is None or _is(owner, folder) or _moved(results, owner, folder)


def _is(owner: Path | None, folder: Path) -> bool:
    if owner is None:
        return False
    return owner == folder or (owner.exists() and folder.exists() and owner.samefile(folder))


def _moved(results: Path, owner: Path, folder: Path) -> bool:
    """Whether `owner` is gone and all of its pictures are in `folder`."""
    manifest = results / "manifest.json"
    if owner.exists() or not manifest.is_file():
        return False
    pictures = {entry.image for entries in Manifest.load(manifest).splits.values() for entry in entries}
    return bool(pictures) and all(located(folder / picture)[0].is_file() for picture in pictures)
