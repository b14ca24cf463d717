"""The timm model of a backbone, and reading the weights that the weights stage wrote.

Shapes the values of banks (`patchbank.bank.identity`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from patchbank.errors import UserError


def build_model(model: str) -> torch.nn.Module:
    """The timm model without a head, for any input size, in evaluation mode, randomly initialised."""
    import timm

    try:
        built = timm.create_model(model, pretrained=False, num_classes=0, dynamic_img_size=True)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"timm cannot build model {model!r}: {error}") from error
    module: torch.nn.Module = built.eval()
    return module


def load_weights(path: str | Path) -> dict[str, Any]:
    """The parameters stored by `fetch_weights`."""
    from safetensors.torch import load_file

    return dict(load_file(str(path)))
