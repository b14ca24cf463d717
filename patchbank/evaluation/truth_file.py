"""Stage `truth`: the labels that predictions are compared with, decoded and mapped once for all rows of a set.

Inputs: the manifest, the split that is scored, a preprocessing variant, and the size of the model's input.
Output: an `.npz` with compressed members that are read one image at a time:

| array | shape | dtype | meaning |
|---|---|---|---|
| `format` | () | int64 | version of this layout |
| `preprocessing`, `label_kind` | () | U | name of the preprocessing; `class` or `instance` |
| `input_size` | (2,) | int64 | (H, W) of the model's input, whose proportion some variants keep |
| `labels/<id>` | (h, w) | uint8, or of the instance map | class (255 = ignored) or instance of the compared pixels |
"""

from __future__ import annotations

import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.images import load_raw
from patchbank.datasets.manifest import Entry, Manifest
from patchbank.errors import UserError
from patchbank.evaluation.counts import LabelKind
from patchbank.evaluation.preprocessing import Frame, frame
from patchbank.evaluation.truth import class_labels
from patchbank.files import atomic_path, read_npz
from patchbank.progress import track

FORMAT = 1
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of all members, so that equal labels make equal files."""
BLOCK = 64
"""Images in memory at a time."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What one image's predictions are compared with.

    Attributes:
        view: the compared pixels.
        labels: (h, w) class ids, 255 = ignored, or instance ids.
    """

    view: Frame
    labels: NDArray[Any]


@dataclass(frozen=True)
class Asked:
    """Which labels are meant.

    Attributes:
        preprocessing: name of a variant.
        label_kind: class labels or instance ids.
        input_size: (H, W) of the model's input.
    """

    preprocessing: str
    label_kind: LabelKind
    input_size: tuple[int, int]

    def file(self, entry: Entry) -> str | None:
        """The image's file of these labels, below the manifest's root; None where it has none."""
        return entry.instances if self.label_kind == "instance" else entry.mask


def decode(manifest: Manifest, entry: Entry, asked: Asked) -> Compared | None:
    """The labels of one image from its mask; None where it has none.

    Raises:
        UserError: a mask that cannot be read, or a compared pixel whose value the label map does not know.
    """
    file = asked.file(entry)
    if file is None:
        return None
    raw = load_raw(manifest.root / file)
    view = frame(asked.preprocessing, (raw.shape[0], raw.shape[1]), asked.input_size)
    labels = view.labels(raw) if asked.label_kind == "instance" else class_labels(raw, view, manifest, file)
    return Compared(view, labels)


def make_truth(manifest: Manifest, split: str, asked: Asked, out: str | Path, workers: int) -> None:
    """Decode the masks of a split and write the file (see the module's docstring).

    Args:
        manifest: of the set.
        split: that is scored.
        asked: which labels.
        out: file to write.
        workers: threads.

    Raises:
        UserError: as of `decode`, or an unknown preprocessing.
    """
    entries = [entry for entry in manifest.entries(split) if asked.file(entry) is not None]
    with (
        ThreadPoolExecutor(workers) as pool,
        atomic_path(out) as temporary,
        zipfile.ZipFile(temporary, "w") as file,
    ):
        facts = {"preprocessing": asked.preprocessing, "label_kind": asked.label_kind, "input_size": asked.input_size}
        for name, value in {"format": FORMAT, **facts}.items():
            _write(file, name, np.array(value))
        for start in track(list(range(0, len(entries), BLOCK)), f"labels of {manifest.dataset}", "block"):
            block = entries[start : start + BLOCK]
            for entry, labels in zip(block, pool.map(partial(decode, manifest, asked=asked), block), strict=True):
                assert labels is not None  # images without labels are left out above
                _write(file, f"labels/{entry.id}", labels.labels)


class Truth:
    """The labels of one split as `make_truth` wrote them, read one image at a time, by several threads at once.

    Args:
        path: the file.

    Raises:
        UserError: it is missing, broken or of another format.

    Attributes:
        asked: which labels they are.
    """

    def __init__(self, path: str | Path) -> None:
        facts = read_npz(path, ("format", "preprocessing", "label_kind", "input_size"))
        version = int(facts.get("format", np.int64(-1)))
        if version != FORMAT:
            raise UserError(
                f"{path} has labels of format {version}, this version reads {FORMAT}; `snakemake -f` makes it again."
            )
        height, width = facts["input_size"].tolist()
        kind: LabelKind = "instance" if str(facts["label_kind"]) == "instance" else "class"
        self.path, self.asked = path, Asked(str(facts["preprocessing"]), kind, (height, width))
        self._file = np.load(path, allow_pickle=False)

    def of(self, entry: Entry) -> Compared | None:
        """The labels of one image; None where it has none.

        Raises:
            UserError: the file knows no labels of an image that has some.
        """
        if self.asked.file(entry) is None:
            return None
        name = f"labels/{entry.id}"
        view = frame(self.asked.preprocessing, (entry.height, entry.width), self.asked.input_size)
        labels = self._file.get(name)
        if labels is None or labels.shape != (len(view.rows), len(view.cols)):
            raise UserError(f"{self.path} has no labels of this size for {entry.image}; `snakemake -f` makes it again.")
        return Compared(view, labels)

    def fits(self, asked: Asked) -> bool:
        """Whether these are the labels that are asked for: inputs of another proportion may be compared elsewhere."""
        same = (self.asked.preprocessing, self.asked.label_kind) == (asked.preprocessing, asked.label_kind)
        (height, width), (other_height, other_width) = self.asked.input_size, asked.input_size
        return same and height * other_width == width * other_height

    def __enter__(self) -> Truth:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _write(file: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Add an array as `numpy.savez_compressed` does, which wants all arrays at once."""
    member = zipfile.ZipInfo(f"{name}.npy", EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    with file.open(member, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)
