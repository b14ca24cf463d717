"""Bytes and seconds of the stages of a set, from its configuration, its number of images and measured rates.

Bytes of a bank are exact: the shapes of its rows come from the recipe that would write them. Seconds are the work of a
stage divided by a measured rate (`rates.yaml`), and None where none was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from patchbank.backbones.encoder import Encoder
from patchbank.bank.encode import row_shapes
from patchbank.bank.format import row_bytes
from patchbank.bank.settings import ExtractSettings
from patchbank.config.config import Config
from patchbank.config.plan.code import Code
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.stages import Stages
from patchbank.datasets.manifest import find
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.methods.contract import Method, training_steps
from patchbank.plain import from_plain
from patchbank.planning.there import Asked, bank_there
from patchbank.views import dense
from patchbank.views.base import EncodingRecipe, make_recipe
from patchbank.views.bounds import WITHOUT_ENCODER
from patchbank.weights.facts import ModelFacts
from patchbank.yaml_text import parse_yaml

RATES = Path(__file__).parent / "rates.yaml"
STEP = 32 * 3 * 256 * 384
"""Tokens x width of the step that the rates of AlignSeg were measured with."""
BY_ITSELF = ("lastblock", "dense", *WITHOUT_ENCODER)
"""Recipes that encode by themselves and whose passes are counted: one a view, like most, shift^2, or none."""


@dataclass(frozen=True)
class Stage:
    """What one stage costs.

    Attributes:
        name: for people.
        size: bytes that stay on disk.
        seconds: of all its jobs one after the other; None where no rate was measured.
        there: folder of a bank that is complete already, which takes no more bytes and no time.
    """

    name: str
    size: int
    seconds: float | None
    there: Path | None = None


@dataclass(frozen=True)
class Machine:
    """What computes.

    Attributes:
        device: a name of `rates.yaml`.
        cores: CPU cores.
    """

    device: str
    cores: int

    def rate(self, kind: str, precision: str = "") -> float | None:
        """A measured rate; without a GPU in proportion to the cores."""
        table = rates()[self.device]
        value = table.get(kind)
        value = value.get(precision) if isinstance(value, Mapping) else value
        if value is None:
            return None
        return float(value) * (self.cores / table["cores"] if self.device == "cpu" else 1.0)


@cache
def rates() -> dict[str, Any]:
    """The table of measured rates."""
    table: dict[str, Any] = parse_yaml(RATES.read_text(encoding="utf-8"))
    return table


def devices() -> list[str]:
    """Devices with measured rates."""
    return [name for name in rates() if name != "counting"]


def images_of(config: Config, dataset: str) -> tuple[dict[str, int], str]:
    """Number of images of every split, and where it is known from; nothing is decoded.

    Raises:
        UserError: the set is not on disk, and no number of it is published.
    """
    manifest = Path("results", dataset, "manifest.json")
    spec = config.spec(dataset)
    if manifest.is_file():
        splits = read_json(manifest)["splits"]
        return {split: len(entries) for split, entries in splits.items()}, str(manifest)
    if (generated := config.generated(dataset)) is not None:
        return {split: int(generated[split]) for split in ("train", "val")}, "the configuration"
    try:
        return {split: len(items) for split, items in find(spec).items()}, str(spec.root)
    except UserError:
        if set(spec.splits) - set(spec.published):
            raise
        return {split: spec.published[split] for split in spec.splits}, "published numbers (the set is not on disk)"


def stages_of(config: Config, dataset: str, images: Mapping[str, int], machine: Machine) -> list[Stage]:
    """The stages of a set that cost bytes or hours: its banks, trainings and counts."""
    rows = Rows(config, cast(Any, None))  # only rows that are known before anything is predicted
    stages = Stages(rows, Code("scripts"))
    methods = [rows.method(dataset, name) for name in rows.fixed(dataset)]
    pointers = {stages.train_bank(SimpleNamespace(dataset=dataset))}
    for method in methods:
        of = SimpleNamespace(dataset=dataset, method=method.name)
        pointers |= set(stages.prediction_banks(of))
        pointers |= set(stages.training_banks(of).values()) if _trained_here(method) else set()
    banks = sorted({(split, recipe) for split, _, recipe in (Path(p).stem.rpartition("-") for p in pointers)})
    settings = {}
    for split, recipe in banks:
        given = SimpleNamespace(dataset=dataset, split=split, recipe=recipe)
        settings[split, recipe] = from_plain(ExtractSettings, stages.extract_settings(given))
    found = [_bank(config, dataset, bank, settings[bank], images[bank[0]], machine) for bank in banks]
    train = images[config.splits(dataset)["train"]]
    found += [_training(config, dataset, method, train, machine) for method in methods if _trained_here(method)]
    scored = images[config.splits(dataset)["eval"]]
    counting = rates()["counting"]
    per_second = counting["pictures"] * machine.cores / counting["cores"]
    counts = sum(len(method.seeds) for method in methods)
    return [*found, Stage(f"counting of {counts} predictions", 0, counts * scored / per_second)]


def _trained_here(method: Method) -> bool:
    return method.traits.trained and method.trained in ("", method.name) and not method.source


def _bank(
    config: Config, dataset: str, bank: tuple[str, str], options: ExtractSettings, images: int, machine: Machine
) -> Stage:
    spec = config.backbone(config.backbone_name(dataset))
    facts = spec.facts
    if facts is None:
        raise UserError(f"{spec.name}: {spec.model} is not in the tables of known models, so its bytes are not known.")
    recipe = make_recipe(options.recipe, options.recipe_settings, facts.patch)
    encoder = cast(Encoder, _Encoder(facts))
    shapes = row_shapes(encoder, recipe, np.dtype(options.features))
    if options.coding is not None and "tokens" in shapes:
        *views, dim = shapes["tokens"][0]
        shapes["tokens"] = ((*views, options.coding.pca or dim), np.dtype(options.dtype))
    title, coded = f"bank {'-'.join(bank)}", options.coding is not None and "tokens" in shapes
    if (there := bank_there(config, dataset, Asked(bank[0], images, recipe, options, coded))) is not None:
        return Stage(title, 0, 0.0, there)
    by_itself = isinstance(recipe, EncodingRecipe)
    reads = {(block % facts.depth, norm) for block, norm in (spec.read, *(() if by_itself else spec.blocks))}
    size = images * recipe.draws * row_bytes(shapes) * len(reads)
    tflops, pictures = machine.rate("tflops", options.precision), machine.rate("pictures")
    if tflops is None or pictures is None or (by_itself and options.recipe not in BY_ITSELF):
        return Stage(title, size, None)
    h, w = recipe.size
    tokens = (h // facts.patch) * (w // facts.patch) + facts.prefix
    depth = max(reads)[0] + 1
    one_pass = depth * (24 * tokens * facts.width**2 + 4 * tokens**2 * facts.width)
    passes = images * recipe.draws * recipe.views
    if isinstance(recipe, dense.Recipe):
        passes *= recipe.shift**2
    elif options.recipe in WITHOUT_ENCODER:
        passes = 0
    encoding, reading = passes * one_pass / (tflops * 1e12), images / pictures
    # beside a GPU the processors decode while it encodes, without one they do both
    return Stage(title, size, encoding + reading if machine.device == "cpu" else max(encoding, reading))


def _training(config: Config, dataset: str, method: Method, images: int, machine: Machine) -> Stage:
    title = f"{len(method.seeds)} trainings of {method.name}"
    rate, known = machine.rate(method.folder), training_steps(method.folder, method.settings, images)
    if rate is None or known is None:
        return Stage(title, 0, None)
    steps, size = known
    facts = config.backbone(config.backbone_name(dataset)).facts
    crops = make_recipe("multicrop", config.recipe(dataset, "multicrop"), facts.patch if facts else 1)
    h, w = crops.size
    step = size * crops.views * (h // (facts.patch if facts else 1)) * (w // (facts.patch if facts else 1))
    return Stage(title, 0, len(method.seeds) * steps / rate * step * (facts.width if facts else 1) / STEP)


@dataclass(frozen=True)
class _Encoder:
    """What the shapes of rows ask of an encoder, from the tables of models."""

    facts: ModelFacts

    @property
    def dim(self) -> int:
        return self.facts.width

    @property
    def heads(self) -> int:
        return self.facts.heads

    @property
    def patch(self) -> int:
        return self.facts.patch

    @property
    def class_token(self) -> bool:
        return self.facts.class_token

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.facts.patch, width // self.facts.patch
