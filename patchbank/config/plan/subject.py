"""What every subject of the plan is made of."""

from __future__ import annotations

from patchbank.config.plan.code import Code
from patchbank.config.plan.rows import Rows


class Subject:
    """Inputs and params of some rules.

    Args:
        rows: rows of every set.
        code: fingerprints of stages.
    """

    def __init__(self, rows: Rows, code: Code) -> None:
        self.rows = rows
        self.config = rows.config
        self.code = code
