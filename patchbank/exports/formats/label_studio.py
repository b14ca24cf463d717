"""Label Studio: `tasks.json` with brush masks as pre-annotations (predictions), `labels.xml` with the labels to set up.

Format: https://labelstud.io/guide/predictions, `brushlabels` with packed run lengths (`rle.label_studio_rle`). The
picture of a task is `image_prefix` and its file name, e.g. with ``/data/local-files/?d=`` before it: a web address, in
which names are quoted as Label Studio's own local storage does it. Names in buckets (``s3://bucket/``) stay as they
are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import quoteattr

from patchbank.exports.formats import FormatOptions, stream_list
from patchbank.exports.regions import Taken, regions
from patchbank.exports.rle import label_studio_rle
from patchbank.exports.source import Picture

HELP = "tasks.json with brush masks as pre-annotations for Label Studio, and its labels.xml"
OPTIONS = ("--instances", "--image-prefix")


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `tasks.json` and `labels.xml`."""
    stream_list(folder / "tasks.json", "", (_task(picture, taken, options) for picture in taken), "\n")
    labels = "".join(
        f"    <Label value={quoteattr(one.name)} background={quoteattr('#{:02x}{:02x}{:02x}'.format(*one.colour))}/>\n"
        for one in taken.source.categories
    )
    text = f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="tag" toName="image">
{labels}  </BrushLabels>
</View>
"""
    (folder / "labels.xml").write_text(text, encoding="utf-8")


def _task(picture: Picture, taken: Taken, options: FormatOptions) -> dict[str, Any]:
    return {
        "data": {"image": _address(options.image_prefix, picture.file)},
        "predictions": [{"model_version": "patchbank", "result": list(_results(picture, taken))}],
    }


def _address(prefix: str, file: str) -> str:
    """Where Label Studio finds a picture."""
    on_the_web = prefix and urlsplit(prefix).scheme in ("", "http", "https")
    return prefix + (quote(os.fsencode(file)) if on_the_web else file)


def _results(picture: Picture, taken: Taken) -> Iterator[dict[str, Any]]:
    height, width = picture.labels.shape
    for number, region in enumerate(regions(picture.labels, taken.settings.instances)):
        yield {
            "id": hashlib.sha256(f"{picture.file}\0{number}".encode("utf-8", "surrogateescape")).hexdigest()[:10],
            "type": "brushlabels",
            "from_name": "tag",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": label_studio_rle(region.whole(picture.labels.shape)),
                "brushlabels": [taken.source.categories[region.category].name],
            },
        }
