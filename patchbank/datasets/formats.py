"""What a file's name and its first bytes tell: a picture that is read, one of a format that is not, or none."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".mat", ".dcm", ".dicom"),
)
"""Ends of the names of pictures; a list may carry them or leave them out."""
UNREAD = (".heic", ".heif", ".avif", ".jxl", ".psd", ".pdf", ".svg", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".exr")
"""Ends of the names of pictures that are not read: they count as pictures, so that each is refused by its name."""
HEAD = 132
"""First bytes of a file that are looked at."""
_KNOWN = frozenset(SUFFIXES)
_FORMATS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF....WEBP|P[1-6]\s|MATLAB 5\.0 MAT"
    rb"|.{128}DICM"
    rb"|\0\0\0\x0cjP  \r\n\x87\n"
    rb"|\xff\x4f\xff\x51|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    re.DOTALL,
)
"""Starts of the picture formats that are read."""
_UNREAD_FORMATS = {
    "HEIC": re.compile(rb"....ftyp(?:heic|heix|hevc|mif1|msf1)", re.DOTALL),
    "AVIF": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "Photoshop": re.compile(rb"8BPS\0"),
    "PDF": re.compile(rb"%PDF-"),
}
"""Starts of formats of pictures that are not read, and so refused by name."""


def is_picture(path: Path) -> bool:
    """Whether the first bytes of the file at `path` are those of a picture format; False for what is no file."""
    try:
        # what is no regular file is not opened: a pipe would hang
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(HEAD)
            return _FORMATS.match(head) is not None or bool(unread_format(head))
    except (OSError, ValueError):
        return False


def unread_format(head: bytes) -> str:
    """The format of pictures that a file's first bytes tell and that is not read, e.g. ``"HEIC"``; "" for any other."""
    return next((name for name, start in _UNREAD_FORMATS.items() if start.match(head)), "")


def without_suffix(name: str) -> str:
    """`name` without an image suffix; other dots belong to the name."""
    dot = name.rfind(".")
    return name[:dot] if dot > 0 and name[dot:].lower() in _KNOWN else name
