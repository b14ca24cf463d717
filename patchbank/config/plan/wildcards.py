"""The wildcards that functions of the plan read, by what a job is about."""

from __future__ import annotations

from typing import Protocol


class OfBackbone(Protocol):
    """A job for a backbone."""

    @property
    def backbone(self) -> str:
        """Name of the backbone."""


class OfSet(Protocol):
    """A job for a set."""

    @property
    def dataset(self) -> str:
        """Name of the set."""


class OfBank(OfSet, Protocol):
    """A job for a bank of a set."""

    @property
    def split(self) -> str:
        """Split of the set."""

    @property
    def recipe(self) -> str:
        """Recipe of the views."""


class OfRow(OfSet, Protocol):
    """A job for a row of a set's tables."""

    @property
    def method(self) -> str:
        """Name of the row: a method, with post-processing or without, or a floor."""


class OfTraining(OfRow, Protocol):
    """A job for one training of a row."""

    @property
    def seed(self) -> str:
        """Seed of the training."""


class OfCounts(OfRow, Protocol):
    """A job for the counts or scores of a row."""

    @property
    def at(self) -> str:
        """Ending of the file: empty, `INSTANCES`, or ``-at-<preprocessing>``."""


class OfTruth(OfSet, Protocol):
    """A job for the labels of a set."""

    @property
    def kind(self) -> str:
        """`INSTANCES` for instances, else nothing."""


class OfAblation(Protocol):
    """A job for an ablation."""

    @property
    def ablation(self) -> str:
        """Name of the ablation."""


class OfAblationRow(OfAblation, OfRow, Protocol):
    """A job for a row of an ablation on a set."""


class OfSweepRow(OfRow, Protocol):
    """A job for a row of a set at an encoder of its sweep."""

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
