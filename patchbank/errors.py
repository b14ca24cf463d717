"""Errors that a user can act on.

A `UserError` is one clear sentence: the file, the received value and the way out. Scripts and the command line
print it without a traceback and exit with status 1; everything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk that is full or read-only: no other file can be written there either."""

NO_WAY = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""Errors of one path: no right to it, too long a name, a file in the place of a folder or the other way round."""

SHOWN = 20
"""How many problems of one stage are printed in full; the others are counted (the log has them all)."""


class UserError(Exception):
    """An input that cannot be used, said in one sentence with the way out.

    Args:
        message: what is shown.
        details: every single problem, for the log, where `message` shows only the first ones.
    """

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


def said_by_the_disk(error: OSError) -> UserError | None:
    """What the file system refused, as one sentence; None for an error that says more about our code."""
    file = error.filename2 or error.filename
    if error.errno in NO_ROOM:
        where = f"{file}: the disk" if file else "The disk"
        return UserError(f"{where} takes no more files ({error.strerror}); make room, or name another folder.")
    if error.errno in NO_WAY and file is not None:
        return UserError(
            f"{file} cannot be read or written ({error.strerror}); name another path, or change its rights."
        )
    return None


def raise_problems(headline: str, problems: Sequence[str], advice: str = "") -> None:
    """Raise one `UserError` for all problems of a stage; do nothing where there is none.

    Args:
        headline: what was looked at, e.g. ``"msrc: 3 of 473 files cannot be used"``.
        problems: one sentence a problem, in the order in which they should be read.
        advice: the way out, printed last.
    """
    if not problems:
        return
    lines = [headline + ":", *(f"  - {p}" for p in problems[:SHOWN])]
    if len(problems) > SHOWN:
        lines.append(f"  ... and {len(problems) - SHOWN} more (all of them are in the log)")
    if advice:
        lines.append(advice)
    raise UserError("\n".join(lines), details=problems)
