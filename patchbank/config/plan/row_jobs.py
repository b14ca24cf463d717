"""What rules of rows that are one job, from banks to scores, ask of the configuration (`patchbank.ablation.run`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from patchbank.config.plan import wildcards as of
from patchbank.config.plan.code import Code
from patchbank.config.plan.evaluation import Evaluation
from patchbank.config.plan.paths import checkpoint, manifest, pointer, truth
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.subject import Subject
from patchbank.methods.contract import Method
from patchbank.plain import to_plain


class RowJobs(Subject, ABC):
    """Inputs and params of such rows; `evaluation` says how they are scored."""

    def __init__(self, rows: Rows, code: Code, evaluation: Evaluation) -> None:
        super().__init__(rows, code)
        self.evaluation = evaluation

    @abstractmethod
    def _method(self, w: Any) -> Method:
        """The row that a job is for."""

    @abstractmethod
    def _source(self, w: Any) -> tuple[str, str]:
        """The set whose banks the row reads, and the set of the same images whose manifest and labels it reads."""

    def _compared(self, w: Any) -> str:
        """The set whose decoded labels the row is compared with, of the size of its encoder's input."""
        return self._source(w)[1]

    def method(self, w: of.OfRow) -> dict[str, Any]:
        """The method of a row."""
        return to_plain(self._method(w))

    def recipes(self, w: of.OfRow) -> list[str]:
        """Recipes of the banks that its training reads."""
        return list(self._method(w).traits.recipes)

    def splits(self, w: of.OfSet) -> list[str]:
        """Names of the split that clusters are fitted on, and of the one that is scored."""
        return [self.config.splits(w.dataset)[role] for role in ("fit", "eval")]

    def inputs(self, w: of.OfRow) -> dict[str, str | list[str]]:
        """Banks, statistics and labels of a row."""
        source, labelled = self._source(w)
        fit, evaluated = self.splits(w)
        return {
            "manifest": manifest(labelled),
            "statistics": f"results/{source}/statistics.npz",
            "truth": truth(self._compared(w), "class", self.config.of(w.dataset)["preprocessing"]),
            **{f"fit_{recipe}": pointer(source, fit, recipe) for recipe in self.fit_recipes(w)},
            **{f"eval_{recipe}": pointer(source, evaluated, recipe) for recipe in self.eval_recipes(w)},
            **self.config.training_banks(source, self._method(w)),
            **({"after": after} if (after := self.learned_after(w)) else {}),
        }

    def learned_after(self, w: of.OfRow) -> list[str]:
        """The pipeline's checkpoints of the row that its trainings learn after, of every seed; none for most."""
        method, (source, _) = self._method(w), self._source(w)
        return [checkpoint(source, method.after, seed) for seed in method.seeds] if method.after else []

    def eval_recipes(self, w: of.OfRow) -> list[str]:
        """Recipes of the scored split's banks: those that are predicted from, and what segments are pooled from."""
        traits = self._method(w).traits
        return list(dict.fromkeys([*traits.reads, *(["whole"] if traits.kind == "segments" else [])]))

    def fit_recipes(self, w: of.OfRow) -> list[str]:
        """Recipes of the banks that segments' clusters are fitted on; a method of classes needs none."""
        return self.eval_recipes(w) if self._method(w).traits.kind == "segments" else []

    def row_code(self, w: of.OfRow) -> str:
        """Code of a row: what runs it, its method, and the protocols of the set."""
        method = self._method(w)
        stages = ["predict", *(["train"] if method.traits.trained else [])]
        modules = [f"patchbank.methods.{method.folder}.{stage}" for stage in stages]
        return self.code.of("ablation_row", "patchbank.ablation.run", *modules, *self.evaluation.protocols(w.dataset))
