"""PatchBank: self-supervised semantic segmentation from a bank of frozen patch features."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "open_bank", "segment"]


def open_bank(path: str, **options: Any) -> Any:
    """Open a bank as a torch Dataset; see `patchbank.bank.reader.open_bank`."""
    from patchbank.bank.reader import open_bank as open_

    return open_(path, **options)


def segment(images: Any, row: Any, **options: Any) -> Any:
    """Divide pictures, named or in memory, with a row of results; see `patchbank.inference.arrays.segment`."""
    # by name: an import would make all of inference a part of every stage that reads the package's version
    return import_module("patchbank.inference.arrays").segment(images, row, **options)
