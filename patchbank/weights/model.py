"""The timm model of a backbone, and reading the weights that the weights stage wrote.

Shapes the values of banks (`patchbank.bank.identity`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from patchbank.errors import UserError
from patchbank.weights.readable import check_readable, not_read


def build_model(model: str) -> torch.nn.Module:
    """The timm model without a head, for any input size, in evaluation mode, randomly initialised.

    Raises:
        UserError: timm does not have it, or it is made of classes that are not read (`patchbank.weights.readable`).
    """
    import timm

    try:
        built = timm.create_model(model, pretrained=False, num_classes=0, dynamic_img_size=True)
    except (RuntimeError, TypeError) as error:
        raise _refusal(model, error) from error
    check_readable(built, model)
    module: torch.nn.Module = built.eval()
    return module


def _refusal(model: str, error: Exception) -> UserError:
    """Why `model` cannot be built: for any input size, or at all."""
    import timm

    try:
        with torch.device("meta"):
            kind = type(timm.create_model(model, pretrained=False)).__name__
    except (RuntimeError, TypeError):
        return UserError(f"timm cannot build model {model!r}: {error}")
    return not_read(model, kind)


def load_weights(path: str | Path) -> dict[str, Any]:
    """The parameters stored by `fetch_weights`."""
    from safetensors.torch import load_file

    return dict(load_file(str(path)))
