"""Sweeps: the encoders and blocks that a set is read at, and the set as it is seen at one of them.

A set at an encoder is called ``<set>/sweep/<encoder>``, e.g. ``msrc/sweep/dino_vits16-b8``; it has the set's images and
labels, and banks and rows of its own below ``results/<set>/sweep/<encoder>/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from patchbank.errors import UserError
from patchbank.evaluation import protocols
from patchbank.weights.spec import BackboneSpec, Read

MARK = "/sweep/"
LAST = "last"
"""The last block with the model's final norm, in place of a block's number."""
FIRST = 3
"""The first block that is read where the configuration names none: earlier ones hold colour and position."""
FITS = 2
"""K-means seeds of a training, the first of the set's: with three trainings six fits a row, at many encoders."""


def at(dataset: str, encoder: str) -> str:
    """Name of a set at an encoder."""
    return f"{dataset}{MARK}{encoder}"


def parted(dataset: str) -> tuple[str, str]:
    """The set and the encoder of such a name; of a set's own name the set, and nothing."""
    name, _, encoder = dataset.partition(MARK)
    return name, encoder


def encoders(specs: Sequence[BackboneSpec], blocks: Sequence[int | str]) -> dict[str, BackboneSpec]:
    """Every encoder of a sweep by its name, ``<backbone>-b<block>`` or ``<backbone>-last``.

    Blocks are read as the backbone's entry says (`norm`), `LAST` with the final norm where the model has one; what is
    read twice is listed once. All of a backbone are written in one pass (`BackboneSpec.blocks`).

    Args:
        specs: backbones.
        blocks: numbers of blocks, negative ones from the end, and `LAST`; none is from `FIRST` to the last, and `LAST`.

    Raises:
        UserError: a block does not exist, or how many there are is not known.
    """
    found: dict[str, BackboneSpec] = {}
    for spec in specs:
        names = {read: f"{spec.name}-{label}" for read, label in _reads(spec, blocks)}
        for read, name in names.items():
            found[name] = spec.at(read, names)
    return found


def _reads(spec: BackboneSpec, blocks: Sequence[int | str]) -> list[tuple[Read, str]]:
    """Where a backbone is read, and what each is called."""
    depth = None if spec.facts is None else spec.facts.depth
    if depth is None and (not blocks or any(block == LAST or int(block) < 0 for block in blocks)):
        raise UserError(
            f"sweep: how many blocks {spec.model} of backbone {spec.name} has is not known; give sweep.blocks as "
            "numbers from 0."
        )
    normed = spec.facts is None or spec.facts.norm == "norm"
    reads = []
    for block in blocks or [*range(min(FIRST, (depth or 1) - 1), depth or 1), LAST]:
        number = int(depth or 0) - 1 if block == LAST else int(block)
        if depth is not None and not -depth <= number < depth:
            raise UserError(f"sweep.blocks: {block} does not exist, {spec.model} has 0..{depth - 1}.")
        number = number % depth if depth else number
        norm = (block == LAST and normed) or spec.norm
        reads.append(((number, norm), LAST if block == LAST else f"b{number}"))
    return reads


def first_of_pass(known: Mapping[str, BackboneSpec], encoder: str) -> str:
    """The encoder whose extraction writes the bank of this one too; itself where no earlier one does."""
    return next(name for name, other in known.items() if other.name == known[encoder].name)


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """A set's configuration with the rows of its sweep: few clusters, and the protocols that need no more of them."""
    sweep, methods = values["sweep"], values["methods"]
    rows = {
        name: {**{k: v for k, v in methods.get(name, {}).items() if k != "postprocess"}, **entry}
        for name, entry in sweep["methods"].items()
    }
    kept = [name for name in dict.fromkeys([*values["protocols"], sweep["protocol"]]) if _is_cheap(name)]
    return {
        **values,
        "methods": rows,
        "protocols": kept,
        "kmeans_seeds": values["kmeans_seeds"][:FITS],
        "clustering": {**values["clustering"], "overcluster": []},
    }


def _is_cheap(name: str) -> bool:
    protocol = protocols.get(name)
    return protocol.labels == "class" and protocol.clusters != "more"
