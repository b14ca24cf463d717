"""``tokens_from: whole``: training crops cut out of whole-image tokens instead of out of pixels.

A bank with one view of each image is enough: the boxes of recipe `multicrop` are drawn anew for every epoch, and
tokens and class-token attention inside each box are averaged onto the crop's patch grid by RoI-align (He et al. 2017,
https://arxiv.org/abs/1703.06870; aligned, as many samples a patch as the box has tokens for it). A feature crop is
not the crop's features: the encoder saw the whole image, and a small crop has fewer tokens than patches.

Draw d of an image depends on (training seed, image id, d) only. With equal seeds its boxes are those of the
`multicrop` bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.bank.reader import FIELDS, Arrays, Bank, Samples
from patchbank.errors import UserError
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.views.multicrop import Recipe


class FeatureCrops(Bank):
    """A bank of crops that are made when they are read: what training asks of a `multicrop` bank, and no more.

    Args:
        whole: open `whole` bank of the train split.
        settings: `crops` and `epochs` are used; there are as many draws as epochs, since they cost no disk.
        seed: of the training.

    Attributes:
        whole: that bank.

    Raises:
        UserError: the bank has more than one view of an image.
    """

    def __init__(self, whole: Bank, settings: AlignSegSettings, seed: int) -> None:
        if whole.views != 1 or whole.draws != 1:
            raise UserError(f"tokens_from: whole reads a bank of recipe `whole`, {whole.folder} holds crops.")
        self.whole = whole
        patch = whole.input_size[0] // whole.grid[0]
        self._recipe = Recipe(patch, **(settings.crops or {}), draws=settings.epochs, seed=seed)
        self.folder, self.record, self.images = whole.folder, whole.record, whole.images
        self.draws = settings.epochs
        self._drawn = np.full((len(whole.images) * self.draws, self._recipe.views, 4), np.nan, np.float32)
        self._sizes = whole.read(np.arange(len(whole.images)), ("boxes",))["boxes"][:, 0, 2:].astype(int).tolist()

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) in pixels of a crop of that many patches."""
        return self._recipe.size

    @property
    def views(self) -> int:
        """Crops of one sample."""
        return self._recipe.views

    @property
    def tokens_per_view(self) -> int:
        """N, patches of one crop."""
        return self.grid[0] * self.grid[1]

    @property
    def dim(self) -> int:
        """D, width of a token."""
        return self.whole.dim

    @property
    def heads(self) -> int:
        """Attention heads of the block that was read."""
        return self.whole.heads

    @property
    def dtype(self) -> np.dtype[Any]:
        """Crops are averages: float32 whatever the bank stores."""
        return np.dtype(np.float32)

    @property
    def coding(self) -> None:
        """Crops are made of decoded tokens."""
        return

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patch grid of a crop."""
        height, width = self.whole.input_size
        h, w = self.whole.grid
        return self.input_size[0] * h // height, self.input_size[1] * w // width

    def read(self, rows: Samples, fields: Sequence[str] = FIELDS, out: Arrays | None = None) -> dict[str, NDArray[Any]]:
        """Samples, in the given order.

        Args:
            rows: (b,) sample indices, image * draws + draw.
            fields: `tokens` (b, V, N, D), `cls_attention` (b, V, heads, N), both float32.
            out: arrays to fill; made when not given.
        """
        index = np.asarray(rows, dtype=np.int64)
        stored = self.whole.read(index // self.draws, fields)
        count = self.tokens_per_view
        shapes = {"tokens": (count, self.dim)}
        if "cls_attention" in fields:
            shapes["cls_attention"] = (self.heads, count)
        result = {
            name: out[name] if out else np.empty((len(index), self.views, *shapes[name]), np.float32) for name in fields
        }
        for i, sample in enumerate(index.tolist()):
            boxes = torch.from_numpy(self._boxes(sample))
            for name in fields:
                values = torch.from_numpy(stored[name][i, 0])
                if name == "tokens":
                    result[name][i] = crop_maps(values.T, self.whole.grid, boxes, self.grid).transpose(1, 2).numpy()
                else:
                    result[name][i] = crop_maps(values, self.whole.grid, boxes, self.grid).numpy()
        return result

    def boxes_of(self, rows: NDArray[np.int64]) -> Tensor:
        """Boxes (b * V, 5) float32 of samples `rows` (b,): which of them, then x0 y0 x1 y1 in its tokens."""
        boxes = np.stack([self._boxes(sample) for sample in rows.tolist()])
        numbers = np.broadcast_to(np.arange(len(rows), dtype=np.float32)[:, None, None], (*boxes.shape[:2], 1))
        return torch.from_numpy(np.concatenate([numbers, boxes], 2)).flatten(0, 1)

    def cut(self, tokens: Tensor, boxes: Tensor) -> Tensor:
        """The crops of whole images, made where their tokens are.

        Args:
            tokens: (b, N, D) of the images of some samples.
            boxes: of these samples, from `boxes_of`, on the same device.

        Returns:
            (b * V, n, D) float32, as `read` gives them.
        """
        return align(tokens.transpose(1, 2), self.whole.grid, boxes, self.grid).transpose(1, 2).contiguous()

    def _boxes(self, sample: int) -> NDArray[np.float32]:
        """Boxes (V, 4) of one sample in tokens of the whole image; drawn once, for masks and for tokens."""
        known: NDArray[np.float32] = self._drawn[sample]
        if np.isnan(known[0, 0]):
            image, draw = divmod(sample, self.draws)
            width, height = self._sizes[image]
            h, w = self.whole.grid
            cells = np.array([w / width, h / height, w / width, h / height], np.float32)
            known[:] = np.array(self._recipe.boxes((width, height), self.images[image], draw), np.float32) * cells
        return known


def crop_maps(maps: Tensor, grid: tuple[int, int], boxes: Tensor, target: tuple[int, int]) -> Tensor:
    """Average maps of a whole image inside boxes.

    Args:
        maps: (C, N) of any float dtype, N = h * w of `grid`, row by row.
        grid: (h, w) of the whole image.
        boxes: (V, 4) float32, x0 y0 x1 y1 in cells of `grid`.
        target: (h, w) of each crop.

    Returns:
        (V, C, h * w) float32.
    """
    return align(maps[None], grid, torch.cat([torch.zeros(len(boxes), 1), boxes], 1), target)


def align(maps: Tensor, grid: tuple[int, int], boxes: Tensor, target: tuple[int, int]) -> Tensor:
    """RoI-align of several images, on the device of their maps.

    Args:
        maps: (b, C, N) of any float dtype.
        grid: (h, w) of the whole images.
        boxes: (k, 5) float32: which image, then x0 y0 x1 y1 in cells of `grid`.
        target: (h, w) of each crop.

    Returns:
        (k, C, h * w) float32.
    """
    from torchvision.ops import roi_align  # takes a second to import, and most trainings read no such crops

    whole = maps.float().reshape(*maps.shape[:2], *grid)
    crops: Tensor = roi_align(whole, boxes, target, spatial_scale=1.0, sampling_ratio=-1, aligned=True)
    return crops.flatten(2)
