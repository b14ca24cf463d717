"""Models of AlignSeg: of the golden file, and of random numbers."""

from __future__ import annotations

import numpy as np
import torch

from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.published import from_reference
from patchbank.methods.alignseg.settings import AlignSegSettings


def golden_model(golden: dict[str, np.ndarray]) -> QueryDecoder:
    """The published decoder with the golden's weights."""
    sizes = {"queries": "queries", "heads": "heads", "layers": "layers", "hidden": "ffn"}
    values = {ours: int(golden[f"meta_{theirs}"]) for ours, theirs in sizes.items()}
    model = QueryDecoder(int(golden["meta_dim"]), AlignSegSettings(**values, decoder="reference"))
    weights = {key[2:]: torch.from_numpy(value) for key, value in golden.items() if key.startswith("w.")}
    model.load_state_dict(from_reference(weights))
    return model


def golden_views(golden: dict[str, np.ndarray]) -> torch.Tensor:
    """Tokens (B, V, N, D) of the golden, the global crop first."""
    return torch.from_numpy(np.concatenate([golden["global_tokens"][:, None], golden["local_tokens"]], axis=1))


def random_model(layers: int, decoder: str, seed: int = 0, queries: int = 4, heads: int = 3) -> QueryDecoder:
    """A small decoder whose biases are not zero, so that every one of them counts."""
    model = QueryDecoder(
        12, AlignSegSettings(queries=queries, heads=heads, layers=layers, hidden=7, decoder=decoder), seed
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.3)
    return model
