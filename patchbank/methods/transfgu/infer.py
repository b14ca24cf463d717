"""TransFGU on pictures outside a bank: the segmenter, or with ``stage: pseudo_labels`` the maps themselves.

The maps of a gradient need the read block of the picture, squashed whole as recipe `lastblock` does it; those of token
similarity need its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchbank.checkpoints.store import load_checkpoint
from patchbank.errors import UserError
from patchbank.methods.shape import Seen
from patchbank.methods.tools.heads import load_own
from patchbank.methods.transfgu.centroids import Centroids
from patchbank.methods.transfgu.head import METHOD, Head, load_head
from patchbank.methods.transfgu.losses import make_targets
from patchbank.methods.transfgu.maps import gradient_maps
from patchbank.methods.transfgu.prepare import stored_projection
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.methods.transfgu.similarity import TokenClasses
from patchbank.variants import variant_name


class Segmenter(nn.Module):
    """A trained segmenter, as `patchbank.methods.shape.TokenModel`.

    Args:
        head: from `load_head`.
    """

    shift: Tensor | None
    scale: Tensor | None

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.decoder, self.dim, self.segments = head.model, head.model.dim, head.settings.classes
        self.record: Mapping[str, Any] = with_variant(head.record, self.segments)
        shift, scale = head.centring.shift_and_scale()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, K, N) of tokens (B, N, D)."""
        centred = tokens if self.shift is None else tokens - self.shift
        centred = centred if self.scale is None else centred * self.scale
        logits: Tensor = self.decoder(centred)[0]
        return logits.transpose(1, 2)

    def scores(self, tokens: Tensor) -> Tensor:
        """The same of stored tokens."""
        return self.forward(tokens.float())


class MapModel:
    """The maps of a picture, as `patchbank.methods.shape.PictureModel`; normalised as those of stage `predict`.

    Args:
        path: of a checkpoint of ``stage: pseudo_labels``.
    """

    def __init__(self, path: str | Path) -> None:
        tensors, record = load_checkpoint(path)
        self._settings = TransFGUSettings.from_mapping(record["settings"])
        self.segments = self._settings.classes
        self.record: Mapping[str, Any] = with_variant(record, self.segments)
        vectors, projection = tensors["centroids"], stored_projection(tensors)
        self.reads_block = self._settings.pseudo_label == "attention_gradient"
        self.dim = vectors.shape[1] if projection is None else len(projection.shift)
        self._vectors, self._similar = vectors, None
        if projection is not None:
            members = np.array(record["members"])
            classes = Centroids(vectors.numpy(), members)
            self._similar = TokenClasses.of(projection, classes, self._settings, int(record["seed"]))

    def scores_of(self, seen: Seen) -> Tensor:
        """Maps (K, N), with the background channel where there is one."""
        if self._similar is not None:
            values = torch.from_numpy(self._similar.maps(seen.tokens.cpu().numpy(), seen.id))[None]
        else:
            assert seen.block is not None
            assert seen.attention is not None
            assert seen.tail is not None
            # values and attention pass through float16 as they do in a bank
            stored = (seen.block.values.half().float(), seen.attention.half().float())
            with torch.inference_mode(False):  # gradients are taken, of copies that know nothing of inference mode
                given = (part.clone() for part in (*stored, seen.block.mixed, seen.block.residual))
                block, attention, mixed, residual = given
                centroids, batch = self._vectors.to(mixed.device), self._settings.gradient_batch
                maps = gradient_maps(seen.tail, block, attention, mixed, residual, centroids, batch)
            values = maps.values().cpu()
        return make_targets(values, self._settings.background).maps[0].reshape(self.segments, -1)

    def to(self, device: torch.device) -> MapModel:
        """Maps are computed where the encoder is."""
        return self


def with_variant(record: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The record, with the one variant of its predictions."""
    return {**record, "variants": [[variant_name(classes, int(record.get("seed", 0))), classes]]}


def load(path: str | Path) -> Segmenter | MapModel:
    """The model of a checkpoint; `UserError` for one that was imported without what pictures need."""
    _, record = load_own(path, METHOD)
    if record["settings"].get("stage", "segmenter") == "segmenter":
        return Segmenter(load_head(path))
    if "members" not in record:
        raise UserError(f"{path} does not say how many members its centroids have; train the row again.")
    return MapModel(path)
