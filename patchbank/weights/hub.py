"""Weights from the Hugging Face hub, through timm's pretrained tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from patchbank.errors import UserError


def load(source: Mapping[str, Any], model: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Download ``source["tag"]``, e.g. ``vit_small_patch16_224.dino``.

    Returns:
        (state dict in timm's names, provenance record).
    """
    import timm

    tag = str(source["tag"])
    try:
        built: Any = timm.create_model(tag, pretrained=True, num_classes=0)
    except Exception as error:
        if any(kind.__name__ == "RepositoryNotFoundError" for kind in type(error).__mro__):
            raise UserError(
                f"hub tag {tag}: its repository does not exist, or its owner asks for a login; download the weights by "
                "hand and give the file"
            ) from error
        raise UserError(
            f"hub tag {tag}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    settings = built.pretrained_cfg
    record = {
        "source": f"hf-hub:{settings.get('hf_hub_id') or tag}",
        "licence": str(source.get("licence") or settings.get("license") or "unknown"),
    }
    return built.state_dict(), record
