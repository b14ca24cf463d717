"""What timm says of models and of their pretrained weights, as tables, because importing timm takes seconds.

`models.csv` has every model of `patchbank.weights.readable`, `tags.csv` their pretrained tags; `tests/timm_tables.py`
writes both, a test compares them with timm. A name that is in neither is new: only building it tells what it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "tables"
MODELS, TAGS = FOLDER / "models.csv", FOLDER / "tags.csv"

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ModelFacts:
    """A model.

    Attributes:
        depth: number of blocks.
        width: D of its tokens.
        heads: attention heads.
        patch: side in pixels.
        prefix: tokens before those of the patches.
        class_token: whether the first of them is one.
        norm: where the final norm stands: before pooling (``norm``, which `BackboneSpec.norm` applies), after it
            (``fc_norm``, which is applied to pooled tokens and never to patches), or nowhere.
    """

    depth: int
    width: int
    heads: int
    patch: int
    prefix: int
    class_token: bool
    norm: Literal["norm", "fc_norm", "none"]


@dataclass(frozen=True)
class TagFacts:
    """Pretrained weights.

    Attributes:
        mean, std: input normalisation of RGB values in [0, 1].
        size: side in pixels that they were trained at.
        licence: as timm states it.
    """

    mean: Triple
    std: Triple
    size: int
    licence: str


def model_facts(model: str) -> ModelFacts | None:
    """Facts of timm's model of that name, with or without a tag; None where the table does not have it."""
    return _models().get(model.split(".")[0])


def tag_facts(tag: str) -> TagFacts | None:
    """Facts of timm's pretrained tag ``<model>.<weights>``; None where neither the table nor timm has it."""
    facts = _tags().get(tag)
    return _ask_timm(tag) if facts is None else facts


def stated(model: str, sources: Sequence[Mapping[str, Any]]) -> TagFacts | None:
    """What is known of the weights that some sources give.

    Args:
        model: timm's name.
        sources: as of `BackboneSpec`; the first `tag` among them says which weights these are, whichever answers.

    Returns:
        Facts of that tag; without one those that all of the model's tags share, None where they differ or there are
        none. Size and licence are then the first one's.
    """
    tags = [str(source["tag"]) for source in sources if "tag" in source]
    if tags:
        return tag_facts(tags[0])
    known = list(tags_of(model).values())
    return known[0] if len({(facts.mean, facts.std) for facts in known}) == 1 else None


def tags_of(model: str) -> dict[str, TagFacts]:
    """All pretrained tags of a model."""
    prefix = model.split(".")[0] + "."
    return {tag: facts for tag, facts in _tags().items() if tag.startswith(prefix)}


@cache
def _ask_timm(tag: str) -> TagFacts | None:
    from timm.models import get_pretrained_cfg

    try:
        tag_config: Any = get_pretrained_cfg(tag)
    except RuntimeError:  # no such model
        return None
    if tag_config is None or "." not in tag:
        return None
    return TagFacts(
        tuple(tag_config.mean), tuple(tag_config.std), int(tag_config.input_size[1]), tag_config.license or "unknown"
    )


@cache
def _models() -> dict[str, ModelFacts]:
    numbers = ("depth", "width", "heads", "patch", "prefix")
    return {
        row["model"]: ModelFacts(
            **{name: int(row[name]) for name in numbers},
            class_token=row["class_token"] == "1",
            norm=row["norm"],  # type: ignore[arg-type]
        )
        for row in _rows(MODELS)
    }


@cache
def _tags() -> dict[str, TagFacts]:
    return {
        row["tag"]: TagFacts(_triple(row["mean"]), _triple(row["std"]), int(row["size"]), row["licence"])
        for row in _rows(TAGS)
    }


def _triple(text: str) -> Triple:
    first, second, third = (float(value) for value in text.split())
    return first, second, third


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
