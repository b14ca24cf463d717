"""Whether a set whose files have new times, numbers or owners still is the one that its manifest describes.

A copy of a folder, a `touch` or a `chmod` changes what `patchbank.datasets.listing.state_of` says of every file and not
one byte of them. Snakemake runs all that follows a job again, whatever the job wrote, so that a manifest which is made
once more costs every training: whether it would be the same is asked before.
"""

from __future__ import annotations

from pathlib import Path

from patchbank.datasets.listing import relative
from patchbank.datasets.manifest import Manifest, find
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import DatasetSpec
from patchbank.errors import UserError

WORKERS = 4
"""Processes that decode: runs are often planned where others work, too."""


def still_describes(path: Path, spec: DatasetSpec, memory: Path) -> bool:
    """Whether a scan of `spec` would write the manifest at `path` again.

    Reads files only where the set names the same pictures, and of them those whose state is not the remembered one.

    Args:
        path: a `manifest.json`; one that is missing or cannot be read describes nothing.
        spec: the set.
        memory: folder of what scans remember; the files that were read are remembered in their new state.
    """
    try:
        manifest = Manifest.load(path)
        return _pictures(manifest) == _named(spec) and manifest == scan(spec, WORKERS, memory=memory)
    except (UserError, OSError, KeyError, TypeError):  # the stage that makes the manifest says what is wrong
        return False


def _pictures(manifest: Manifest) -> dict[str, set[str]]:
    return {split: {entry.image for entry in entries} for split, entries in manifest.splits.items()}


def _named(spec: DatasetSpec) -> dict[str, set[str]]:
    return {split: {relative(spec.root, image) for image, *_ in items} for split, items in find(spec).items()}
