"""Which rows a set's tables have: methods, post-processed ones, floors and ceilings."""

from __future__ import annotations

from functools import cache

from patchbank.config.config import Config
from patchbank.config.plan.checkpoints import Finished
from patchbank.evaluation import protocols
from patchbank.files import read_json
from patchbank.methods.contract import Method

INSTANCES = "-instance"
"""Ending of the counts of instances; those at a further preprocessing end in ``-at-<name>``, the others in nothing."""


class Rows:
    """The rows of every set.

    Args:
        config: the checked configuration.
        finished: results that decide on further rows.
    """

    def __init__(self, config: Config, finished: Finished) -> None:
        self.config = config
        self.finished = finished
        # every job of a set asks for its rows
        self.methods = cache(config.methods)
        self.postprocessed = cache(config.postprocessed)
        self.method = cache(config.method)

    def trained(self, dataset: str) -> list[Method]:
        """Methods that are trained."""
        return [method for method in self.methods(dataset) if method.traits.trained]

    def instance_protocols(self, dataset: str) -> list[protocols.Protocol]:
        """Protocols of a set that compare instances instead of classes."""
        asked = [protocols.get(name) for name in self.config.of(dataset)["protocols"]]
        return [protocol for protocol in asked if protocol.labels == "instance"]

    def class_protocols(self, dataset: str) -> list[str]:
        """Names of the protocols of a set that compare classes."""
        asked = [protocols.get(name) for name in self.config.of(dataset)["protocols"]]
        return [protocol.name for protocol in asked if protocol.labels == "class"]

    def fixed(self, dataset: str) -> list[str]:
        """Names of the rows that are known before anything is predicted."""
        methods = [*self.methods(dataset), *self.postprocessed(dataset)]
        return [*(method.name for method in methods), *self.config.standing(dataset)]

    def segment_counts(self, dataset: str) -> list[int]:
        """Numbers of segments at which floors are shown (`patchbank.evaluation.used`)."""
        numbers: list[int] = read_json(self.finished.segment_numbers(dataset))["numbers"]
        return numbers

    def measured(self, dataset: str) -> list[Method]:
        """The rows whose numbers of segments floors stand at: methods and post-processed ones, but floors."""
        rows = [*self.methods(dataset), *self.postprocessed(dataset)]
        return [row for row in rows if not row.traits.floor]

    def floors(self, dataset: str) -> list[str]:
        """Names of the floors at the methods' numbers of segments."""
        floors = self.config.counted_floors(dataset)
        counts = self.segment_counts(dataset) if floors else []
        return [f"{floor}-{count}" for floor in floors for count in counts]

    def compared(self, dataset: str) -> list[Method]:
        """Methods and floors of the table, for intervals of their differences."""
        methods = [self.method(dataset, name) for name in (*self.fixed(dataset), *self.floors(dataset))]
        return [method for method in methods if not method.traits.ceiling]
