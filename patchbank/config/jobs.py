"""What the jobs of Snakemake are started with: this interpreter, and this package."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from patchbank.config.folders import PACKAGE


def start_jobs_alike() -> None:
    """Let every job run with the interpreter and the package of this process, wherever they lie.

    Snakemake 9 puts `sys.executable` unquoted into the shell line of a script, so that a blank in an environment's path
    ends every job; nothing else in its process reads it. It finds the package of a checkout beside the Snakefile, but a
    script would get the installed one, or none.
    """
    if Path(sys.executable).exists():  # quoted already where a process reads two Snakefiles
        sys.executable = shlex.quote(sys.executable)
    checkout = str(PACKAGE.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if (PACKAGE.parent / "Snakefile").is_file() and checkout not in paths and os.pathsep not in checkout:
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in (checkout, *paths) if path)
