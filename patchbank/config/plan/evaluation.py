"""What counting, scoring and comparing ask of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from patchbank.config.plan import wildcards as of
from patchbank.config.plan.paths import pointer, run_folder, scores, source_folder, truth
from patchbank.config.plan.rows import INSTANCES
from patchbank.config.plan.subject import Subject
from patchbank.evaluation import postprocessing
from patchbank.evaluation.score import Scoring
from patchbank.plain import to_plain


class Evaluation(Subject):
    """Inputs and params from predictions to scores and their differences."""

    def predictions(self, w: of.OfRow) -> list[str]:
        """The predictions that a row is counted from, of every seed."""
        method, split = self.rows.method(w.dataset, w.method), self.config.splits(w.dataset)["eval"]
        return [f"{source_folder(w.dataset, method, seed)}/{split}.h5" for seed in method.seeds]

    def label_kind(self, w: of.OfCounts) -> str:
        """What is counted: pixels by class or by instance."""
        return "instance" if w.at == INSTANCES else "class"

    def preprocessing(self, w: of.OfCounts) -> str:
        """Instances are compared as their protocol says, classes as the file's ending or the configuration says."""
        if w.at == INSTANCES:
            return str(self.rows.instance_protocols(w.dataset)[0].preprocessing)
        return w.at.removeprefix("-at-") or str(self.config.of(w.dataset)["preprocessing"])

    def truth(self, w: of.OfCounts) -> str:
        """The labels that are counted."""
        return truth(w.dataset, self.label_kind(w), self.preprocessing(w))

    def truth_kind(self, w: of.OfTruth) -> Literal["class", "instance"]:
        """Labels of a file of labels."""
        return "instance" if w.kind == INSTANCES else "class"

    def truth_bank(self, w: of.OfSet) -> str:
        """The bank whose record says how large the model's input is."""
        return pointer(w.dataset, self.eval_split(w), "whole")

    def eval_split(self, w: of.OfSet) -> str:
        """The split that is scored."""
        return self.config.splits(w.dataset)["eval"]

    def postprocess(self, w: of.OfRow) -> str:
        """Option that is applied when pixels are counted, or none."""
        return self.rows.method(w.dataset, w.method).postprocess

    def seeds(self, w: of.OfRow) -> list[int]:
        """Seeds of the row, in the order of its files."""
        return list(self.rows.method(w.dataset, w.method).seeds)

    def origin(self, w: of.OfRow) -> dict[str, Any]:
        """What the predictions that are counted have to say of themselves, beside their seed."""
        method = self.rows.method(w.dataset, w.method)
        row, kind = method.source or method.name, method.traits.kind
        return {"method": row, "kind": kind, "settings": dict(method.settings)}

    def measured(self, w: of.OfSet) -> list[str]:
        """Names of the rows whose numbers of segments floors stand at, once for every seed."""
        return [row.name for row in self.rows.measured(w.dataset) for _ in row.seeds]

    def varying(self, w: of.OfSet) -> list[str]:
        """Names of those whose images have numbers of segments of their own."""
        return [row.name for row in self.rows.measured(w.dataset) if row.traits.varying]

    def summaries(self, w: of.OfSet) -> list[str]:
        """Summaries of the counts of those rows in the same order."""
        only_instances = self.rows.instance_protocols(w.dataset) and not self.config.spec(w.dataset).classes
        at = INSTANCES if only_instances else ""
        runs = [(row, seed) for row in self.rows.measured(w.dataset) for seed in row.seeds]
        return [f"{run_folder(w.dataset, row.name, seed)}/counts{at}.json" for row, seed in runs]

    def missing(self, w: of.OfRow) -> str:
        """What has to be installed for its post-processing: a row that was left out is made once it is there."""
        return postprocessing.named(self.postprocess(w)).missing()

    def may_be_left_out(self, w: of.OfCounts) -> bool:
        """Whether all else is written where these counts or scores cannot be made (`patchbank.left_out`)."""
        if w.at == INSTANCES:
            return bool(self.rows.class_protocols(w.dataset))
        return bool(w.at) or not self.config.asked(w.dataset, w.method)

    def counts(self, w: of.OfCounts) -> list[str]:
        """Counts of every seed."""
        seeds = self.rows.method(w.dataset, w.method).seeds
        return [f"{run_folder(w.dataset, w.method, seed)}/counts{w.at}.npz" for seed in seeds]

    def tables(self, w: of.OfRow) -> list[str]:
        """Segment clusters of every seed; methods that predict classes have none."""
        method = self.rows.method(w.dataset, w.method)
        if method.traits.kind == "classes":
            return []
        return [f"{source_folder(w.dataset, method, seed)}/clusters.npz" for seed in method.seeds]

    def instances(self, w: of.OfCounts) -> list[str]:
        """Counts of instances of every seed, where a protocol asks for them."""
        if w.at or not self.rows.instance_protocols(w.dataset):
            return []
        seeds = self.rows.method(w.dataset, w.method).seeds
        return [f"{run_folder(w.dataset, w.method, seed)}/counts{INSTANCES}.npz" for seed in seeds]

    def method(self, w: of.OfRow) -> dict[str, Any]:
        """The row that a job is for."""
        return to_plain(self.rows.method(w.dataset, w.method))

    def protocols(self, dataset: str) -> list[str]:
        """Modules of the protocols of a set, which no import shows."""
        # the matching that pictures show is always that of hungarian
        names = dict.fromkeys([*self.config.of(dataset)["protocols"], "hungarian"])
        return [f"patchbank.evaluation.protocols.{name}" for name in names]

    def score_code(self, w: of.OfSet) -> str:
        """Code of the scores."""
        return self.code.of("score", "patchbank.evaluation.score", *self.protocols(w.dataset))

    def shared_scoring(self, dataset: str) -> Scoring:
        """What all rows of a set are scored by."""
        options = self.config.of(dataset)
        return Scoring(
            dataset=dataset,
            protocols=tuple(options["protocols"]),
            preprocessing=options["preprocessing"],
            fit=options["fit"],
            k=self.config.clusters(dataset)[0],
        )

    def scoring(self, w: of.OfSet) -> dict[str, Any]:
        """What all rows of the set are scored by."""
        return to_plain(self.shared_scoring(w.dataset))

    def scoring_at(self, w: of.OfCounts) -> dict[str, Any]:
        """What a row is scored by at the preprocessing of the file's ending, without instances at a further one."""
        scoring = self.shared_scoring(w.dataset)
        if w.at:
            protocols = tuple(self.rows.class_protocols(w.dataset))
            scoring = replace(scoring, protocols=protocols, preprocessing=self.preprocessing(w))
        return to_plain(scoring)

    def elsewhere(self, dataset: str, rows: Sequence[str]) -> list[str]:
        """Scores of rows at the further preprocessing variants."""
        options = self.config.of(dataset)
        others = [at for at in options["score_at"] if at != options["preprocessing"]]
        variants = others if self.rows.class_protocols(dataset) else []
        return [scores(dataset, row, f"-at-{at}") for row in rows for at in variants]

    def compare_code(self, w: of.OfSet) -> str:
        """Code of the comparisons."""
        return self.code.of("compare", "patchbank.evaluation.compare", *self.protocols(w.dataset))

    def compared_files(self, w: of.OfSet) -> dict[str, list[str]]:
        """Counts, and where there are any tables and counts of instances, of compared methods and seeds in order."""
        name = w.dataset
        runs = [(method, seed) for method in self.rows.compared(name) for seed in method.seeds]
        segmented = [(method, seed) for method, seed in runs if method.traits.kind == "segments"]
        counted = runs if self.rows.instance_protocols(name) else []
        return {
            "counts": [f"{run_folder(name, method.name, seed)}/counts.npz" for method, seed in runs],
            "tables": [f"{source_folder(name, method, seed)}/clusters.npz" for method, seed in segmented],
            "instances": [f"{run_folder(name, method.name, seed)}/counts{INSTANCES}.npz" for method, seed in counted],
        }

    def compared_methods(self, w: of.OfSet) -> list[dict[str, Any]]:
        """The compared methods in the same order."""
        return [to_plain(method) for method in self.rows.compared(w.dataset)]
