"""Where a report comes from: package version, commit, library versions and machine; never a time.

The same code on the same machine gives the same record, so that two reports of equal inputs are equal bytes.
"""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import patchbank

PACKAGE = Path(patchbank.__file__).parent
FAISS = ("faiss-gpu", "faiss-cpu", "faiss")
"""Names under which faiss is distributed."""


def machine(threads: int) -> dict[str, Any]:
    """Processor, threads and versions of Python and the libraries whose versions shape the numbers.

    Args:
        threads: CPU threads that the stages used.

    Returns:
        Plain values; None for a library that is not installed.
    """
    return {
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "timm": _version("timm"),
        "numpy": _version("numpy"),
        "faiss": next((version for version in map(_version, FAISS) if version), None),
        "pydensecrf2": _version("pydensecrf2"),
    }


def processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor: the kernel's where it tells one, else the platform's."""
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def git_state(folder: Path = PACKAGE) -> dict[str, Any]:
    """Commit that holds the files of `folder`, and whether they differ from it.

    Returns:
        ``{"commit": 40 hex digits, "changed": bool}``; both None where the folder is no part of a commit: an
        installed wheel (even inside somebody else's repository), or no git.
    """
    nothing: dict[str, Any] = {"commit": None, "changed": None}
    if not _git(folder, "ls-files", "--error-unmatch", "__init__.py"):
        return nothing
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return nothing
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return {"commit": commit, "changed": bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
