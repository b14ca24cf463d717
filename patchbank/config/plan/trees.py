"""What the manifests are made from, found out once a run: that takes a `stat` a file of the set.

Snakemake evaluates the params of every rule again in each job that it starts on another host. A hundred such jobs would
make millions of requests to a network file system, for a value that only the job of the manifest records. The process
that plans the run therefore leaves what it found in `.snakemake/`, and jobs read it there.
"""

from __future__ import annotations

import json
from pathlib import Path

from patchbank.datasets.manifest import tree_fingerprint
from patchbank.datasets.spec import DatasetSpec
from patchbank.files import digest, write_json
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
        now = {"spec": of, "tree": tree_fingerprint(spec)}
        if self._planning and kept != now:
            write_json(left, now)
        return now["tree"]


def _read(path: Path) -> dict[str, str]:
    """What was left; nothing where it cannot be read, because then it is found out again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
