"""Where labels lie beside the pictures of a set: at the same path, but for the folder of pictures, which is another."""

from __future__ import annotations

from dataclasses import dataclass, field

from patchbank.datasets.layouts.folder import ALIASES, IMAGES
from patchbank.errors import UserError
from patchbank.exports.source import Picture

SPLITS = {*ALIASES, *(other for others in ALIASES.values() for other in others), "test"}
"""Folders beside each other, each with a folder of pictures of its own."""


def mask_name(name: str) -> str:
    """The mask of a picture as the layout `folder` reads it; both are paths without suffix.

    Example:
        >>> mask_name("images/val/a"), mask_name("val/images/a"), mask_name("a")
        ('masks/val/a', 'val/masks/a', 'masks/a')
    """
    first, *rest = name.split("/")
    if rest and first.lower() in IMAGES:
        return "/".join(["masks", *rest])
    if len(rest) > 1 and first.lower() in SPLITS and rest[0].lower() in IMAGES:
        return "/".join([first, "masks", *rest[1:]])
    return f"masks/{name}"


def yolo_names(name: str) -> tuple[str, str]:
    """A picture's path in the copy of its set, where the last `images` is to be, and that of its labels, as Ultralytics
    finds them; without suffix.

    Source: `img2label_paths`, https://github.com/ultralytics/ultralytics (ultralytics/data/utils.py).

    Example:
        >>> yolo_names("images/val/a"), yolo_names("b/a")
        (('images/val/a', 'labels/val/a'), ('images/b/a', 'labels/b/a'))
    """
    parts = name.split("/")
    if "images" not in parts[:-1]:
        parts = ["images", *parts]
    last = max(place for place, part in enumerate(parts[:-1]) if part == "images")
    return "/".join(parts), "/".join([*parts[:last], "labels", *parts[last + 1 :]])


@dataclass
class Once:
    """Refuses two pictures whose labels have one name."""

    files: dict[str, str] = field(default_factory=dict)

    def check(self, picture: Picture, labels: str) -> None:
        """Raise `UserError` where another picture's labels have the name."""
        other = self.files.setdefault(labels, picture.file)
        if other != picture.file:
            raise UserError(
                f"{other} and {picture.file} would both have their labels in {labels}; "
                "rename one of them, or give another --format."
            )
