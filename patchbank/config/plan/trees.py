"""What the manifests are made from, found out once a run: that takes a `stat` a file of the set.

Snakemake evaluates the params of every rule again in each job that it starts on another host. A hundred such jobs would
make millions of requests to a network file system, for a value that only the job of the manifest records. The process
that plans the run therefore leaves what it found in `.snakemake/`, and jobs read it there.

Files whose times, numbers or owners changed and no byte of them have the value that the manifest was made for, which
stands in `check.json`: else it would be made again, and all that follows it, trainings included
(`patchbank.datasets.unchanged`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from patchbank.config.plan.paths import manifest
from patchbank.datasets.listing import state_of
from patchbank.datasets.manifest import tree_fingerprint
from patchbank.datasets.spec import DatasetSpec
from patchbank.datasets.unchanged import still_describes
from patchbank.files import digest, write_json
from patchbank.paths import SCANS
from patchbank.plain import to_plain


class TreesOfARun:
    """Fingerprints of the files of sets (`patchbank.datasets.manifest.tree_fingerprint`).

    Args:
        planning: whether this process plans the run; a job takes what that one found, where it left anything.
        folder: where it is left; None for nowhere.
    """

    def __init__(self, planning: bool = True, folder: Path | None = None) -> None:
        self._planning, self._folder = planning, folder
        self._known: dict[str, str] = {}

    def of(self, spec: DatasetSpec) -> str:
        """The fingerprint of a set; `UserError` with the expected tree where the set is not there."""
        if spec.name not in self._known:
            self._known[spec.name] = self._find(spec)
        return self._known[spec.name]

    def _find(self, spec: DatasetSpec) -> str:
        if self._folder is None:
            return tree_fingerprint(spec)
        left, of = self._folder / f"{spec.name}.tree.json", digest(to_plain(spec), 16)
        kept = _read(left)
        if not self._planning and kept.get("spec") == of and "tree" in kept:
            return str(kept["tree"])
        seen = tree_fingerprint(spec)
        if not self._planning:
            return seen
        now = {"spec": of, "seen": seen, "manifest": state_of(Path(manifest(spec.name)))}
        if {key: kept.get(key) for key in now} != now or "tree" not in kept:
            kept = {**now, "tree": _value(spec, seen, kept.get("spec") == of)}
            write_json(left, kept)
        return kept["tree"]


def _value(spec: DatasetSpec, seen: str, again: bool) -> str:
    """What stands for files that look like `seen`: what the manifest was made for, where it still describes them.

    Args:
        spec: the set.
        seen: fingerprint of the files.
        again: whether the set was looked at before, so that something changed since.
    """
    path = Path(manifest(spec.name))
    made = _read(path.with_name("check.json")).get("tree")
    if made is None:
        return seen
    if again and made != seen:
        print(f"{spec.name}: files look changed; whether a byte of them has is found out.", file=sys.stderr)
    if still_describes(path, spec, SCANS):
        return made
    return seen if seen != made else digest([seen, "changed"], 16)  # it was made while they changed


def _read(path: Path) -> dict[str, str]:
    """A file of plain values; nothing where it cannot be read, because then it is found out again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
