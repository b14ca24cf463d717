"""Recipe `windows`: the class token of every window of an image, TransFGU's material for centroids.

Shapes the values of banks (`patchbank.bank.identity`).

The image is squashed to twice the input size; windows are squares on that doubled image's patch grid, cut in pixels,
resized (bilinear, not antialiased) and encoded one by one, batched across images. A first pass over the doubled image
selects them by foreground: the class token's attention, mean over heads, above its own mean.

| dataset | shape of a row | dtype | meaning |
|---|---|---|---|
| `cls` | (W, D) | float32 | class token of each window, zeros where it was not selected |
| `window` | (W,) | uint8 | 0 not selected, 1 foreground (or all), 2 background |
| `boxes` | (W, 4) | float32 | pixels of the doubled squash, x0 y0 x1 y1, right and bottom exclusive |

An image's numbers of windows are the counts of its codes. As published, a crop loses the last pixel row and column of
its window.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from patchbank.backbones.encoder import Encoder
from patchbank.backbones.sizes import round_to_patch
from patchbank.errors import UserError
from patchbank.views.base import Views
from patchbank.views.fields import Shapes
from patchbank.views.resize import NAMES, Rule, input_size, squash

Select: TypeAlias = Literal["all", "foreground", "foreground+background"]
SELECTIONS = ("all", "foreground", "foreground+background")
FOREGROUND, BACKGROUND = 1, 2


def window_boxes(grid: tuple[int, int], scales: Sequence[float]) -> NDArray[np.int64]:
    """All windows of a patch grid.

    For each scale a square of side b = int(min(h * scale, w * scale)) around centres on the integer grid, inside the
    image, at multiples of b / 2 or touching the far border exactly.

    Args:
        grid: (h, w).
        scales: side of a window as a share of the shorter side.

    Returns:
        (W, 4) inclusive patch coordinates y0 x0 y1 x1, by scale, then row, then column.
    """
    h, w = grid
    found = []
    for scale in scales:
        b = int(min(h * scale, w * scale))
        for y in _centres(h, b):
            for x in _centres(w, b):
                at_y, at_x = 2 * y % b == 0, 2 * x % b == 0
                edge_y, edge_x = _touches(y, h, b), _touches(x, w, b)
                far = 2 * y + b == 2 * (h - 1) and 2 * x + b == 2 * (w - 1)
                if (at_y and at_x) or (at_y and edge_x) or (at_x and edge_y) or far:
                    r = b // 2
                    found.append((y - r, x - r, y + r, x + r))
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def _centres(extent: int, b: int) -> range:
    """Centres c with c - b/2 >= 0 and c + b/2 < extent; none for an empty window."""
    return range(-(-b // 2), -(-(2 * extent - b) // 2)) if b > 0 else range(0)


def _touches(c: int, extent: int, b: int) -> bool:
    return 2 * c - b == 0 or 2 * c + b == 2 * (extent - 1)


def select_windows(foreground: NDArray[np.bool_], windows: NDArray[np.int64], patch: int) -> NDArray[np.uint8]:
    """Codes (W,) of the windows of one image: `FOREGROUND` where more than half of the cropped pixels are foreground,
    `BACKGROUND` where more than 80 % are not, else 0.

    Args:
        foreground: (h, w), by patch.
        windows: (W, 4) inclusive patch coordinates.
        patch: pixels of a patch; the last patch of a crop has one pixel less.
    """
    codes = np.zeros(len(windows), dtype=np.uint8)
    for i, (y0, x0, y1, x1) in enumerate(windows.tolist()):
        part = foreground[y0 : y1 + 1, x0 : x1 + 1].astype(np.int64)
        rows, columns = (np.full(n, patch) for n in part.shape)
        rows[-1] -= 1
        columns[-1] -= 1
        inside, total = int(rows @ part @ columns), int(rows.sum() * columns.sum())
        if 2 * inside > total:
            codes[i] = FOREGROUND
        elif 10 * (total - inside) > 8 * total:
            codes[i] = BACKGROUND
    return codes


class Recipe:
    """Windows of the doubled image.

    Args:
        patch: the encoder's patch in pixels.
        size: input size, a side or [H, W]; rounded to the patch, then doubled.
        scales: sides of the windows as shares of the shorter side.
        window: side in pixels to which a window is resized, rounded to the patch; 0 is the shorter input side.
        select: ``all`` windows, those of the ``foreground``, or ``foreground+background``.
        resize: rule of the first squash (`patchbank.views.resize`).
    """

    batch_images = 8

    def __init__(
        self,
        patch: int,
        size: int | Sequence[int] = 320,
        scales: Sequence[float] = (0.6, 0.5, 0.4, 0.3),
        window: int = 0,
        select: Select = "all",
        resize: Rule = "torch",
    ) -> None:
        if select not in SELECTIONS:
            raise UserError(f"recipes.windows.select is {select!r}; choose one of {', '.join(SELECTIONS)}.")
        height, width = input_size(size, patch)
        self.patch, self.draws, self.views, self.size = patch, 1, 1, (2 * height, 2 * width)
        self.side = round_to_patch(window or min(height, width), patch)
        self.scales, self.select, self.resize = tuple(float(s) for s in scales), select, resize
        self.windows = window_boxes((self.size[0] // patch, self.size[1] // patch), self.scales)
        if not len(self.windows):
            raise UserError(f"recipes.windows: no window of scales {list(scales)} fits an input of {height}x{width}.")

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {
            "name": "windows",
            "size": list(self.size),
            "resize": NAMES[self.resize],
            "scales": list(self.scales),
            "window": self.side,
            "select": self.select,
            "fields": ["cls", "window", "boxes", "flip", "image"],
        }

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The doubled squash; windows are cut where the encoder is, in `encode`."""
        return Views(
            pixels=squash(image, self.size, self.resize)[None],
            boxes=np.array([[0, 0, image.width, image.height]], dtype=np.float32),
            flip=np.zeros(1, dtype=bool),
        )

    def shapes(self, vit: Encoder, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype; class tokens in float32, because centroids are means of them."""
        count = len(self.windows)
        return {
            "cls": ((count, vit.dim), np.dtype(np.float32)),
            "window": ((count,), np.dtype(np.uint8)),
            "boxes": ((count, 4), np.dtype(np.float32)),
            "flip": ((count,), np.dtype(np.uint8)),
        }

    def encode(self, vit: Encoder, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
        """Fields of images (images, 1, 1, H, W, 3)."""
        doubled = vit.normalise(pixels.flatten(0, 2))
        codes = self._codes(vit, doubled, batch_tokens)
        chosen = np.argwhere(codes > 0)
        cls = np.zeros((*codes.shape, vit.dim), dtype=np.float32)
        size = max(1, batch_tokens // (self.side // vit.patch) ** 2)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            crops = torch.cat([self._crop(doubled[image], self.windows[index]) for image, index in part.tolist()])
            encoded = vit(crops).cls
            assert encoded is not None, "a bank of windows needs a class token"
            cls[part[:, 0], part[:, 1]] = encoded.cpu().numpy()
        y0, x0, y1, x1 = self.windows.T
        boxes = np.stack([x0 * self.patch, y0 * self.patch, (x1 + 1) * self.patch - 1, (y1 + 1) * self.patch - 1], 1)
        return {
            "cls": torch.from_numpy(cls),
            "window": torch.from_numpy(codes),
            "boxes": torch.from_numpy(boxes.astype(np.float32)).expand(len(codes), *boxes.shape),
            "flip": torch.zeros(codes.shape, dtype=torch.uint8),
        }

    def _codes(self, vit: Encoder, doubled: torch.Tensor, batch_tokens: int) -> NDArray[np.uint8]:
        """Codes (images, W)."""
        if self.select == "all":
            return np.full((len(doubled), len(self.windows)), FOREGROUND, dtype=np.uint8)
        h, w = vit.grid(*self.size)
        found = []
        for chunk in torch.split(doubled, max(1, batch_tokens // (h * w))):
            encoded = vit(chunk).cls_attention
            assert encoded is not None, "a bank of windows needs a class token"
            attention = encoded.mean(1)
            masks = (attention > attention.mean(1, keepdim=True)).view(-1, h, w).cpu().numpy()
            found += [select_windows(mask, self.windows, self.patch) for mask in masks]
        codes = np.stack(found)
        return np.where(codes == BACKGROUND, 0, codes).astype(np.uint8) if self.select == "foreground" else codes

    def _crop(self, image: torch.Tensor, window: NDArray[np.int64]) -> torch.Tensor:
        """(3, H, W) -> (1, 3, side, side)."""
        y0, x0, y1, x1 = window.tolist()
        p = self.patch
        crop = image[None, :, y0 * p : (y1 + 1) * p - 1, x0 * p : (x1 + 1) * p - 1]
        return interpolate(crop.float(), (self.side, self.side), mode="bilinear", align_corners=False).to(image.dtype)
