"""The codes that EM runs on in place of tokens: those of a head that another row of the set has learned.

Published for STEGO's and HP's: proposals are those of tokens, prototypes start as that head's classes with gains of 1,
and there is no baseline before. Its classes are those that pictures get: centres or prototypes that it learned, or
those of the first k-means of its codes.

Source: PriMaPs-EM, https://github.com/visinf/primaps.
"""

from __future__ import annotations

from typing import Any

from patchbank.errors import UserError
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.class_heads import ClassHead
from patchbank.methods.tools.coded import learned_head


def coded_head(job: TrainJob, row: str) -> tuple[ClassHead | None, dict[str, Any]]:
    """The head whose codes are read, and what the record and the identity of a training say of it.

    Args:
        job: `after` is its checkpoint.
        row: that learned it; empty where EM runs on tokens.

    Returns:
        As `learned_head`, or None and nothing.

    Raises:
        UserError: as `learned_head`, and for a head of more classes than there are clusters.
    """
    if not row:
        return None, {}
    head, told = learned_head(job, row)
    most, path = int(job.settings["k"][0]), job.after
    if head.segments > most:
        raise UserError(f"{path} has {head.segments} classes, and {most} clusters are asked for; set clustering.k.")
    return head, told
