"""What earlier scans found, one small file for each dataset folder: a file that did not change is not decoded again.

A text file; the first line is JSON: format, hash of the code that decodes (and Pillow's version), SHA-256 of the rest.
Every further line is one usable file: kind and name (JSON), its state (`patchbank.datasets.listing.state_of`), and its
`Probe` (JSON), separated by tabs. Files with a problem are not remembered. Anything unexpected
in the file makes it worthless as a whole: it is left out with a note and written anew, never half trusted. Times are
compared for being equal, not for being older, so that a restored older copy is seen too.
"""

from __future__ import annotations

import hashlib
import json
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

import PIL

from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import PLAIN
from patchbank.datasets.pages import located
from patchbank.datasets.probe import Kind, Probe
from patchbank.datasets.raster import is_tile
from patchbank.files import digest, sweep, write_text
from patchbank.fingerprint import code_fingerprint

FORMAT = "patchbank-scan-3"
CODE_OF = "patchbank.datasets.probe"
MANY = 1024
"""Masks with more different values than any label map are not remembered, so that memory stays bounded."""


class Remembered:
    """Probes of earlier scans of the set below `root`.

    Args:
        folder: where such files lie; None = nothing is remembered.
        root: the set's folder.
        treatment: of deep images, which decides what is found in them.

    Attributes:
        note: why an existing file was left out, or "".
    """

    def __init__(self, folder: Path | None, root: Path, treatment: Treatment = PLAIN) -> None:
        self._root, self._treatment = root, treatment
        self._path = None if folder is None else folder / f"{root.resolve().name}-{digest(str(root.resolve()))}.txt"
        self._lines: dict[str, str] = {}
        self._new: set[str] = set()
        self._asked: set[str] = set()
        self._read: tuple[int, int] | None = None
        self.note = ""
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def knows(self, kind: Kind, name: str, state: str) -> bool:
        """Whether the file was found usable in just this state."""
        key = _key(kind, name)
        self._asked.add(key)
        return state != "" and self._lines.get(key, "").partition("\t")[0] == state

    def recall(self, kind: Kind, name: str) -> Probe:
        """The probe of a file that is known."""
        return Probe.from_json(self._lines[_key(kind, name)].partition("\t")[2])

    def keep(self, kind: Kind, name: str, state: str, probe: Probe) -> None:
        """Remember a usable file; `state` was taken before it was read."""
        if self._path is not None and state and not probe.problem and len(probe.values) <= MANY:
            key = _key(kind, name)
            self._lines[key] = f"{state}\t{probe.to_json()}"
            self._new.add(key)

    def save(self) -> None:
        """Write what is new, atomically; what another scan wrote meanwhile stays.

        Files that are gone are forgotten, and so are tiles that nobody asked for: those of another `tiles`.
        """
        if self._path is None or not self._new:
            return
        sweep([self._path])
        if self._path.exists() and _state(self._path) != self._read:
            mine = {key: self._lines[key] for key in self._new}
            self._load(self._path)
            self._lines |= mine
        known = sorted(self._lines.items())
        lines = [f"{key}\t{rest}" for key, rest in known if self._kept(key)]
        body = "".join(line + "\n" for line in lines)
        write_text(self._path, json.dumps(self._header(body)) + "\n" + body)

    def _kept(self, key: str) -> bool:
        path = self._root / _name(key)
        return located(path)[0].exists() and (key in self._asked or not is_tile(path))

    def _load(self, path: Path) -> None:
        try:
            self._read = _state(path)
            first, _, body = path.read_text(encoding="ascii").partition("\n")
            header, expected = json.loads(first), self._header(body)
        except (OSError, ValueError) as error:
            self.note = f"{path} cannot be read ({error}); every file is decoded again"
            return
        if header == expected:
            self._lines = {key: rest for key, _, rest in (line.partition("\t") for line in body.split("\n")[:-1])}
            return
        other = isinstance(header, dict) and {**header, "sha256": ""} != {**expected, "sha256": ""}
        reason = "was written by another version" if other else "is damaged"
        self.note = f"{path} {reason}; every file is decoded again"

    def _header(self, body: str) -> dict[str, Any]:
        code = f"{code_fingerprint(CODE_OF)} pillow {PIL.__version__}"
        treatment = self._treatment.to_json()
        sha256 = hashlib.sha256(body.encode()).hexdigest()
        return {"format": FORMAT, "code": code, "treatment": treatment, "sha256": sha256}


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _key(kind: Kind, name: str) -> str:
    return f'["{kind}", {encode_basestring_ascii(name)}]'  # as JSON, without the overhead of its encoder


def _name(key: str) -> str:
    return str(json.loads(key)[1])
