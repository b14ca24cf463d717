"""A trained segmenter on disk: the decoder, its settings, its centroids, and what its tokens are centred with.

A checkpoint (`patchbank.checkpoints.store`) holds the decoder's parameters as ``decoder/<name>``, the centroids of the
pseudo labels as ``centroids`` (K, d) (not for an imported decoder), for ``token_similarity`` their projection as
``projection/<name>``, and for a ``centre`` other than ``none`` ``centre/shift`` and ``centre/scale`` (D,) float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchbank.bank.centring import Centring
from patchbank.checkpoints.store import check_keys, save_checkpoint
from patchbank.errors import UserError
from patchbank.methods.tools.heads import decoder_tensors, load_decoder, load_own
from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.settings import TransFGUSettings

METHOD = "transfgu"


@dataclass(frozen=True)
class Head:
    """What `load_head` returns; `extra` holds the centroids and their projection."""

    model: MaskDecoder
    settings: TransFGUSettings
    centring: Centring
    extra: Mapping[str, Tensor]
    record: Mapping[str, Any]


def build_decoder(dim: int, settings: TransFGUSettings, seed: int = 0) -> MaskDecoder:
    """The decoder of these settings."""
    return MaskDecoder(dim, settings.classes, settings.heads, settings.layers, seed)


def save_head(path: str | Path, head: Head) -> None:
    """Write a head; its record adds where it comes from (seed, backbone, banks, ...)."""
    tensors = decoder_tensors(head.model)
    shift, scale = head.centring.shift_and_scale()
    if shift is not None:
        tensors |= {"centre/shift": shift, "centre/scale": torch.ones_like(shift) if scale is None else scale}
    record = {**head.record, "method": METHOD, "dim": head.model.dim, "settings": asdict(head.settings)}
    save_checkpoint(path, {**tensors, **head.extra}, record)


def load_head(path: str | Path) -> Head:
    """Read a head.

    Raises:
        UserError: no checkpoint of TransFGU, or one with missing, foreign or misshapen keys.
    """
    tensors, record = load_own(path, METHOD)
    settings = TransFGUSettings.from_mapping(record["settings"])
    if settings.stage != "segmenter":
        raise UserError(f"{path} holds the centroids of pseudo labels and no segmenter (stage: {settings.stage}).")
    model = build_decoder(int(record["dim"]), settings)
    extra = {name: value for name, value in tensors.items() if name == "centroids" or name.startswith("projection/")}
    expected = decoder_tensors(model)
    if settings.centre != "none":
        expected |= {f"centre/{name}": torch.empty(model.dim) for name in ("shift", "scale")}
    check_keys(path, {name: value for name, value in tensors.items() if name not in extra}, expected)
    load_decoder(model, tensors)
    centring = Centring()
    if settings.centre != "none":
        std = tensors["centre/scale"].double().reciprocal()  # back and forth gives the same float32
        centring = Centring(tensors["centre/shift"].double(), std if settings.centre == "standardise" else None)
    return Head(model.eval(), settings, centring, extra, record)
