"""What the jobs of Snakemake are started with: this interpreter, and this package."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from patchbank.config.folders import PACKAGE
from patchbank.errors import UserError


def start_jobs_alike(workflow: str) -> None:
    """Let every job run with the interpreter and the package of this process, wherever they lie.

    Snakemake 9 puts `sys.executable` unquoted into the shell line of a script, so that a blank in an environment's path
    ends every job; nothing else in its process reads it. It finds the package of a checkout beside the Snakefile, but a
    script would get the installed one, or none.

    Args:
        workflow: folder of the Snakefile.

    Raises:
        UserError: Snakemake cannot work there, or in the working folder.
    """
    for folder in (workflow, str(Path.cwd())):
        if "{" in folder or "}" in folder:
            raise UserError(f"{folder}: Snakemake takes braces in its folders' names for wildcards; rename the folder.")
    if Path(sys.executable).exists():  # quoted already where a process reads two Snakefiles
        sys.executable = shlex.quote(sys.executable)
    checkout = str(PACKAGE.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if (PACKAGE.parent / "Snakefile").is_file() and checkout not in paths and os.pathsep not in checkout:
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (checkout, *paths) if path)
