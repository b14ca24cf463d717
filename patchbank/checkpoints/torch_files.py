"""Torch files of published code: read without running any code in them, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from patchbank.errors import UserError
from patchbank.files import atomic_path


def load_torch(path: str | Path) -> Any:
    """Content of a torch file, tensors on the CPU, without running any code in it.

    Raises:
        UserError: the file is missing, or holds more than plain tensors.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UserError(f"{path} is no torch file of plain tensors ({str(error).splitlines()[0]}).") from None


def save_torch(path: str | Path, content: Any) -> None:
    """Write tensors and plain values as a torch file, atomically."""
    # torch writes the name of a path into the file: equal content should be equal bytes
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)
