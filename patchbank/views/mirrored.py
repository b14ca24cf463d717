"""Recipe `mirrored`: what `whole` is, of the mirror image.

Shapes the values of banks (`patchbank.bank.identity`).

Heads that are not linear average their codes of an image and of its mirror image; averaged tokens (`flipped`) would
give other codes. Patches stay where the mirror image has them. Its settings are those of `whole`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from patchbank.views import whole
from patchbank.views.base import Views


class Recipe(whole.Recipe):
    """One view of the whole image, mirrored."""

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {**super().record(), "name": "mirrored"}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The squashed image from right to left; the box is the whole image."""
        plain = super().make(image, image_id, draw)
        return Views(plain.pixels[:, :, ::-1].copy(), plain.boxes, np.ones(1, dtype=bool))
