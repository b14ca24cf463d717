"""The manifest: every picture of a set, checked, with its content id. The only thing later stages know of a dataset.

Written by `patchbank.datasets.scan` as JSON, deterministic: the same files and configuration give the same bytes.
`id` is the first 16 hexadecimal digits of SHA-256(path relative to the root + NUL + the file's bytes), so that a
replaced picture is another picture, and everything stored for it is recomputed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from patchbank.datasets.cutting import cut_up
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import PLAIN, load_image
from patchbank.datasets.labels import Colour, LabelRule
from patchbank.datasets.layouts import Listing, is_absent, layout, missing_tree
from patchbank.datasets.listing import relative, state_of
from patchbank.datasets.spec import DatasetSpec
from patchbank.errors import UserError
from patchbank.files import digest, read_json, to_json, write_text

FORMAT = "patchbank-manifest-2"
PLACE = "\0 entries"
"""Stands for the entries of a split while a manifest is written."""


@dataclass(frozen=True)
class Entry:
    """One picture; paths are POSIX, relative to the manifest's root.

    Attributes:
        id: content id, 16 hexadecimal digits.
        image: path of the picture.
        mask: path of the class mask, None where there is none.
        instances: path of the instance map, None where there is none.
        width: pixels, after EXIF orientation.
        height: pixels, after EXIF orientation.
        labels: 16 hexadecimal digits over the bytes of mask and instance map: a changed mask changes the manifest, and
            so reruns what counts pixels, but no feature.
    """

    id: str
    image: str
    mask: str | None
    instances: str | None
    width: int
    height: int
    labels: str = ""


@dataclass(frozen=True)
class Manifest:
    """A checked dataset.

    Attributes:
        dataset: name of the set.
        root: folder to which the entries' paths are relative.
        classes: class names, id = position.
        colours: RGB triple of each class.
        lut: raw mask value -> class id, 255 = ignore, -1 = unknown.
        splits: entries of each split, sorted by id.
        train_split: name of the split to fit on.
        eval_split: name of the split to score.
        things: whether each class is a thing (else stuff); empty where the set makes no such difference.
        label_rule: how `lut` is applied, see `patchbank.datasets.labels`.
        depth: how deep pictures become 8-bit RGB, with the set's black and white; None for a set without such pictures.
        copies: ids of scored pictures of which the train split has a copy at another path, ascending; none of a set
            without classes.
    """

    dataset: str
    root: Path
    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    lut: list[int]
    splits: Mapping[str, tuple[Entry, ...]]
    train_split: str = "train"
    eval_split: str = "val"
    things: tuple[bool, ...] = ()
    label_rule: LabelRule = "lut"
    depth: Treatment | None = None
    copies: tuple[str, ...] = ()

    def entries(self, split: str) -> tuple[Entry, ...]:
        """The entries of `split`, sorted by id."""
        if split not in self.splits:
            raise UserError(f"{self.dataset} has no split {split!r}; it has {', '.join(sorted(self.splits))}.")
        return self.splits[split]

    def image(self, entry: Entry) -> Image.Image:
        """The picture of an entry in RGB, upright; `UserError` names a file that cannot be read."""
        return load_image(self.root / entry.image, self.depth or PLAIN)

    def fingerprint(self, split: str) -> str:
        """16 hexadecimal digits over the ids of `split`: changes with the pictures, not with masks or classes."""
        return digest([entry.id for entry in self.entries(split)], length=16)

    @cached_property
    def labelled(self) -> bool:
        """Whether pictures of the eval split have masks, so that scores exist; those without one are not scored."""
        return bool(self.classes) and any(entry.mask is not None for entry in self.entries(self.eval_split))

    def save(self, path: str | Path) -> None:
        """Write as JSON, atomically and deterministically."""
        write_text(path, self._text())

    def _text(self) -> str:
        """The JSON that `patchbank.files.write_json` would write; entries, of which there are many, in one piece each.

        Python's encoder writes indented text piece by piece, which takes seconds where there are 100,000 entries.
        """
        whole = to_json(
            {
                "format": FORMAT,
                "dataset": self.dataset,
                "root": self.root.as_posix(),
                "classes": list(self.classes),
                "colours": [list(colour) for colour in self.colours],
                "things": list(self.things),
                "lut": self.lut,
                "label_rule": self.label_rule,
                "train_split": self.train_split,
                "eval_split": self.eval_split,
                "splits": {name: [PLACE] if entries else [] for name, entries in self.splits.items()},
                **({} if self.depth is None else {"depth": self.depth.to_json()}),
                **({"copies": list(self.copies)} if self.copies else {}),
            },
        )
        first, *pieces = whole.split(json.dumps(PLACE))
        filled = [entries for _, entries in sorted(self.splits.items()) if entries]
        entry = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",\n    ", ": ")).encode
        joined = [",\n   ".join(f"{{\n    {entry(vars(e))[1:-1]}\n   }}" for e in entries) for entries in filled]
        return first + "".join(text + piece for text, piece in zip(joined, pieces, strict=True))

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """Read a manifest written by `save`; `UserError` when it is missing or of another format."""
        content: Any = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"{path} is no manifest of this version ({FORMAT}); `snakemake -f {path}` makes it again.")
        return cls(
            dataset=content["dataset"],
            root=Path(content["root"]),
            classes=tuple(content["classes"]),
            colours=tuple((c[0], c[1], c[2]) for c in content["colours"]),
            lut=content["lut"],
            splits={name: tuple(Entry(**e) for e in entries) for name, entries in content["splits"].items()},
            train_split=content["train_split"],
            eval_split=content["eval_split"],
            things=tuple(content["things"]),
            label_rule=content["label_rule"],
            depth=Treatment.from_json(content["depth"]) if "depth" in content else None,
            copies=tuple(content.get("copies", ())),
        )


def manifest_above(path: Path, levels: int) -> Path | None:
    """`manifest.json` in the folder that is so many levels above a file's own; None where there is none."""
    if levels >= len(path.parents):
        return None
    manifest = path.parents[levels] / "manifest.json"
    return manifest if manifest.is_file() else None


