"""What the plan asks of jobs that must be done before it goes on."""

from __future__ import annotations

from typing import Protocol


class Finished(Protocol):
    """Paths of files whose content decides on further jobs; each function may raise until its file is there."""

    def manifest(self, dataset: str) -> str:
        """The manifest of a set."""

    def count(self, dataset: str, method: str, seed: int, at: str) -> str:
        """The summary of the counts of a training."""

    def ablation_row(self, ablation: str, dataset: str, row: str) -> str:
        """The result of a row of an ablation."""
