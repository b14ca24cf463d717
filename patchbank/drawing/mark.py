"""The mark in pictures that patchbank draws: by it they never become inputs, and are known when they are in the way."""

from __future__ import annotations

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
    try:
        with Image.open(path) as image:
            texts = {str(key): str(text) for key, text in image.info.items()}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # no picture, or a broken one: not ours
        return {}
    return texts if texts.get("Software") == SOFTWARE else {}
