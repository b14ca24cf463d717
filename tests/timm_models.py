"""timm's ViTs for tests: their names, and small copies of them with random weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import timm
import torch
from timm.models import model_entrypoint

ROOMS = (
    *("beit", "deit", "eva", "hiera", "naflexvit", "vision_transformer", "vision_transformer_hybrid"),
    *("vision_transformer_relpos", "vision_transformer_sam"),
)
"""timm's modules that hold ViTs."""


@cache
def vit_names() -> tuple[str, ...]:
    """Every ViT that timm has."""
    return tuple(n for n in timm.list_models() if model_entrypoint(n).__module__.rpartition(".")[2] in ROOMS)


def small(name: str, depth: int = 2, **changes: Any) -> Any:
    """A model of timm with few narrow blocks; its classes, tokens and positions are those of the real one."""
    options: dict[str, Any] = {"num_classes": 0, "dynamic_img_size": True, "depth": depth, "embed_dim": 128}
    options["num_heads"] = 8
    if "sapiens2" in name:
        options["num_kv_heads"] = 4
    return timm.create_model(name, **{**options, **changes}).eval()


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights without any that a fresh model holds at 0 or nearly so: class token, registers, LayerScale, biases."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = "norm" in name or "gamma" in name
        parameter.data = 1 + 0.3 * noise if scale else 0.1 * noise
