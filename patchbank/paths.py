"""Paths as users write them: ``~`` and ``$NAME`` stand for what a shell puts there.

Values of a configuration and of ``--option=~/x`` reach the program unexpanded. A relative path stays relative: to the
folder in which the program runs, everywhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from patchbank.errors import UserError

SCANS = Path("results", ".scan")
"""Where scans of the workflow and of `patchbank data check` remember what they found, below the folder of the run."""
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", flags=re.ASCII)


def expand(text: str) -> str:
    """`text` with a leading ``~`` or ``~user``, ``$NAME`` and ``${NAME}`` replaced; nothing else is changed.

    A file or folder whose very name holds ``$``, or starts with ``~`` and a letter, is taken as it stands.

    Raises:
        UserError: a variable that is not set, a home folder that is not known.
    """
    if os.path.lexists(text) and not re.match("~(/|$)", text):
        return text
    unset = [a or b for a, b in _VARIABLE.findall(text) if (a or b) not in os.environ]
    if unset:
        raise UserError(f"{text}: the environment has no variable {', '.join(unset)}; set it, or write the whole path.")
    path = _VARIABLE.sub(lambda match: os.environ[match[1] or match[2]], text)
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        user = path.split("/")[0]
        raise UserError(f"{text}: the home folder of {user} is not known; write the whole path.") from None


def expand_path(text: str) -> Path:
    """`expand` as a path, for arguments of the command line."""
    return Path(expand(text))
