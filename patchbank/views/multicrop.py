"""Recipe `multicrop`: AlignSeg's training views, 1 global crop and some local ones that overlap it.

Shapes the values of banks (`patchbank.bank.identity`).

Crops are cut in pixels and resized by PIL bilinear (antialiased); no flip. Draw d of an image depends only on (seed,
image id, d), so that fewer draws are a prefix of more. `augment` then changes the colours of each view
(`patchbank.views.colour`); boxes do not depend on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from patchbank.backbones.sizes import round_to_patch
from patchbank.errors import UserError
from patchbank.seeds import generator
from patchbank.views.base import Views
from patchbank.views.bounds import scale_problems
from patchbank.views.colour import distort
from patchbank.views.geometry import Box, local_box, random_box


class Recipe:
    """One global and `local_crops` local crops per draw.

    Args:
        patch: the encoder's patch in pixels.
        size: side of every resized crop in pixels, rounded to the patch.
        draws: samples per image.
        local_crops: number of local crops.
        global_scale, local_scale: bounds of the crops' areas as a share of the image's.
        seed: seed of the draws.
        augment: change the colours of every view, as the published code can (its configurations do not).

    Raises:
        UserError: for bounds in the wrong order, or crops too small to overlap.
    """

    def __init__(
        self,
        patch: int,
        size: int = 224,
        draws: int = 4,
        local_crops: int = 2,
        global_scale: tuple[float, float] = (0.5, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.25),
        seed: int = 0,
        augment: bool = False,
    ) -> None:
        if problems := list(scale_problems(global_scale, local_scale)):
            raise UserError(f"Recipe multicrop: {'; '.join(problems)}.")
        side = round_to_patch(size, patch)
        self.draws, self.views, self.size = draws, 1 + local_crops, (side, side)
        self.global_scale = (global_scale[0], global_scale[1])
        self.local_scale = (local_scale[0], local_scale[1])
        self.seed, self.augment = seed, augment

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {
            "name": "multicrop",
            "size": list(self.size),
            "resize": "PIL bilinear",
            "draws": self.draws,
            "local_crops": self.views - 1,
            "global_scale": list(self.global_scale),
            "local_scale": list(self.local_scale),
            "seed": self.seed,
            "augment": self.augment,
        }

    def boxes(self, size: tuple[int, int], image_id: str, draw: int) -> list[Box]:
        """Boxes of one draw of an image of `size` (width, height) in pixels: the global crop, then the local ones."""
        rng = generator("multicrop", self.seed, image_id, draw)
        anchor = random_box(rng, *size, self.global_scale)
        return [anchor, *(local_box(rng, *size, self.local_scale, anchor) for _ in range(self.views - 1))]

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The global crop first, then the local ones."""
        boxes = self.boxes(image.size, image_id, draw)
        target = (self.size[1], self.size[0])
        crops = [image.crop(box).resize(target, Image.Resampling.BILINEAR) for box in boxes]
        if self.augment:
            colours = (generator("multicrop colour", self.seed, image_id, draw, view) for view in range(self.views))
            crops = [distort(crop, rng) for crop, rng in zip(crops, colours, strict=True)]
        return Views(
            pixels=np.stack([np.asarray(crop, dtype=np.uint8) for crop in crops]),
            boxes=np.array(boxes, dtype=np.float32),
            flip=np.zeros(self.views, dtype=bool),
        )
