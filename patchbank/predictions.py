"""Predictions on the patch grid, stored once; pictures, refinement and every protocol read them.

One HDF5 file per (dataset, split, method, seed), written atomically:

| object | shape | dtype | meaning |
|---|---|---|---|
| `image` | (n,) | S16 | content ids of the images, in manifest order |
| `<variant>/scores` | (n, K, h, w) | float16 | per-patch scores before any softmax, relative to the best (0) |
| `<variant>/labels` | (n, h, w) | uint16 | instead of `scores` where K > 64 |
| `metric` | (D, d) | float32 | optional: what the method wants segments to be clustered by |
| attributes | | | `format`, `record` (JSON: dataset, split, method, kind, settings, seed, upsample, input_size, |
| | | | and `oracle` where labels of a split moved the checkpoint) |

`kind` is ``segments`` (ids mean something inside their image only) or ``classes`` (ids mean the same everywhere).
A variant is one prediction of the method: ``segments``, or ``k21`` for one number of clusters K. Scores are stored
relative to the best score of their patch, so that float16 never changes an argmax; softmax, argmax and the argmax
of bilinear interpolation do not see the difference.
`upsample` is the rule from the grid to pixels: ``nearest`` (of the argmax) or ``bilinear`` (of the scores).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError
from patchbank.files import atomic_path
from patchbank.variants import variant_name

FORMAT = 1
WAITING = 1 << 20
"""Bytes of a variant that wait to be written."""
LOWEST = np.finfo(np.float16).min
MAX_SCORES = 64
"""Largest K for which scores are stored; above, labels only."""


@dataclass(frozen=True)
class PredictionRecord:
    """What a prediction file holds and where it comes from."""

    dataset: str
    split: str
    method: str
    kind: Literal["segments", "classes"]
    seed: int
    upsample: Literal["nearest", "bilinear"]
    input_size: tuple[int, int]
    settings: Mapping[str, Any] = field(default_factory=dict)
    oracle: str | None = None

    def to_json(self) -> str:
        """The fields; `oracle` where there is one, so that all other files stay as they are."""
        return json.dumps({k: v for k, v in asdict(self).items() if k != "oracle" or v}, sort_keys=True)


def check_origin(path: str | Path, record: PredictionRecord, wanted: Mapping[str, Any]) -> None:
    """Raise `UserError` where predictions are not those that a row asks for.

    Args:
        path: of the predictions, for the message.
        record: their description.
        wanted: fields of the description and their values, `settings` among them key by key.
    """
    said, expected = (_flat(json.loads(json.dumps(dict(value)))) for value in (asdict(record), wanted))
    differing = [f"{key} {said.get(key)!r} instead of {value!r}" for key, value in expected.items()]
    differing = [text for text, key in zip(differing, expected, strict=True) if said.get(key) != expected[key]]
    if differing:
        raise UserError(f"{path} holds other predictions: {'; '.join(differing)}. Run the predict stage again.")


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with those of `settings` among them."""
    settings = {f"settings.{key}": value for key, value in (fields.get("settings") or {}).items()}
    return {key: value for key, value in fields.items() if key != "settings"} | settings


@dataclass
class _Rows:
    """Rows start..end of a variant that wait to be written."""

    start: int
    end: int
    parts: list[NDArray[Any]]


