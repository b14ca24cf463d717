"""Where the workflow, the shipped configuration and its schema lie, whether the package is installed or in a checkout.

A checkout has them beside the package. A wheel has none of the repository's folders, so `setup.py` copies what `PARTS`
names to `patchbank/project` when it is built; an editable install is a checkout. `patchbank init DIR` lays the same
parts out again. This module imports nothing of the package when it is loaded, because `setup.py` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
PARTS = ("Snakefile", "config.yaml", "workflow", "scripts", "envs", "profiles")
"""What a folder needs so that `snakemake` runs in it, beside the package."""
COPY = "project"
"""Folder inside an installed package with a copy of `PARTS`."""
_SCHEMA = Path("workflow", "schemas", "config.schema.yaml")

PROJECT = PACKAGE / COPY if (PACKAGE / COPY).is_dir() else PACKAGE.parent
"""Folder that holds `PARTS`."""
SCHEMA = PROJECT / _SCHEMA


def project_files(project: Path) -> Iterator[Path]:
    """Files of `PARTS` below a project's folder, relative to it, sorted; what Python cached is left out."""
    for part in PARTS:
        paths = [project / part] if (project / part).is_file() else sorted((project / part).rglob("*"))
        yield from (path.relative_to(project) for path in paths if path.is_file() and "__pycache__" not in path.parts)


def read_shipped(path: Path) -> str:
    """Text of a file below `PROJECT`.

    Raises:
        UserError: it is not there, because the package was copied instead of installed.
    """
    from patchbank.errors import UserError

    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): the package at {PACKAGE} is a copy without the files that "
            "belong to it; install it with pip, or run it from a checkout."
        ) from None


def config_file(beside: str | Path = PROJECT) -> Path:
    """The working folder's ``config.yaml``, else the one that lies in `beside`."""
    name = Path("config.yaml")
    return name if name.is_file() else Path(beside, name)


def schema_for_reading() -> str:
    """The schema's path as a user can open it: short in a checkout or a folder of `patchbank init`."""
    return str(_SCHEMA if _SCHEMA.is_file() else SCHEMA)


def how_to_make(target: str | Path) -> str:
    """The way to a file of the pipeline, without a full stop: a command, and where it can be given."""
    where = "" if Path("Snakefile").is_file() else " in a workflow folder, which `patchbank init DIR` lays out,"
    return f"`snakemake {target}`{where} makes it"
