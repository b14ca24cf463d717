"""PatchBank: self-supervised semantic segmentation from a bank of frozen patch features."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "open_bank"]


def open_bank(path: str, **options: Any) -> Any:
    """Open a bank as a torch Dataset; see `patchbank.bank.reader.open_bank`."""
    from patchbank.bank.reader import open_bank as open_

    return open_(path, **options)
