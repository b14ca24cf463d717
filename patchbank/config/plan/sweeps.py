"""What the rules of the sweeps ask of the configuration: rows and criteria of a set at every encoder and block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings
from patchbank.config import sweeps
from patchbank.config.plan import wildcards as of
from patchbank.config.plan.paths import pointer
from patchbank.config.plan.row_jobs import RowJobs
from patchbank.criteria.settings import CriteriaSettings
from patchbank.evaluation import protocols
from patchbank.methods.contract import Method
from patchbank.plain import to_plain
from patchbank.segments.settings import SegmentClusterSettings


class Sweeps(RowJobs):
    """Inputs and params of the criteria of a bank, of the rows of a sweep, and of its table."""

    # criteria of a bank

    def criteria_banks(self, w: of.OfSet) -> dict[str, str]:
        """The bank that clusters are fitted on, and where it is asked for that of its mirror images.

        A set that asks for K waits here until it is known, as every job that reads K does by one of its inputs.
        """
        self.config.clusters(w.dataset)
        asked = self.config.of(w.dataset)["criteria"]["mirrored"]
        return {"whole": self.fit_bank(w), **({"mirrored": self.fit_bank(w, "mirrored")} if asked else {})}

    def fit_bank(self, w: of.OfSet, recipe: str = "whole") -> str:
        """The bank that clusters are fitted on."""
        return pointer(w.dataset, self.config.splits(w.dataset)["fit"], recipe)

    def criteria_settings(self, w: of.OfSet) -> dict[str, Any]:
        """How criteria are measured."""
        return self._criteria(w.dataset, self.config.clusters(w.dataset)[0])

    def k_settings(self, w: of.OfSet) -> dict[str, Any]:
        """How numbers of clusters are compared; the number in it is not read."""
        return self._criteria(w.dataset, 1)

    def k_candidates(self, w: of.OfSet) -> list[int]:
        """Numbers of clusters that are compared."""
        return list(self.config.of(w.dataset)["clustering"]["k_candidates"])

    def _criteria(self, dataset: str, k: int) -> dict[str, Any]:
        fitting, asked = self.config.fitting(dataset), self.config.of(dataset)["criteria"]
        settings = CriteriaSettings(
            k=k,
            sample=asked["sample"],
            repeats=asked["repeats"],
            projection=ProjectionSettings(centre=fitting["centre"], **fitting["projection"]),
            kmeans=KMeansSettings(**fitting["kmeans"]),
        )
        return to_plain(settings)

    # a row

    def _method(self, w: of.OfSweepRow) -> Method:
        return self.config.method(sweeps.at(w.dataset, w.encoder), w.method)

    def _source(self, w: of.OfSweepRow) -> tuple[str, str]:
        return sweeps.at(w.dataset, w.encoder), w.dataset

    def _compared(self, w: of.OfSweepRow) -> str:
        return sweeps.at(w.dataset, sweeps.first_of_pass(self.config.sweep(w.dataset), w.encoder))

    def clustering(self, w: of.OfSweepRow) -> dict[str, Any]:
        """Settings of the segment clusters."""
        return to_plain(SegmentClusterSettings.parse(self.config.shared(sweeps.at(w.dataset, w.encoder))))

    def scoring(self, w: of.OfSet) -> dict[str, Any]:
        """What all rows of the sweep are scored by; the same at every encoder."""
        scoring = self.evaluation.shared_scoring(sweeps.at(w.dataset, self._encoders(w)[0]))
        return to_plain(replace(scoring, dataset=w.dataset))

    # the table

    def _encoders(self, w: of.OfSet) -> list[str]:
        return list(self.config.sweep(w.dataset))

    def _rows(self, w: of.OfSet) -> list[Method]:
        """Rows of the sweep, the same at every encoder; none of a set without classes, which has criteria alone."""
        options = self.config.of(w.dataset)
        labels = {protocols.get(name).labels for name in options["protocols"]}
        if not self.config.spec(w.dataset).classes or "class" not in labels:
            return []
        first = sweeps.at(w.dataset, self._encoders(w)[0])
        methods = self.config.methods(first)
        named = {method.name for method in methods}
        return [
            *methods,
            *(self.config.method(first, name) for name in options["sweep"]["beside"] if name not in named),
        ]

    def results(self, w: of.OfSet) -> list[str]:
        """Results of all rows, encoder by encoder."""
        pairs = [(encoder, row.name) for encoder in self._encoders(w) for row in self._rows(w)]
        return [f"results/{w.dataset}/sweep/{encoder}/rows/{row}.json" for encoder, row in pairs]

    def criteria(self, w: of.OfSet) -> list[str]:
        """Criteria at every encoder; a set that asks for K waits here, too, because what scores the rows names it."""
        self.config.clusters(w.dataset)
        return [f"results/{sweeps.at(w.dataset, encoder)}/criteria.json" for encoder in self._encoders(w)]

    def encoders(self, w: of.OfSet) -> list[str]:
        """Names of the encoders in the same order."""
        return self._encoders(w)

    def methods(self, w: of.OfSet) -> list[dict[str, Any]]:
        """All rows."""
        return [to_plain(method) for method in self._rows(w)]

    def protocol(self, w: of.OfSet) -> str:
        """The protocol of the table."""
        return str(self.config.of(w.dataset)["sweep"]["protocol"])

    def table_code(self, w: of.OfSet) -> str:
        """Code of the table."""
        return self.code.of("sweep", "patchbank.sweep.write", *protocols.modules())
