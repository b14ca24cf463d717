"""What computes, and what its ids mean: a checkpoint, a row that trains nothing, or a method without any set.

A row of results names everything: its checkpoint, or where nothing is trained its settings (in its predictions), the
statistics of its set and the encoder of its bank. Without a project a method's settings are those of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from patchbank.backbones.encoder import Precision
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.format import read_record
from patchbank.config.load import default_config
from patchbank.datasets.depth import Treatment
from patchbank.errors import UserError
from patchbank.files import digest, read_json, sha256_file
from patchbank.inference.encoder import WEIGHTS, Model, load_encoder, load_model
from patchbank.inference.inputs import CHECKPOINT, row_checkpoint, set_treatment
from patchbank.inference.naming import Naming, dataset_ids, head_ids, own_segments
from patchbank.inference.pictures import DIGITS
from patchbank.inference.tiled import set_tile
from patchbank.left_out import left_out_at
from patchbank.methods import contract
from patchbank.plain import to_plain
from patchbank.predictions import PredictionReader, PredictionRecord
from patchbank.weights.spec import BackboneSpec

ENCODER = ("name", "model", "block", "norm", "pos_embed", "mean", "std")
"""What tells encoders apart, as a bank's record has it."""


class Models(Protocol):
    """What computes."""

    def model(self) -> Model:
        """The method's model."""
        ...

    def encoder(self, model: Model, device: str, precision: Precision) -> FrozenViT:
        """The encoder that it reads."""
        ...

    def naming(self, model: Model) -> Naming:
        """What the ids of its segments mean."""
        ...

    def contents(self, backbone: str) -> dict[str, str | None]:
        """What tells it from others, by words; of files the beginning of the SHA-256. `backbone` names the encoder."""
        ...

    def treatment(self) -> Treatment | None:
        """How its set treats deep pictures, where it has one."""
        ...

    def tile(self) -> int | None:
        """Side of the tiles that its set's rasters were cut into, where they were."""
        ...

    def input_size(self) -> tuple[int, int] | None:
        """(H, W) to which its set's pictures were squashed, where it has one."""
        ...

    def grid(self) -> tuple[int, int] | None:
        """(h, w) of its predictions, where it has some."""
        ...


@dataclass(frozen=True)
class ModelFiles:
    """A checkpoint.

    Attributes:
        checkpoint: of a method that offers `infer.py`.
        weights: the encoder's weights, by default where the pipeline puts them.
        backbone: for a checkpoint that does not name its encoder.
        clusters: segment clusters; by default `clusters.npz` beside the checkpoint, where there is one.
        own_ids: keep ids inside each picture even where there are clusters.
    """

    checkpoint: str | Path
    weights: str | Path | None = None
    backbone: str | None = None
    clusters: str | Path | None = None
    own_ids: bool = False

    def model(self) -> Model:
        """See `Models`."""
        return load_model(self.checkpoint)

    def encoder(self, model: Model, device: str, precision: Precision) -> FrozenViT:
        """See `Models`."""
        return load_encoder(model, self.checkpoint, self.backbone, self.weights, device, precision)

    def naming(self, model: Model) -> Naming:
        """See `Models`."""
        clusters = _used(Path(self.checkpoint), self.clusters, self.own_ids)
        if clusters is not None:
            return dataset_ids(clusters, model.dim)
        if not self.own_ids and contract.traits(str(model.record["method"])).kind == "classes":
            return head_ids(self.checkpoint, model.record, model.segments)
        return own_segments(model.segments)

    def contents(self, backbone: str) -> dict[str, str | None]:
        """See `Models`."""
        weights = self.weights or WEIGHTS.format(name=backbone)
        used = _used(Path(self.checkpoint), self.clusters, self.own_ids)
        files = {"checkpoint": self.checkpoint, "weights": weights, "clusters": used}
        return {name: None if path is None else sha256_file(path)[:DIGITS] for name, path in files.items()}

    def treatment(self) -> Treatment | None:
        """See `Models`."""
        return set_treatment(self.checkpoint)

    def tile(self) -> int | None:
        """See `Models`."""
        return set_tile(self.checkpoint)

    def input_size(self) -> tuple[int, int] | None:
        """See `Models`."""
        read = _predictions(Path(self.checkpoint).parent)
        return None if read is None else read[0].input_size

    def grid(self) -> tuple[int, int] | None:
        """See `Models`."""
        read = _predictions(Path(self.checkpoint).parent)
        return None if read is None else read[1]


