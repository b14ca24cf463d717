"""What the plan asks of jobs that must be done before it goes on."""

from __future__ import annotations

from typing import Protocol


class Finished(Protocol):
    """Paths of files whose content decides on further jobs; each function may raise until its file is there."""

    def parts(self, dataset: str, split: str, recipe: str) -> str:
        """Into how many jobs an extraction is cut."""

    def segment_numbers(self, dataset: str) -> str:
        """At how many segments the floors of a set stand."""

    def ablation_row(self, ablation: str, dataset: str, row: str) -> str:
        """The result of a row of an ablation."""

    def k_chart(self, dataset: str) -> str:
        """How many clusters are suggested for a set."""
