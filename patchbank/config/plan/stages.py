"""What the rules of data, weights, bank and methods ask of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from patchbank.bank.settings import CodingSettings, ExtractSettings
from patchbank.config import sweeps
from patchbank.config.plan import wildcards as of
from patchbank.config.plan.code import Code
from patchbank.config.plan.paths import checkpoint, manifest, pointer, predicted_splits, run_folder
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.subject import Subject
from patchbank.config.plan.trees import TreesOfARun
from patchbank.files import read_json
from patchbank.methods.contract import Method
from patchbank.plain import to_plain
from patchbank.segments.settings import SegmentClusterSettings
from patchbank.views.bounds import ONE_BLOCK, stored_as

ELSEWHERE = ("pca", "shards_per_job", "batch_tokens")
"""Keys of `extract` that are no `ExtractSettings` of a job's params."""


class Stages(Subject):
    """Inputs and params from the images to the predictions and their segment clusters."""

    def __init__(self, rows: Rows, code: Code, trees: TreesOfARun | None = None) -> None:
        super().__init__(rows, code)
        self._trees = trees or TreesOfARun()

    # data

    def data_root(self, w: object) -> str:
        """Folder of the sets; a function like `bank_root`: in plain values Snakemake takes braces for wildcards."""
        return str(self.config.values["data_root"])

    def generator(self, w: of.OfSet) -> str | list[str]:
        """Folder of a generated set's images; nothing for a set that has to be on disk."""
        return [] if self.config.generated(w.dataset) is None else f"results/{w.dataset}/data"

    def manifest_code(self, w: of.OfSet) -> str:
        """Code of the manifest: the scan and the set's layout."""
        layout = self.config.spec(w.dataset).layout
        return self.code.of("manifest", "patchbank.datasets.scan", f"patchbank.datasets.layouts.{layout}")

    def spec(self, w: of.OfSet) -> dict[str, Any]:
        """The set as the datasets room knows it."""
        return to_plain(self.config.spec(w.dataset))

    def tree(self, w: of.OfSet) -> str:
        """What the manifest is made from; `UserError` with the expected tree where the set is not there."""
        if self.config.generated(w.dataset) is not None:
            return "generated"
        return self._trees.of(self.config.spec(w.dataset))

    # weights

    def backbone_spec(self, w: of.OfBackbone) -> dict[str, Any]:
        """A backbone by its name, without its note, which moves no value."""
        return to_plain(replace(self.config.backbone(w.backbone), note=""))

    def local_file_state(self, w: of.OfBackbone) -> list[int] | None:
        """Size, time and number of a local weights file, so that another one in its place is noticed."""
        file = self.config.values["backbones"][w.backbone].get("file")
        path = Path(file) if file else None
        if path is None or not path.is_file():
            return None
        state = path.stat()
        return [state.st_size, state.st_mtime_ns, state.st_ino]

    # bank

    def manifest(self, w: of.OfSet) -> str:
        """The manifest of the images; a set at an encoder of its sweep has those of the set."""
        return manifest(sweeps.parted(w.dataset)[0])

    def weights(self, w: of.OfSet) -> str:
        """Weights of a set's backbone."""
        return f"results/weights/{self.config.encoder(w.dataset).name}/weights.safetensors"

    def provenance(self, w: of.OfSet) -> str:
        """Where those weights come from."""
        return f"results/weights/{self.config.encoder(w.dataset).name}/weights.json"

    def written_before(self, w: of.OfBank) -> list[str]:
        """The bank whose extraction writes this one in the same pass, which then only has to be looked for."""
        name, encoder = sweeps.parted(w.dataset)
        if not encoder or self._stored(w, w.recipe)[0] in ONE_BLOCK:
            return []
        first = sweeps.first_of_pass(self.config.sweep(name), encoder)
        return [pointer(sweeps.at(name, first), w.split, w.recipe)] if first != encoder else []

    def extract_code(self, w: of.OfBank) -> str:
        """Code of an extraction: the stage and its recipe, and that of the images which small tokens are fitted on."""
        recipes = {self._stored(w, w.recipe)[0], *(["whole"] if self._coding(w) else [])}
        return self.code.of("extract", "patchbank.bank.spread", *(f"patchbank.views.{one}" for one in sorted(recipes)))

    def backbone(self, w: of.OfSet) -> dict[str, Any]:
        """The backbone of a set, without its note."""
        return to_plain(replace(self.config.encoder(w.dataset), note=""))

    def extract_settings(self, w: of.OfBank) -> dict[str, Any]:
        """How a bank is made, without `batch_tokens`, which moves no value."""
        options = {key: value for key, value in self.extraction(w).items() if key not in ELSEWHERE}
        return to_plain(ExtractSettings(*self._stored(w, w.recipe), **options, coding=self._coding(w)))

    def batch_tokens(self, w: of.OfBank) -> int:
        """Patch tokens of a forward pass: a resource, because Snakemake runs nothing again for another one."""
        return int(self.extraction(w)["batch_tokens"])

    def _coding(self, w: of.OfSet) -> CodingSettings | None:
        """What small tokens of a set are fitted on; None where tokens are stored as they are."""
        extract = self.extraction(w)
        if extract["dtype"] != "int8" and not extract["pca"]:
            return None
        plain = {key: value for key, value in self.config.recipe(w.dataset, "whole").items() if key != "shift"}
        return CodingSettings(self.config.splits(w.dataset)["train"], plain, extract["pca"])

    def _stored(self, w: of.OfSet, recipe: str) -> tuple[str, dict[str, Any]]:
        """The recipe that makes a bank, and its settings."""
        return stored_as(recipe, self.config.recipe(w.dataset, recipe))

    def extraction(self, w: of.OfSet) -> Mapping[str, Any]:
        """Settings of the encoder's forward pass and of how its output is stored."""
        settings: Mapping[str, Any] = self.config.of(w.dataset)["extract"]
        return settings

    def bank_root(self, w: object) -> str:
        """Folder of the banks."""
        return self.config.bank_root

    def parts(self, w: of.OfBank) -> list[str]:
        """Outputs of all extract jobs of a bank: one, or as many as the manifest's number of shards asks for."""
        options = self.extraction(w)
        parts = 1
        if options["shards_per_job"]:
            parts = read_json(self.rows.finished.parts(w.dataset, w.split, w.recipe))["parts"]
        folder = f"results/{w.dataset}/bank/{w.split}-{w.recipe}"
        return [f"{folder}/{part}-of-{parts}.json" for part in range(parts)]

    def train_bank(self, w: of.OfSet) -> str:
        """The bank of whole training images."""
        return pointer(w.dataset, self.config.splits(w.dataset)["train"], "whole")

    # methods

    def method(self, w: of.OfRow) -> Method:
        """The row that a job is for."""
        return self.rows.method(w.dataset, w.method)

    def may_be_left_out(self, w: of.OfRow) -> bool:
        """Whether the other rows are written where this one cannot be made (`patchbank.left_out`)."""
        return not self.config.asked(w.dataset, w.method)

    def folder(self, w: of.OfRow) -> str:
        """Folder of the method in the package."""
        return self.method(w).folder

    def settings(self, w: of.OfRow) -> Mapping[str, Any]:
        """Settings of the method."""
        return self.method(w).settings

    def labels(self, w: of.OfRow) -> str | list[str]:
        """The manifest, for a method that declares that it uses labels; no other method is given any."""
        return manifest(w.dataset) if self.method(w).traits.oracle else []

    def train_code(self, w: of.OfRow) -> str:
        """Code of a training."""
        return self.code.of("train", f"patchbank.methods.{self.folder(w)}.train")

    def training_threads(self, w: of.OfSet) -> int:
        """Threads of a training as the configuration says; 0: all that a job may have."""
        return int(self.config.of(w.dataset)["training_threads"])

    def extract_threads(self, w: of.OfSet) -> int:
        """Threads of an extraction as the configuration says; 0: all that a job may have."""
        return int(self.config.of(w.dataset)["extract_threads"])

    def extract_priority(self, w: of.OfBank) -> int:
        """What trainings wait for comes before what predictions alone read."""
        return int(w.split == self.config.spec(w.dataset).train_split)

    def row_threads(self, w: of.OfSet) -> int:
        """Threads of a job that predicts, clusters, counts or compares rows."""
        return int(self.config.of(w.dataset)["row_threads"])

    def training_banks(self, w: of.OfRow) -> dict[str, str]:
        """Pointers of the banks that training reads, by recipe."""
        return self.config.training_banks(w.dataset, self.method(w))

    def learned_after(self, w: of.OfTraining) -> str | list[str]:
        """The checkpoint of the same seed of the row that a training learns after; nothing for most."""
        after = self.method(w).after
        return checkpoint(w.dataset, after, w.seed) if after else []

    def training_recipes(self, w: of.OfRow) -> tuple[str, ...]:
        """Recipes of those banks."""
        return self.method(w).traits.recipes

    def predict_code(self, w: of.OfRow) -> str:
        """Code of a prediction."""
        return self.code.of("predict", f"patchbank.methods.{self.folder(w)}.predict", "patchbank.predictions")

    def predicted_with(self, w: of.OfRow) -> str | None:
        """The group that a prediction is submitted with on a cluster: its row's, but for heads whose segments are
        clustered afterwards, for long and without a GPU."""
        traits = self.method(w).traits
        return None if traits.trained and traits.kind == "segments" else "row"

    def predicted(self, w: of.OfRow) -> list[str]:
        """Names of the splits that are predicted: segments' clusters are fitted on the first, the last is scored."""
        return predicted_splits(self.config.splits(w.dataset), self.method(w).traits.kind)

    def prediction_banks(self, w: of.OfRow) -> list[str]:
        """Pointers of the banks that a row's predictions read, by split and then by recipe."""
        method = self.method(w)
        stored = [method.features if recipe == "whole" else recipe for recipe in method.traits.reads]
        return [pointer(w.dataset, split, recipe) for split in self.predicted(w) for recipe in stored]

    def prediction_recipes(self, w: of.OfRow) -> tuple[str, ...]:
        """Recipes of those banks."""
        return self.method(w).traits.reads

    def checkpoints(self, w: of.OfRow) -> list[str]:
        """The checkpoint of every seed; floors have none."""
        method = self.method(w)
        if not method.traits.trained:
            return []
        row = method.trained or method.name
        return [checkpoint(w.dataset, row, seed) for seed in method.seeds]

    def seeds(self, w: of.OfRow) -> list[int]:
        """Seeds of the row, in the order of its files."""
        return list(self.method(w).seeds)

    # segment clusters

    def clustered(self, w: of.OfRow) -> dict[str, str | list[str]]:
        """Banks and predictions of the splits that segment clusters are fitted on (``fit``) and made for (``eval``)."""
        method = self.method(w)
        folders = [run_folder(w.dataset, w.method, seed) for seed in method.seeds]
        splits = {role: self.config.splits(w.dataset)[role] for role in ("fit", "eval")}
        return {
            **{f"{role}_bank": pointer(w.dataset, split, method.features) for role, split in splits.items()},
            **{f"{role}_predictions": [f"{path}/{split}.h5" for path in folders] for role, split in splits.items()},
        }

    def clustering(self, w: of.OfSet) -> dict[str, Any]:
        """Settings of the segment clusters."""
        return to_plain(SegmentClusterSettings.parse(self.config.shared(w.dataset)))
