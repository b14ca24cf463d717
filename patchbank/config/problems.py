"""What is wrong with a configuration beyond its schema: names that do not exist, values that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from patchbank.clustering.projection import ProjectionSettings
from patchbank.config import sweeps
from patchbank.config.config import Config
from patchbank.config.own_folder import RESERVED
from patchbank.datasets.layouts import check_layout
from patchbank.errors import UserError
from patchbank.evaluation import postprocessing
from patchbank.methods import contract
from patchbank.methods.contract import Method
from patchbank.views.bounds import recipe_problems

ALL_CHANNELS = frozenset({"lastblock", "windows"})
"""Recipes that store what the encoder says in its own channels and no tokens; `extract.pca` does not reach them."""


def problems(config: Config) -> Iterator[str]:
    """One sentence for each problem."""
    yield from _of_ablations(config)
    yield from _of_names(config)
    for name in config.enabled:
        if name not in config.values["datasets"]:
            yield f"all: {name!r} is not one of the datasets ({', '.join(config.datasets)})"
    for name, entry in config.values["datasets"].items():
        if name in RESERVED:
            yield f"datasets.{name}: the name is taken by a folder of results/; choose another"
        if "generated" in entry and name != "demo":
            yield f"datasets.{name}.generated: only the embedded set demo is generated"
    chosen = config.values["backbone"]
    for name in config.datasets:
        backbone = chosen or config.values["datasets"][name]["backbone"]
        if backbone not in config.values["backbones"]:
            where = "backbone" if chosen else f"datasets.{name}.backbone"
            yield f"{where}: {backbone!r} is not one of the backbones ({', '.join(config.values['backbones'])})"
        try:
            config.of(name)
            for method in config.methods(name):
                yield from (f"datasets.{name}: {problem}" for problem in _of_postprocessing(config, name, method))
            few, *more = config.clusters(name)
            if "overcluster" in config.of(name)["protocols"] and not more:
                yield f"datasets.{name}: overcluster has no K; give one other than {few} in clustering.overcluster"
            yield from _of_floors(config, name)
            yield from _of_sweep(config, name)
            shift = config.recipe(name, "whole")["shift"]
            if shift > 1 and config.of(name)["criteria"]["mirrored"]:
                yield (
                    f"datasets.{name}: recipes.whole.shift is {shift}, and criteria.mirrored compares it with the "
                    "plain grid of mirror images; choose one of them"
                )
            ProjectionSettings(**config.shared(name)["projection"])
            spec = config.spec(name)
            check_layout(spec)
            sizes = {config.of(name)["preprocessing"], *config.of(name)["score_at"]}
            if spec.label_rule == "sequential" and sizes != {"squash_448_100"}:
                wanted = "preprocessing must be squash_448_100 and score_at empty"
                yield f"datasets.{name}: its table maps masks of 448x448, so {wanted}"
            for recipe, settings in config.of(name)["recipes"].items():
                yield from (f"datasets.{name}: recipes.{recipe}.{problem}" for problem in recipe_problems(settings))
            if backbone in config.values["backbones"]:
                yield from _of_encoder(config, name, backbone, config.methods(name))
        except UserError as error:
            yield f"datasets.{name}: {error}"


def _of_names(config: Config) -> Iterator[str]:
    try:
        name = config.named_set()
    except UserError as error:
        yield f"names: {error}"
        return
    if name is not None and config.spec(name).classes:
        yield f"names: {config.values['names']} names clusters of {name}, whose clusters have the names of its classes"


def _of_postprocessing(config: Config, dataset: str, method: Method) -> Iterator[str]:
    reads, shift = method.traits.reads, config.recipe(dataset, "whole")["shift"]
    if shift > 1 and "mirrored" in reads:
        yield f"{method.name} reads the mirror image's plain grid (mirror: true), and recipes.whole.shift is {shift}"
    for option in config.of(dataset)["methods"][method.name].get("postprocess", ()):
        features = postprocessing.named(option).features
        if features and "whole" not in reads:
            yield f"{method.name} reads no tokens, which {option} would change"
        elif features and shift > 1:
            yield f"recipes.whole.shift is {shift}, and {option} averages tokens of the plain grid; choose one of them"
        elif features and "mirrored" in reads:
            yield (
                f"{method.name} averages scores with those of the mirror image (mirror: true), and {option} tokens "
                "with it; choose one of them"
            )


def _of_encoder(config: Config, dataset: str, backbone: str, methods: list[Method], where: str = "") -> Iterator[str]:
    """What methods ask of an encoder that it does not have; nothing of one that only building could tell."""
    facts, pca = config.backbone(backbone).facts, config.of(dataset)["extract"]["pca"]
    if facts is None:
        return
    if pca >= facts.width:
        yield (
            f"datasets.{dataset}: {where}extract.pca is {pca}, and tokens of {backbone} have a width of {facts.width}; "
            "name fewer directions, or 0 to keep all channels"
        )
        return
    for method in methods:
        contract.check_width(method.folder, method.settings, pca or facts.width)
        whole = sorted(ALL_CHANNELS.intersection({*method.traits.recipes, *method.traits.reads}))
        listed = " and ".join(whole)
        if pca and whole:
            yield (
                f"datasets.{dataset}: {where}{method.name} reads {listed}, which hold all channels of {backbone}, "
                f"beside tokens of {pca} directions (extract.pca); leave pca or the method out"
            )
        missing = "" if facts.class_token else contract.needs_class_token(method.folder, method.settings)
        if missing:
            yield f"datasets.{dataset}: {where}{backbone} has no class token, and {method.name}: {missing}"


def _of_floors(config: Config, dataset: str) -> Iterator[str]:
    known = contract.rows()
    kinds = {
        "floors": [name for name, row in known.items() if row.traits.floor],
        "ceilings": [name for name, row in known.items() if row.traits.ceiling],
    }
    for kind, names in kinds.items():
        for name in config.of(dataset)[kind]:
            if name not in names:
                yield f"datasets.{dataset}: {kind}: {name!r} is not one of {', '.join(names)}"
            else:
                config.floor(dataset, f"{name}-2" if known[name].traits.at_counts else name)


def _of_sweep(config: Config, dataset: str) -> Iterator[str]:
    """Rows and backbones of the sweep; which blocks there are is asked when a sweep is."""
    sweep, known = config.of(dataset)["sweep"], contract.rows()
    for name in sweep["backbones"]:
        if name not in config.values["backbones"]:
            listed = ", ".join(config.values["backbones"])
            yield f"datasets.{dataset}: sweep.backbones: {name!r} is not one of the backbones ({listed})"
    swept = sweeps.at(dataset, "any")
    rows = config.methods(swept)
    for name in sweep["backbones"] or [config.backbone_name(dataset)]:
        if name in config.values["backbones"]:
            yield from _of_encoder(config, dataset, name, rows, "sweep: ")
    for name in sweep["beside"]:
        row = contract.row_named(name)
        if not row.traits.floor and not row.traits.ceiling:
            listed = ", ".join(name for name, of in known.items() if of.traits.floor or of.traits.ceiling)
            yield f"datasets.{dataset}: sweep.beside: {name!r} is neither a floor nor a ceiling ({listed})"
        config.floor(swept, name)


def _of_ablations(config: Config) -> Iterator[str]:
    for name in config.values["ablations"]:
        ablation, known = config.ablation(name), contract.rows()
        for floor in ablation.floors:
            if floor not in known or not known[floor].traits.floor:
                listed = ", ".join(row for row, of in known.items() if of.traits.floor)
                yield f"ablations.{name}.floors: {floor!r} is not one of {listed}"
        for dataset in ablation.datasets:
            for row in ablation.rows:
                source = config.ablation_set(ablation, dataset, row)
                if source not in config.values["datasets"] or dataset not in config.values["datasets"]:
                    yield f"ablations.{name}.{row}: {source!r} is not one of the datasets"
                    continue
                if ablation.method not in config.of(dataset)["methods"]:
                    yield f"ablations.{name}.method: {ablation.method!r} is not one of the methods"
                    continue
                try:
                    method = config.ablation_row(ablation, dataset, row)
                    backbone = config.backbone_name(source)
                    if backbone in config.values["backbones"]:
                        yield from _of_encoder(config, source, backbone, [method], f"ablations.{name}.{row}: ")
                except UserError as error:
                    yield f"ablations.{name}.{row}: {error}"
