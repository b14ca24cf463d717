"""The mark in pictures that patchbank draws: by it they never become inputs, and are known when they are in the way."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from patchbank.datasets.listing import SOFTWARE


def marks(source: str | None = None) -> dict[str, str]:
    """Texts of a PNG that say who drew it and, where that is told, of what."""
    return {"Software": SOFTWARE, **({} if source is None else {"Source": source})}


def png_info(source: str | None = None, **more: str) -> PngInfo:
    """`marks` and `more` texts (ASCII) as Pillow takes them."""
    info = PngInfo()
    for key, text in (marks(source) | more).items():
        info.add_text(key, text)
    return info


def source_of(path: Path) -> str | None:
    """Of what the picture at `path` was drawn; None for a file that is not ours or does not say."""
    return texts_of(path).get("Source")


def texts_of(path: Path) -> dict[str, str]:
    """The texts of a picture that patchbank drew; none for any other file."""
    if path.suffix == ".tif":
        return _texts_of_tiff(path)
    try:
        with Image.open(path) as image:
            texts = {str(key): str(text) for key, text in image.info.items()}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # no picture, or a broken one: not ours
        return {}
    return texts if texts.get("Software") == SOFTWARE else {}


def _texts_of_tiff(path: Path) -> dict[str, str]:
    """The texts of a label map of a raster, which stand as JSON in its description."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            texts = json.loads(page.description) if page.software == SOFTWARE else {}
    except (OSError, ValueError, tifffile.TiffFileError):  # no TIFF, or a broken one: not ours
        return {}
    return {str(key): str(text) for key, text in texts.items()} if isinstance(texts, dict) else {}
