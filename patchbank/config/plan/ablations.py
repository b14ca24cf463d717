"""What the rules of the ablations ask of the configuration."""

from __future__ import annotations

from typing import Any

from patchbank.ablation.table import floors_at
from patchbank.config.config import Ablation
from patchbank.config.plan import wildcards as of
from patchbank.config.plan.paths import manifest
from patchbank.config.plan.row_jobs import RowJobs
from patchbank.evaluation import protocols
from patchbank.files import read_json
from patchbank.left_out import left_out_at
from patchbank.methods.contract import Method
from patchbank.plain import to_plain


class Ablations(RowJobs):
    """Inputs and params of the rows of ablations and of their tables."""

    # a row

    def _method(self, w: of.OfAblationRow) -> Method:
        return self.config.ablation_row(self.config.ablation(w.ablation), w.dataset, w.method)

    def _source(self, w: of.OfAblationRow) -> tuple[str, str]:
        source = self.config.ablation_set(self.config.ablation(w.ablation), w.dataset, w.method)
        return source, source

    def may_be_left_out(self, w: of.OfAblationRow) -> bool:
        """Whether the table is written where this row cannot be made: every one but that which others stand beside."""
        return w.method != next(iter(self.config.ablation(w.ablation).rows))

    # a table

    def _floors(self, ablation: Ablation, dataset: str) -> list[str]:
        """Floors at the numbers of segments that the rows use, known when these are done."""
        paths = [self.rows.finished.ablation_row(ablation.name, dataset, row) for row in ablation.rows]
        used = [read_json(path)["used"] for path in paths if left_out_at(path) is None]
        return floors_at(used, ablation.floors)

    def results(self, w: of.OfAblation) -> list[str]:
        """Results of all rows on all sets."""
        ablation = self.config.ablation(w.ablation)
        pairs = [(dataset, row) for dataset in ablation.datasets for row in ablation.rows]
        return [f"results/ablations/{ablation.name}/{dataset}/{row}.json" for dataset, row in pairs]

    def floor_results(self, w: of.OfAblation) -> list[str]:
        """Results of the floors that stand beside them."""
        ablation = self.config.ablation(w.ablation)
        pairs = [(dataset, floor) for dataset in ablation.datasets for floor in self._floors(ablation, dataset)]
        return [f"results/ablations/{ablation.name}/{dataset}/{floor}.json" for dataset, floor in pairs]

    def manifests(self, w: of.OfAblation) -> list[str]:
        """Manifests of all sets."""
        return [manifest(dataset) for dataset in self.config.ablation(w.ablation).datasets]

    def table_code(self) -> str:
        """Code of a table, with that of all protocols."""
        return self.code.of("ablation", "patchbank.ablation.table", *protocols.modules())

    def methods(self, w: of.OfAblation) -> dict[str, list[dict[str, Any]]]:
        """All rows of each set, the floors last."""
        ablation = self.config.ablation(w.ablation)
        names = {dataset: [*ablation.rows, *self._floors(ablation, dataset)] for dataset in ablation.datasets}
        return {
            dataset: [to_plain(self.config.ablation_row(ablation, dataset, row)) for row in rows]
            for dataset, rows in names.items()
        }

    def factors(self, w: of.OfAblation) -> dict[str, str]:
        """What each row changes, by the names of the rows."""
        return {name: str(row["factor"]) for name, row in self.config.ablation(w.ablation).rows.items()}

    def scoring(self, w: of.OfAblation) -> dict[str, dict[str, Any]]:
        """What the rows of each set are scored by."""
        return {
            name: to_plain(self.evaluation.shared_scoring(name)) for name in self.config.ablation(w.ablation).datasets
        }
