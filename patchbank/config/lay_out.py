"""A new workflow folder, laid out from the package: what `patchbank init` does for those who do not clone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from patchbank.config.folders import PACKAGE, PROJECT, project_files
from patchbank.errors import UserError


def lay_out(folder: Path) -> None:
    """Copy Snakefile, configuration, rules, scripts, environments and profiles into `folder`, with empty ``results/``.

    Everything is copied beside its place first and then moved there, so that a failed copy leaves nothing behind.

    Args:
        folder: one that does not exist yet, or an empty one.

    Raises:
        UserError: the folder holds something, is a file or cannot be written.
    """
    exists = folder.is_dir()
    if exists and (held := sorted(path.name for path in folder.iterdir())):
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise UserError(f"{folder} is not empty (it holds {held[0]}{more}); name one that is empty or not there yet.")
    files = list(project_files(PROJECT))
    if not files:
        raise UserError(f"{PROJECT} holds no workflow: the package at {PACKAGE} was copied; install it with pip.")
    try:
        if not exists:
            folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".patchbank-", dir=folder if exists else folder.parent) as temporary:
            made = Path(temporary, "made")
            for file in files:
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(PROJECT / file, made / file)  # without the mode: an installed package may be read-only
            (made / "results").mkdir()
            for source in [*made.iterdir()] if exists else [made]:
                source.rename(folder / source.name if exists else folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); name another folder.") from None