@dataclass(frozen=True)
class Untrained:
    """A row that trains nothing, or a method without a set.

    Attributes:
        title: how messages call it.
        record: `method` (the folder), `settings`, `seed` and `backbone`, as of a checkpoint.
        seed: folder of the row's results; None without a set.
        weights, clusters, own_ids: see `ModelFiles`.
    """

    title: str
    record: Mapping[str, Any] = field(repr=False)
    seed: Path | None = None
    weights: str | Path | None = None
    clusters: str | Path | None = None
    own_ids: bool = False

    def model(self) -> Model:
        """See `Models`."""
        return contract.make_model(self.record, self._statistics())

    def encoder(self, model: Model, device: str, precision: Precision) -> FrozenViT:
        """See `Models`."""
        return load_encoder(model, self.title, None, self.weights, device, precision)

    def naming(self, model: Model) -> Naming:
        """See `Models`."""
        clusters = self._clusters()
        return own_segments(model.segments) if clusters is None else dataset_ids(clusters, self._width(model))

    def contents(self, backbone: str) -> dict[str, str | None]:
        """See `Models`."""
        weights = self.weights or WEIGHTS.format(name=backbone)
        files = {"weights": weights, "clusters": self._clusters(), "statistics": self._statistics()}
        said = {name: None if path is None else sha256_file(path)[:DIGITS] for name, path in files.items()}
        named = {key: self.record[key] for key in ("method", "settings", "seed")}
        return {**said, "method": f"{self.record['method']} {digest(named)}"}

    def treatment(self) -> Treatment | None:
        """See `Models`."""
        return None if self.seed is None else set_treatment(self.seed / "clusters.npz")

    def tile(self) -> int | None:
        """See `Models`."""
        return None if self.seed is None else set_tile(self.seed / "clusters.npz")

    def input_size(self) -> tuple[int, int] | None:
        """See `Models`."""
        read = None if self.seed is None else _predictions(self.seed)
        return None if read is None else read[0].input_size

    def grid(self) -> tuple[int, int] | None:
        """See `Models`."""
        read = None if self.seed is None else _predictions(self.seed)
        return None if read is None else read[1]

    def _statistics(self) -> Path | None:
        return None if self.seed is None else self.seed.parent.parent / "statistics.npz"

    def _clusters(self) -> Path | None:
        if self.seed is None:
            return None if self.clusters is None or self.own_ids else Path(self.clusters)
        return _used(self.seed / "clusters.npz", self.clusters, self.own_ids)

    def _width(self, model: Model) -> int:
        clusters = self._clusters()
        if model.dim or clusters is None:
            return model.dim
        raise UserError(f"{self.title} knows no set whose clusters {clusters} could be; leave --clusters out.")


def row_models(
    row: str | Path,
    weights: str | Path | None = None,
    backbone: str | None = None,
    clusters: str | Path | None = None,
    own_ids: bool = False,
) -> Models:
    """What computes a row of results, ``results/<set>/<row>`` or one training of it.

    Raises:
        UserError: it is no row, or was left out.
    """
    folder = Path(row)
    if (entry := left_out_at(folder / "scores.json")) is not None:
        raise UserError(f"--row {row} was left out: {entry.sentence}")
    seeds = (folder, *sorted(folder.glob("seed*"), key=lambda path: (len(path.name), path.name)))
    if "+" not in folder.resolve().name and not any((seed / CHECKPOINT).is_file() for seed in seeds):
        for seed in seeds:
            if (read := _predictions(seed)) is not None:
                record = read[0]
                named = {"method": _folder_of(record.method), "settings": record.settings, "seed": record.seed}
                known = {**named, "backbone": _encoder_of(seed.resolve().parent.parent, record)}
                return Untrained(str(row), known, seed.resolve(), weights, clusters, own_ids)
    return ModelFiles(row_checkpoint(row), weights, backbone, clusters, own_ids)


def method_models(name: str, segments: int | None, spec: BackboneSpec, weights: str | Path) -> Models:
    """A method that needs nothing but pictures, with the settings of the configuration.

    Args:
        name: a floor that trains nothing and sees the tokens.
        segments: of a picture, where the method asks for a number.
        spec: the encoder.
        weights: its file.

    Raises:
        UserError: the method learns from a set, or the number is missing or not asked for.
    """
    able = {row: of for row, of in contract.rows().items() if of.traits.floor and not of.traits.trained}
    if name not in able:
        listed = ", ".join(row for row, of in able.items() if of.traits.sees_tokens)
        raise UserError(f"--method {name} learns from a set, so name a row of one (--row); without a set: {listed}.")
    counted = able[name].traits.at_counts
    if counted != (segments is not None):
        raise UserError(f"--method {name} {'needs --segments N' if counted else 'asks for no --segments'}.")
    options = default_config().values["clustering"]
    shared = {"k": [segments or 1], "kmeans_seeds": [0], "centre": options["centre"]}
    shared["projection"] = {key: options[key] for key in ("pca", "whiten", "normalise")}
    shared["kmeans"] = {"niter": options["niter"], "nredo": options["nredo"]}
    row = contract.row_named(f"{name}-{segments}" if counted else name)
    method = contract.resolve(name, row, shared, [0])
    encoder = {key: value for key, value in to_plain(spec).items() if key in ENCODER}
    record = {"method": method.folder, "settings": method.settings, "seed": 0, "backbone": encoder}
    return Untrained(f"--method {name}", record, None, weights)


def _folder_of(row: str) -> str:
    """The method's folder of a row that was predicted under that name."""
    entry = default_config().values["methods"].get(row)
    return contract.row_named(row).folder if entry is None else str(entry.get("kind", row)).replace("-", "_")


def _encoder_of(results: Path, record: PredictionRecord) -> Mapping[str, Any]:
    """The encoder of a set's bank, as a checkpoint's record has it."""
    pointer = results / "bank" / f"{record.split}-whole.json"
    content = read_json(pointer)
    known = content.get("record") or read_record(pointer)[1]
    encoder: Mapping[str, Any] = known["backbone"]
    return encoder


def _predictions(folder: Path) -> tuple[PredictionRecord, tuple[int, int]] | None:
    """Description and grid (h, w) of the predictions in a folder of results, None where there are none."""
    for path in sorted(folder.glob("*.h5")):
        if left_out_at(path) is None:
            with PredictionReader(path) as reader:
                return reader.record, reader.grid
    return None


def _used(beside: Path, clusters: str | Path | None, own_ids: bool) -> Path | None:
    """The file of segment clusters that gives the ids, where one does."""
    default = beside.with_name("clusters.npz")
    used = clusters or (default if default.is_file() else None)
    return None if own_ids or used is None else Path(used)