class PredictionWriter:
    """Write predictions block by block; use as a context manager, the file appears when the block ends well.

    Args:
        path: the file to write.
        record: its description.
        images: content ids, one row each.
        variants: number of segments or clusters K of each variant.
        grid: (h, w) of the patch grid.
        metric: (D, d) learned projection of segment embeddings (mean centred token of unit length), instead of the
            configured one; None where the method learned none.
    """

    def __init__(
        self,
        path: str | Path,
        record: PredictionRecord,
        images: Sequence[str],
        variants: Mapping[str, int],
        grid: tuple[int, int],
        metric: NDArray[np.float32] | None = None,
    ) -> None:
        self._atomic, self._metric = atomic_path(path), metric
        self._record, self._images, self._variants, self._grid = record, list(images), dict(variants), grid

    def __enter__(self) -> PredictionWriter:
        with ExitStack() as stack:
            self._file = stack.enter_context(h5py.File(stack.enter_context(self._atomic), "w"))
            self._begin()
            self._open = stack.pop_all()
        return self

    def _begin(self) -> None:
        """Write what is known before the first row."""
        self._file.attrs["format"] = FORMAT
        self._file.attrs["record"] = self._record.to_json()
        self._file.create_dataset("image", data=np.array(self._images, dtype="S16"))
        if self._metric is not None:
            self._file.create_dataset("metric", data=self._metric)
        n = len(self._images)
        self._stored: dict[str, h5py.Dataset] = {}
        self._waiting: dict[str, _Rows] = {}
        for name, k in self._variants.items():
            group = self._file.create_group(name)
            group.attrs["k"] = k
            if k <= MAX_SCORES:
                self._stored[name] = group.create_dataset("scores", (n, k, *self._grid), np.float16)
            else:
                self._stored[name] = group.create_dataset("labels", (n, *self._grid), np.uint16)

    def write_scores(self, variant: str, start: int, scores: NDArray[np.floating[Any]]) -> None:
        """Store rows `start`... of a variant from scores (b, K, h, w), higher is better."""
        if self._variants[variant] > MAX_SCORES:
            self._keep(variant, start, scores.argmax(1).astype(np.uint16))
            return
        relative = scores - scores.max(axis=1, keepdims=True)
        self._keep(variant, start, np.maximum(relative, LOWEST).astype(np.float16))

    def write_labels(self, variant: str, start: int, labels: NDArray[np.integer[Any]]) -> None:
        """Store rows `start`... of a variant from labels (b, h, w); with K <= 64 the scores are 0 and -1."""
        k = self._variants[variant]
        if k > MAX_SCORES:
            self._keep(variant, start, labels.astype(np.uint16))
            return
        hit = labels[:, None] == np.arange(k)[None, :, None, None]
        self._keep(variant, start, np.where(hit, 0.0, -1.0).astype(np.float16))

    def _keep(self, variant: str, start: int, rows: NDArray[Any]) -> None:
        """Keep rows that follow each other until they are worth a write, which costs the same for one and for many."""
        if variant in self._waiting and self._waiting[variant].end != start:
            self._write(variant)
        waiting = self._waiting.setdefault(variant, _Rows(start, start, []))
        waiting.parts.append(rows)
        waiting.end += len(rows)
        if len(rows) and (waiting.end - waiting.start) * rows[0].nbytes >= WAITING:
            self._write(variant)

    def _write(self, variant: str) -> None:
        waiting = self._waiting.pop(variant)
        self._stored[variant][waiting.start : waiting.end] = np.concatenate(waiting.parts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:  # closes the file; it appears only where nothing failed, the last rows included
            if error is not None:
                raise error
            for variant in list(self._waiting):
                self._write(variant)


class PredictionReader:
    """Read a prediction file; opened on construction, closed by `close` or at the end of a with-block."""

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise UserError(f"{path} does not exist; run the predict stage first.")
        self._file = h5py.File(path, "r")
        version = int(self._file.attrs.get("format", -1))
        if version != FORMAT:
            raise UserError(
                f"{path} has prediction format {version}, this version reads {FORMAT}; `snakemake -f` makes it again."
            )
        fields = json.loads(self._file.attrs["record"])
        fields["input_size"] = tuple(fields["input_size"])
        self.record = PredictionRecord(**fields)
        self.images: list[str] = [i.decode() for i in self._file["image"][:]]
        groups = {name: item for name, item in self._file.items() if isinstance(item, h5py.Group)}
        self.variants: dict[str, int] = {name: int(group.attrs["k"]) for name, group in groups.items()}
        self.metric: NDArray[np.float32] | None = self._file["metric"][:] if "metric" in self._file else None

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patch grid."""
        group = self._file[next(iter(self.variants))]
        h, w = group["labels" if "labels" in group else "scores"].shape[-2:]
        return int(h), int(w)

    def labels(self, variant: str, start: int, stop: int) -> NDArray[np.int64]:
        """Argmax labels (b, h, w) of rows start..stop, first segment on ties."""
        group = self._file[variant]
        if "labels" in group:
            return np.asarray(group["labels"][start:stop]).astype(np.int64)
        winners: NDArray[np.int64] = np.asarray(group["scores"][start:stop]).argmax(1)
        return winners

    def scores(self, variant: str, start: int, stop: int) -> NDArray[np.float32] | None:
        """Scores (b, K, h, w) of rows start..stop, or None where only labels are stored."""
        group = self._file[variant]
        return np.asarray(group["scores"][start:stop]).astype(np.float32) if "scores" in group else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> PredictionReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def class_variants(k: Sequence[int], seed: int, classes: int) -> dict[str, int]:
    """Variants of a prediction of classes as clusters: every number of clusters that holds them, else their own."""
    return {variant_name(n, seed): n for n in k if n >= classes} or {variant_name(classes, seed): classes}
