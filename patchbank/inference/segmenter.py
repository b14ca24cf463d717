"""From decoded pictures to named segments on the patch grid: what is computed of a picture, and nothing of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from patchbank.backbones.tail import ClassTail, tail_of
from patchbank.backbones.vit import FrozenViT
from patchbank.datasets.unusable import Unusable
from patchbank.inference.encoder import Model
from patchbank.inference.naming import Naming
from patchbank.inference.pictures import GridSegments
from patchbank.inference.tokens import (
    Grid,
    Size,
    block_of,
    picture_id,
    squashed,
    views_per_pass,
    whole_tokens,
    windowed_tokens,
)
from patchbank.methods.shape import PictureModel, Seen
from patchbank.views.resize import input_size

SIZE = 448
"""Side of the squashed picture, as of recipe `whole`."""


@dataclass(frozen=True)
class Prepared:
    """One picture before the encoder.

    Attributes:
        image: upright, RGB.
        squashed: (shift^2, H, W, 3) uint8 of a whole picture; None where a window slides over it, or its block is read.
    """

    image: Image.Image
    squashed: NDArray[Any] | None


@dataclass(frozen=True)
class Scored:
    """One picture after encoder and head.

    Attributes:
        scores: (Q, N) float32 of every patch, higher is better.
        tokens: (N, D) float16 where ids are those of clusters, else None.
        grid: (h, w) with h * w == N.
    """

    scores: NDArray[np.float32]
    tokens: NDArray[np.float16] | None
    grid: Grid


def averages(model: Model) -> bool:
    """Whether scores are means with those of the mirror image (setting `mirror`), as the predictions of the row are."""
    return bool((model.record.get("settings") or {}).get("mirror"))


def mirrored(picture: Prepared, patch: int, size: Size, shift: int) -> Prepared:
    """The mirror image of a picture before the encoder, of a squashed one as recipe `mirrored` makes it.

    Raises:
        Unusable: a raster that is read in bands, and has no mirror image in memory.
    """
    if picture.squashed is not None and shift == 1:
        return Prepared(picture.image, picture.squashed[:, :, ::-1])
    if not isinstance(picture.image, Image.Image):
        raise Unusable("is too large for a row that averages with the mirror image (mirror: true); choose another row")
    image = ImageOps.mirror(picture.image)
    return Prepared(image, None if picture.squashed is None else squashed(image, patch, size, shift))


@dataclass(frozen=True)
class Segmenter:
    """Pictures to segments on the patch grid, in three steps: threads may take the first and the last.

    Attributes:
        vit: the encoder.
        model: the method's model.
        naming: from segments to ids.
        size, window, shift, scale: see `SegmentSettings`.
    """

    vit: FrozenViT
    model: Model
    naming: Naming
    size: Size = SIZE
    window: int | None = None
    shift: int = 1
    scale: float = 1.0

    @property
    def batch(self) -> int:
        """Pictures that are worked on together."""
        return 1 if self.window else views_per_pass(self.vit, input_size(self.size, self.vit.patch))

    def prepare(self, image: Image.Image) -> Prepared:
        """What the encoder gets of a picture."""
        whole = not self.window and not self._reads_block
        return Prepared(image, squashed(image, self.vit.patch, self.size, self.shift) if whole else None)

    @torch.inference_mode()
    def score(self, pictures: Sequence[Prepared]) -> list[Scored]:
        """Encoder and head on some pictures; several only without a window."""
        if isinstance(self.model, PictureModel):
            return [self._alone(self.model, picture) for picture in pictures]
        tokens, grid = self._tokens(pictures)
        found = self.model.scores(tokens)
        if averages(self.model):
            others = [mirrored(picture, self.vit.patch, self.size, self.shift) for picture in pictures]
            other = self.model.scores(self._tokens(others)[0])
            found = (found + other.reshape(*found.shape[:2], *grid).flip(3).reshape(found.shape)) / 2
        scores = found.cpu().numpy()
        kept = tokens.cpu().numpy() if self.naming.clusters is not None else [None] * len(scores)
        return [Scored(one, part, grid) for one, part in zip(scores, kept, strict=True)]

    def _alone(self, model: PictureModel, picture: Prepared) -> Scored:
        """What a model says that looks at one picture at a time."""
        name = picture_id(picture.image)
        if self._reads_block:
            seen = block_of(self.vit, picture.image, self.size, self._tail, name)
        else:
            tokens, grid = self._tokens([picture])
            seen = Seen(name, grid, tokens[0])
        kept = seen.tokens.cpu().numpy() if self.naming.clusters is not None else None
        return Scored(model.scores_of(seen).cpu().numpy(), kept, seen.grid)

    @property
    def _reads_block(self) -> bool:
        return isinstance(self.model, PictureModel) and self.model.reads_block

    @cached_property
    def _tail(self) -> ClassTail:
        with torch.inference_mode(False):  # gradients go through it
            return tail_of(self.vit).to(self.vit.device)

    def _tokens(self, pictures: Sequence[Prepared]) -> tuple[Tensor, Grid]:
        """Tokens (B, N, D) float16 on one grid."""
        if self.window:
            return windowed_tokens(self.vit, pictures[0].image, self.window, self.scale)
        return whole_tokens(self.vit, [one.squashed for one in pictures if one.squashed is not None])

    def name(self, scored: Scored) -> GridSegments:
        """The segments of a picture with their ids."""
        count = len(scored.scores)
        ids = np.arange(count) if self.naming.assignment is None else self.naming.assignment
        if self.naming.clusters is not None and scored.tokens is not None:
            ids = self.naming.clusters.ids(scored.scores.argmax(0), scored.tokens, count)
        return GridSegments(scored.scores.reshape(-1, *scored.grid), ids)

    def __call__(self, images: Sequence[Image.Image]) -> list[GridSegments]:
        """Segments of some pictures; several only without a window."""
        return [self.name(scored) for scored in self.score([self.prepare(image) for image in images])]
