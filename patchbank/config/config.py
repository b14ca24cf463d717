"""The configuration: completed with defaults, and asked by every rule.

`Config` is built from `config.yaml` (plus ``--config``) and the schema. It knows nothing of Snakemake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patchbank.config import sweeps
from patchbank.config.after import joined
from patchbank.config.encoders import backbone_spec, with_normalisation
from patchbank.config.folders import SCHEMA, read_shipped
from patchbank.config.own_folder import with_own_folder
from patchbank.config.schema import complete, expand_paths, merge
from patchbank.datasets.spec import DatasetSpec, SetValues, make_spec
from patchbank.errors import UserError
from patchbank.evaluation import postprocessing
from patchbank.files import digest
from patchbank.methods import contract
from patchbank.methods.contract import Method
from patchbank.names import dataset_of
from patchbank.oracle import splits
from patchbank.weights.spec import BackboneSpec
from patchbank.yaml_text import parse_yaml

AUTO = "auto"
UNLABELLED = 27
"""Clusters of a set without classes where the configuration gives no number."""


@dataclass(frozen=True)
class Ablation:
    """One factor of a method at a time.

    Attributes:
        name: of the ablation, and of its target ``ablate_<name>``.
        method: row of `methods` that is varied.
        datasets: sets it runs on.
        floors: floors that stand beside every row, at the number of segments that it uses.
        rows: name -> `factor`, changed `settings`, and `suffix` of the sets whose banks are read instead; the first
            row is what the others are compared with.
    """

    name: str
    method: str
    datasets: tuple[str, ...]
    floors: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Any]]


class Config:
    """A configuration that is complete and fits its schema; `patchbank.config.load.checked` looks further.

    Args:
        values: the merged configuration.
        schema: the JSON schema.

    Raises:
        UserError: with every problem, when a key is unknown or a type is wrong.

    Attributes:
        suggested: the K of a set whose `clustering.k` is `AUTO` (`patchbank.criteria.k`), None where none is suggested;
            `UNLABELLED` until it is set.
    """

    def __init__(self, values: Mapping[str, Any], schema: Mapping[str, Any] | None = None) -> None:
        self._schema = schema if schema is not None else shipped_schema()
        completed = expand_paths(complete(values, self._schema), self._schema)
        self.values = with_own_folder(with_normalisation(completed))
        self._resolved: dict[str, dict[str, Any]] = {}
        self._specs: dict[str, DatasetSpec] = {}
        self._methods: dict[tuple[str, tuple[int, ...]], list[Method]] = {}
        self._sweeps: dict[str, dict[str, BackboneSpec]] = {}
        self.suggested: Callable[[str], int | None] = lambda _: UNLABELLED

    @property
    def datasets(self) -> list[str]:
        """Names of all configured sets."""
        return sorted(self.values["datasets"])

    @property
    def own(self) -> tuple[str, Path] | None:
        """Name of the results of `folder`, and the folder."""
        folder, name = self.values["folder"], self.values["name"]
        return None if folder is None else (name, Path(self.values["datasets"][name]["root"]))

    @property
    def enabled(self) -> list[str]:
        """Sets that `all` runs."""
        return list(self.values["all"])

    @property
    def bank_root(self) -> str:
        """Folder for banks."""
        return str(Path(self.values["bank_root"]))

    def of(self, dataset: str) -> dict[str, Any]:
        """The configuration as one set sees it: the global values, changed by the set's own `settings`.

        A set at an encoder of its sweep (`patchbank.config.sweeps`) has the rows of the sweep.
        """
        name, encoder = sweeps.parted(dataset)
        if encoder and dataset not in self._resolved:
            self._resolved[dataset] = sweeps.settings(self.of(name))
        if dataset not in self._resolved:
            changes = self.values["datasets"][dataset]["settings"]
            # what the set leaves alone is complete and checked already
            changed = merge({key: self.values[key] for key in changes if key in self.values}, changes)
            checked = complete(changed, {**self._schema, "required": []})
            values = {**self.values, **{key: checked[key] for key in changed}}
            # a settings file leaves a method of config.yaml out by setting it to null, whatever a set changes in it
            left_out = {name for name, entry in self.values["methods"].items() if entry is None}
            values["methods"] = {
                name: entry for name, entry in values["methods"].items() if entry is not None and name not in left_out
            }
            self._resolved[dataset] = values
        return self._resolved[dataset]

    def generated(self, dataset: str) -> dict[str, Any] | None:
        """Settings of the rule that makes the set, or None for a set that has to be on disk."""
        arguments: dict[str, Any] | None = self.values["datasets"][dataset].get("generated")
        return arguments

    def spec(self, dataset: str) -> DatasetSpec:
        """The set as the datasets room knows it."""
        dataset, _ = sweeps.parted(dataset)
        if dataset not in self._specs:
            self._specs[dataset] = self._make_spec(dataset)
        return self._specs[dataset]

    def _make_spec(self, dataset: str) -> DatasetSpec:
        entry = self.values["datasets"][dataset]
        root = Path("results", dataset, "data")
        if self.generated(dataset) is None:
            root = Path(self.values["data_root"]) / entry.get("root", dataset)
        given = {key: entry[key] for key in SetValues.__annotations__ if key in entry}
        return make_spec(dataset, entry["layout"], root, **given)

    def backbone_name(self, dataset: str) -> str:
        """The backbone that a set uses."""
        return str(self.values["backbone"] or self.values["datasets"][dataset]["backbone"])

    def backbone(self, name: str) -> BackboneSpec:
        """A backbone by its name; its local `file` comes before its sources."""
        entry = dict(self.values["backbones"][name])
        file = entry.pop("file", None)
        sources = ([{"kind": "file", "path": file}] if file else []) + list(entry.pop("sources"))
        return backbone_spec(name, {**entry, "sources": sources})

    def sweep(self, dataset: str) -> dict[str, BackboneSpec]:
        """The encoders that a set is swept over, by their names.

        Raises:
            UserError: a block that does not exist, or nobody knows which do.
        """
        if dataset not in self._sweeps:
            asked = self.of(dataset)["sweep"]
            names = asked["backbones"] or [self.backbone_name(dataset)]
            self._sweeps[dataset] = sweeps.encoders([self.backbone(name) for name in names], asked["blocks"])
        return self._sweeps[dataset]

    def encoder(self, dataset: str) -> BackboneSpec:
        """The encoder that a set is read with, or that of a set at an encoder of its sweep.

        Raises:
            UserError: the sweep has no such encoder.
        """
        name, encoder = sweeps.parted(dataset)
        if not encoder:
            return self.backbone(self.backbone_name(name))
        known = self.sweep(name)
        if encoder not in known:
            raise UserError(f"sweep_{name}: {encoder!r} is not one of {', '.join(known)}.")
        return known[encoder]

    def splits(self, dataset: str) -> dict[str, str]:
        """Names of the splits by role: ``train``, ``eval`` and ``fit``."""
        spec = self.spec(dataset)
        fit = spec.train_split if self.of(dataset)["fit"] == "train" else spec.eval_split
        return {"train": spec.train_split, "eval": spec.eval_split, "fit": fit}

    def training_banks(self, dataset: str, method: Method, results: str = "results") -> dict[str, str]:
        """Pointers of the banks that training reads, by recipe: `fit` says where clusters come from, not heads."""
        split = self.splits(dataset)["fit" if method.traits.fitted else "train"]
        return {recipe: f"{results}/{dataset}/bank/{split}-{recipe}.json" for recipe in method.traits.recipes}

    def clusters(self, dataset: str) -> list[int]:
        """Numbers of clusters, the one of the protocols with K = classes first; `AUTO` is of sets without classes."""
        options, classes = self.of(dataset)["clustering"], len(self.spec(dataset).classes)
        asked = None if options["k"] == AUTO else options["k"]
        if self.asks_for_k(dataset):
            asked = self.suggested(sweeps.parted(dataset)[0])
        k = asked or classes or UNLABELLED
        return [k, *(other for other in options["overcluster"] if other != k)]

    def asks_for_k(self, dataset: str) -> bool:
        """Whether a set's number of clusters is the suggested one: it has no classes and asks for it."""
        return self.of(dataset)["clustering"]["k"] == AUTO and not self.spec(dataset).classes

    def shared(self, dataset: str) -> dict[str, Any]:
        """What every k-means of a set has in common."""
        seeds = list(self.of(dataset)["kmeans_seeds"])
        return {"k": self.clusters(dataset), "kmeans_seeds": seeds, **self.fitting(dataset)}

    def fitting(self, dataset: str) -> dict[str, Any]:
        """What is done to points before k-means, and how it is fitted, whatever the number of clusters."""
        options = self.of(dataset)["clustering"]
        return {
            "centre": options["centre"],
            "projection": {key: options[key] for key in ("pca", "whiten", "normalise")},
            "kmeans": {"niter": options["niter"], "nredo": options["nredo"]},
        }

    def methods(self, dataset: str) -> list[Method]:
        """Methods of a set, in the order of the configuration."""
        key = (dataset, tuple(self.clusters(dataset)))
        if key not in self._methods:
            known = {name: self._entry(dataset, name, name, {}) for name in self.of(dataset)["methods"]}
            self._methods[key] = [joined(method, known) for method in known.values()]
        return self._methods[key]

    def postprocessed(self, dataset: str) -> list[Method]:
        """Rows ``<method>+<option>`` of the methods that ask for them.

        An option with features of its own predicts with the method's checkpoint; every other one is another count of
        the method's predictions.
        """
        rows = []
        for method in self.methods(dataset):
            for option in self.of(dataset)["methods"][method.name].get("postprocess", ()):
                row = replace(method, name=f"{method.name}+{option}", postprocess=option)
                features = postprocessing.named(option).features
                predicted = replace(row, trained=method.name, features=features) if features else None
                rows.append(predicted or replace(row, source=method.name))
        return rows

    def recipe(self, dataset: str, name: str) -> dict[str, Any]:
        """Settings of a recipe."""
        settings: dict[str, Any] = self.of(dataset)["recipes"][postprocessing.settings_recipe(name)]
        return settings

    def _entry(self, dataset: str, entry: str, row: str, changes: Mapping[str, Any]) -> Method:
        """An entry of `methods` as the row `row`, with changed settings."""
        options = self.of(dataset)
        written = options["methods"][entry]
        values = {key: value for key, value in written.items() if key not in ("kind", "seeds", "postprocess", "oracle")}
        values |= dict(changes)
        folder = str(written.get("kind", entry)).replace("-", "_")
        of = contract.Row(folder, contract.traits(folder), values)
        method = contract.resolve(row, of, self._shared(dataset, of), tuple(written.get("seeds", options["seeds"])))
        told = written.get("oracle", {}).items()
        used = [split for split, where in told if all(method.settings.get(k) == v for k, v in where.items())]
        return replace(method, oracle=splits(*used))

    def _shared(self, dataset: str, row: contract.Row) -> dict[str, Any]:
        """What `resolve` is told of the rest of the configuration."""
        return {**self.shared(dataset), "recipes": {name: self.recipe(dataset, name) for name in row.traits.needs}}

    def floor(self, dataset: str, name: str) -> Method:
        """A floor or ceiling by its name, ``<floor>-<segments>`` for one at a number of segments."""
        row, seeds = contract.row_named(name), self.of(dataset)["seeds"]
        return contract.resolve(name, row, self._shared(dataset, row), seeds[:1] if row.traits.one_seed else seeds)

    def standing(self, dataset: str) -> list[str]:
        """Names of the floors and ceilings that are known before anything is predicted."""
        options, known = self.of(dataset), contract.rows()
        floors = [name for name in options["floors"] if not known[name].traits.at_counts]
        names = floors + (list(options["ceilings"]) if self.spec(dataset).classes else [])
        return [name for name in names if name not in options["methods"]]

    def counted_floors(self, dataset: str) -> list[str]:
        """Floors that stand at the methods' numbers of segments, without a number."""
        known = contract.rows()
        return [name for name in self.of(dataset)["floors"] if known[name].traits.at_counts]

    def method(self, dataset: str, name: str) -> Method:
        """A method, with post-processing or without, or a floor by its name."""
        known = [*self.methods(dataset), *self.postprocessed(dataset)]
        return next((m for m in known if m.name == name), None) or self.floor(dataset, name)

    def asked(self, dataset: str, name: str) -> bool:
        """Whether a row is an entry of `methods`: every other one may be left out (`patchbank.left_out`)."""
        return name in self.of(dataset)["methods"]

    def ablation(self, name: str) -> Ablation:
        """An ablation by its name under `ablations`."""
        entry = self.values["ablations"][name]
        return Ablation(name, entry["method"], tuple(entry["datasets"]), tuple(entry["floors"]), entry["rows"])

    def ablation_set(self, ablation: Ablation, dataset: str, row: str) -> str:
        """The set whose bank a row reads: the set itself, or one of the same images that the row names."""
        return dataset + str(ablation.rows.get(row, {}).get("suffix", ""))

    def ablation_row(self, ablation: Ablation, dataset: str, row: str) -> Method:
        """A row of an ablation: the method with the row's changes, or a floor by its name."""
        if row not in ablation.rows:
            return self.floor(dataset, row)
        method = self._entry(dataset, ablation.method, row, ablation.rows[row].get("settings", {}))
        if not method.after:
            return method
        return joined(method, {one.name: one for one in self.methods(self.ablation_set(ablation, dataset, row))})

    def named_set(self) -> str | None:
        """The set whose clusters `names` names: the one that the file says, else that of `folder`; None without names.

        Raises:
            UserError: the file cannot be read, or says no set that there is.
        """
        path = self.values["names"]
        if path is None:
            return None
        said = dataset_of(path) or (None if self.own is None else self.own[0])
        if said not in self.values["datasets"]:
            whose = said or "a set that it does not say"
            raise UserError(
                f"{path} names clusters of {whose}; write `dataset: SET` in it, or give folder=DIR as well."
            )
        return said

    def shaping(self, dataset: str) -> dict[str, Any]:
        """The part of a set's configuration that shapes its results; what suggests K only where it is asked for."""
        apart = {"all", "data_root", "bank_root", "datasets", "backbones", "backbone", "ablations", "gallery"}
        apart |= {"folder", "name", "names", "classes", "label_map", "depth", "tiles", "sweep", "criteria"}
        options = self.of(dataset)
        shaping = {key: value for key, value in options.items() if key not in apart}
        if self.asks_for_k(dataset):
            criteria = {key: value for key, value in options["criteria"].items() if key != "mirrored"}
            return {**shaping, "criteria": criteria}
        unasked = {key: value for key, value in options["clustering"].items() if key != "k_candidates"}
        return {**shaping, "clustering": unasked}

    def digest(self, dataset: str) -> str:
        """Hash of everything that shapes the results of one set."""
        name = self.backbone_name(dataset)
        entry = self.values["datasets"][dataset]
        return digest([self.shaping(dataset), entry, name, self.values["backbones"][name]])


def shipped_schema() -> dict[str, Any]:
    """The schema of every configuration."""
    schema: dict[str, Any] = parse_yaml(read_shipped(SCHEMA))
    return schema