def find(spec: DatasetSpec) -> Listing:
    """The pictures of each split of `spec`, as its layout finds them; nothing is opened but lists, and of a set with
    `tiles` the headers of TIFFs.

    Raises:
        UserError: the set is missing, incomplete or ambiguous, or has classes and not one mask in the split that is
            scored (the expected tree is shown), a folder or list of it cannot be read, or TIFFs cannot be cut.
    """
    listing = _listed(spec)
    return cut_up(spec.name, listing, spec.tiles) if spec.tiles else listing


def _listed(spec: DatasetSpec) -> Listing:
    """The files of each split."""
    try:
        listing = layout(spec.layout).find(spec)
    except OSError as error:
        raise UserError(f"{spec.name}: {error.filename} cannot be read ({error.strerror or error}).") from None
    masks = [mask for _, mask, _ in listing[spec.eval_split]]
    if spec.classes and all(mask is None or is_absent(mask) for mask in masks):
        expected = next((f" ({mask} is not there)" for mask in masks if mask is not None), "")
        problem = f"no image of split {spec.eval_split!r}, which is scored, has a mask{expected}."
        raise missing_tree(spec, layout(spec.layout).EXPECTED_TREE, problem)
    return listing


def tree_fingerprint(spec: DatasetSpec) -> str:
    """Hash of what the manifest of `spec` is made from, without opening an image.

    Covers which files the lists and folders name, in which split, and each file's state (`state_of`, one `stat` a
    file), which is what the scan's memory compares too. Adding, removing or replacing an image, a mask or a line of a
    list changes it.

    Returns:
        16 hexadecimal digits.

    Raises:
        UserError: the set is missing, incomplete or ambiguous.
    """
    parts: list[list[Any]] = []
    for split, items in _listed(spec).items():
        for item in items:
            parts.append([split, *(_state(spec.root, path) for path in item if path is not None)])
    return digest(parts, length=16)


def _state(root: Path, path: Path) -> list[str]:
    return [os.fsencode(relative(root, path)).hex(), state_of(path)]
