"""What panel, curves, pictures, report, page and summary ask of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.config.own_folder import own_results
from patchbank.config.plan import wildcards as of
from patchbank.config.plan.code import Code
from patchbank.config.plan.evaluation import Evaluation
from patchbank.config.plan.paths import pointer, run_folder, scores, suggested_k
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.subject import Subject
from patchbank.methods.contract import Method


class Reports(Subject):
    """Inputs and params of everything that is read by people; `evaluation` says where scores come from."""

    def __init__(self, rows: Rows, code: Code, evaluation: Evaluation) -> None:
        super().__init__(rows, code)
        self.evaluation = evaluation

    def eval_bank(self, w: of.OfSet) -> str:
        """The bank of the whole images that are scored."""
        return pointer(w.dataset, self.config.splits(w.dataset)["eval"], "whole")

    # panel

    def columns(self, dataset: str) -> list[tuple[Method, int]]:
        """(row, seed) of the panel: every method, and the floor at most segments of those that see the same tokens."""
        floors = [self.config.floor(dataset, name) for name in self.rows.floors(dataset)]
        shown = [*self.rows.methods(dataset), *[floor for floor in floors if floor.traits.sees_tokens][-1:]]
        return [(method, min(method.seeds)) for method in shown]

    def panel_columns(self, w: of.OfSet) -> list[tuple[str, str, int]]:
        """Name, kind of the prediction and seed of the panel's columns."""
        return [(method.name, method.traits.kind, seed) for method, seed in self.columns(w.dataset)]

    def panel_files(self, w: of.OfSet) -> dict[str, list[str]]:
        """Predictions, scores and, where the column has segments, clusters of the panel's columns in order; names."""
        name, split, columns = w.dataset, self.config.splits(w.dataset)["eval"], self.columns(w.dataset)
        segmented = [(method, seed) for method, seed in columns if method.traits.kind == "segments"]
        return {
            "predictions": [f"{run_folder(name, method.name, seed)}/{split}.h5" for method, seed in columns],
            "scores": [scores(name, method.name) for method, _ in columns],
            "tables": [f"{run_folder(name, method.name, seed)}/clusters.npz" for method, seed in segmented],
            "cluster_names": [self.config.values["names"]] if self.config.named_set() == name else [],
        }

    def panel_counts(self, w: of.OfSet) -> list[str]:
        """Counts of the panel's columns in order."""
        return [f"{run_folder(w.dataset, method.name, seed)}/counts.npz" for method, seed in self.columns(w.dataset)]

    # curves and pictures of a method

    def seeds(self, w: of.OfRow) -> tuple[int, ...]:
        """Seeds of a method."""
        return self.rows.method(w.dataset, w.method).seeds

    def steps(self, w: of.OfRow) -> list[str]:
        """Losses of every training of a method."""
        return [f"{run_folder(w.dataset, w.method, seed)}/steps.csv" for seed in self.seeds(w)]

    def curves(self, w: of.OfSet) -> list[str]:
        """Curves of the methods that have any."""
        names = [method.name for method in self.rows.methods(w.dataset) if method.traits.curves]
        return [f"results/{w.dataset}/{name}/curves.png" for name in names]

    def pictures_code(self, w: of.OfRow) -> str:
        """Code of a method's pictures."""
        folder = self.rows.method(w.dataset, w.method).folder
        return self.code.of("pictures", f"patchbank.methods.{folder}.pictures")

    def pictures_recipes(self, w: of.OfRow) -> tuple[str, ...]:
        """Recipes of the banks that a method's pictures are drawn from."""
        return self.rows.method(w.dataset, w.method).traits.pictures

    def pictures_banks(self, w: of.OfRow) -> dict[str, str]:
        """Pointers of those banks, of the train split, by recipe."""
        split = self.config.splits(w.dataset)["train"]
        return {recipe: pointer(w.dataset, split, recipe) for recipe in self.pictures_recipes(w)}

    def first_checkpoint(self, w: of.OfRow) -> str:
        """Checkpoint of a method's first training."""
        return f"{run_folder(w.dataset, w.method, min(self.seeds(w)))}/checkpoint.safetensors"

    def pictures(self, w: of.OfSet) -> list[str]:
        """Pictures of the methods that draw any."""
        names = [method.name for method in self.rows.methods(w.dataset) if method.traits.pictures]
        return [f"results/{w.dataset}/{name}/pictures.png" for name in names]

    # report

    def fixed_scores(self, w: of.OfSet) -> list[str]:
        """Scores of the rows that are known before anything is predicted."""
        return [scores(w.dataset, name) for name in self.rows.fixed(w.dataset)]

    def floor_scores(self, w: of.OfSet) -> list[str]:
        """Scores of the floors at the methods' numbers of segments."""
        return [scores(w.dataset, name) for name in self.rows.floors(w.dataset)]

    def fixed_elsewhere(self, w: of.OfSet) -> list[str]:
        """Scores of the first rows at the further preprocessing variants."""
        return self.evaluation.elsewhere(w.dataset, self.rows.fixed(w.dataset))

    def floors_elsewhere(self, w: of.OfSet) -> list[str]:
        """Scores of those floors at the further preprocessing variants."""
        return self.evaluation.elsewhere(w.dataset, self.rows.floors(w.dataset))

    def records(self, w: of.OfSet) -> list[str]:
        """Records of the first training of every trained method, for what a report says of machine and trainings."""
        runs = [(method.name, min(method.seeds)) for method in self.rows.trained(w.dataset)]
        return [f"{run_folder(w.dataset, name, seed)}/checkpoint.json" for name, seed in runs]

    def trained(self, w: of.OfSet) -> list[str]:
        """Names of the trained methods, in the order of their records."""
        return [method.name for method in self.rows.trained(w.dataset)]

    def drawn(self, w: of.OfSet) -> list[str]:
        """Names of the rows, with post-processing or without, whose trainings read stored draws of views."""
        recipes = self.config.of(w.dataset)["recipes"]
        methods = [*self.rows.methods(w.dataset), *self.rows.postprocessed(w.dataset)]
        return [m.name for m in methods if any("draws" in recipes[recipe] for recipe in m.traits.recipes)]

    def facts(self, w: of.OfSet) -> dict[str, dict[str, Any]]:
        """What a report's notes have to know of each row, by its name."""
        names = [*self.rows.fixed(w.dataset), *self.rows.floors(w.dataset)]
        return {
            m.name: {"sees_tokens": m.traits.sees_tokens, "at": m.at, "postprocess": m.postprocess}
            for m in (self.rows.method(w.dataset, name) for name in names)
        }

    def note(self, w: of.OfSet) -> str:
        """What a report says of the backbone."""
        return self.config.backbone(self.config.backbone_name(w.dataset)).note

    def shaping(self, w: of.OfSet) -> dict[str, Any]:
        """The part of the configuration that shapes a set's results."""
        return self.config.shaping(w.dataset)

    def digest(self, w: of.OfSet) -> str:
        """Hash of everything that shapes a set's results."""
        return self.config.digest(w.dataset)

    def k_chart(self, w: of.OfSet) -> list[str]:
        """What the number of clusters rests on, of a set that asked for it."""
        return [suggested_k(w.dataset)] if self.config.asks_for_k(w.dataset) else []

    def gallery(self, w: of.OfSet) -> int:
        """Number of images in the gallery."""
        return int(self.config.of(w.dataset)["gallery"])

    # summary

    def others(self, _: Any) -> Mapping[str, int]:
        """Reports of sets that `all` does not run, with their times, so that the summary shows what there is."""
        names = {*self.config.datasets, *own_results()} - set(self.config.enabled)
        paths = [Path("results", name, "report.json") for name in sorted(names)]
        return {str(path): path.stat().st_mtime_ns for path in paths if path.is_file()}
