"""Which banks of a set exist already: complete ones below `bank_root` with the record of the bank that is asked for.

A record names the images (by the manifest) and the weights (by their hash). Where manifest or weights are not there
yet, the number of images and everything else has to agree, and neither the record nor the set's configuration may say
how deep pictures are treated, of which the black and white are not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.bank.format import content_hash, cut, read_record, shard_count, shard_name
from patchbank.bank.identity import values_code
from patchbank.bank.predecessors import same_values
from patchbank.bank.record import backbone_record, depth_record, recipe_record
from patchbank.bank.settings import ExtractSettings
from patchbank.config.config import Config
from patchbank.config.plan.paths import manifest as manifest_of
from patchbank.datasets.depth import Treatment
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.views.base import RecipeProtocol

ENCODER = "patchbank.backbones.vit"
"""Module of the encoder that extraction uses; its code is a part of every record."""
_SAID = {"images", "manifest", "backbone", "code", "precision", "dtype"}
"""What every record says besides what `read_record` asks for."""


@dataclass(frozen=True)
class Asked:
    """A bank that is asked for.

    Attributes:
        split: whose images.
        images: their number.
        recipe: the views.
        options: how it is made.
        coded: whether its tokens are small (`patchbank.bank.coding`).
    """

    split: str
    images: int
    recipe: RecipeProtocol
    options: ExtractSettings
    coded: bool


def bank_there(config: Config, dataset: str, bank: Asked) -> Path | None:
    """Folder of the bank, of which the pipeline would compute nothing; None where there is none."""
    recipe, said = bank.recipe.record()["name"], _said(config, dataset, bank)
    known = manifest_of(dataset)
    manifest = Manifest.load(known) if Path(known).is_file() else None
    if manifest is None and config.spec(dataset).treatment != Treatment():
        return None
    said |= {"images": bank.images, "shards": shard_count(bank.images, bank.options.images_per_shard)}
    said |= {} if manifest is None else {"manifest": manifest.fingerprint(bank.split), **depth_record(manifest)}
    for file in sorted(Path(config.bank_root, dataset, bank.split).glob(f"*/{recipe}-*/bank.json")):
        record = _record(file)
        if record is not None and _is(record, said, bank) and _whole(file.parent, record):
            return file.parent
    return None


def _record(file: Path) -> dict[str, Any] | None:
    """The content of a `bank.json`; None of a damaged one, which is no bank: extraction writes it anew."""
    try:
        _, record = read_record(file)
    except UserError:
        return None
    return record if set(record) >= _SAID and isinstance(record["backbone"], dict) else None


def _whole(folder: Path, record: dict[str, Any]) -> bool:
    """Whether every shard with images is a file."""
    shards = enumerate(cut(record["ids"], record["shards"]))
    return all((folder / shard_name(index)).is_file() for index, ids in shards if ids)


def _said(config: Config, dataset: str, bank: Asked) -> dict[str, Any]:
    """What is known of the record before weights are there."""
    spec = config.backbone(config.backbone_name(dataset))
    facts = spec.facts
    assert facts is not None  # stages of unknown models are refused before
    weights = Path("results", "weights", spec.name, "weights.json")
    known = {"sha256": read_json(weights)["sha256"]} if weights.is_file() else {}
    return {
        "code": values_code(ENCODER, type(bank.recipe).__module__),
        "recipe": recipe_record(bank.recipe, facts.class_token),
        "precision": bank.options.precision,
        "dtype": bank.options.dtype if bank.coded else bank.options.features,
        "backbone": {**backbone_record(spec, spec.block % facts.depth), **known},
    }


def _is(record: dict[str, Any], said: dict[str, Any], bank: Asked) -> bool:
    """Whether a bank's record says the same, or is of a predecessor with the same values."""
    if any(record[key] != said[key] for key in ("images", "manifest", "shards") if key in said):
        return False
    others = {key: value for key, value in record.items() if key != "depth"}
    wanted = {**others, **said, "backbone": {**record["backbone"], **said["backbone"]}}
    directions = bank.options.coding.pca if bank.coded and bank.options.coding is not None else None
    return record.get("coding", {}).get("pca") == directions and content_hash(record) in same_values(wanted)
