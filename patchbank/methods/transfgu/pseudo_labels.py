"""Pseudo labels of a train split on disk: made once from the bank, read by every step.

One HDF5 file, written atomically:

| dataset | shape | dtype | meaning |
|---|---|---|---|
| `image` | (n,) | S16 | content ids, in the bank's order |
| `code` | (n, K, N) | float16 | the map between `low` and `high`; -1 where it is 0 whatever `base` says |
| `low`, `high` | (n,) | float32 | smallest and largest value of an image's maps |
| `base` | (n, N) | float32 | added to all maps of the image (the attention V; 0 for token similarity) |
| attributes | | | `identity` (JSON: what it was made from, its centroids among it), `grid` |

value = 0 where code < 0, else base + low + (high - low) * code. The attention is kept apart because the gradients that
tell classes from each other are hundreds of times smaller: float16 of their sum would round them away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import roi_align

from patchbank.backbones.tail import ClassTail
from patchbank.errors import UserError
from patchbank.files import atomic_path, check_space
from patchbank.memory import release
from patchbank.methods.transfgu.maps import gradient_maps
from patchbank.methods.transfgu.similarity import TokenClasses, image_tokens
from patchbank.progress import track

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

_BLOCK_VALUES = 1 << 23
"""Values of the block's `last_values` that are in memory at a time (32 MB in float32)."""

Rows = tuple[NDArray[np.float32], NDArray[np.float32]]


def gradient_rows(
    bank: Bank,
    tail: ClassTail,
    centroids: NDArray[np.float32],
    gradient_batch: int,
    device: torch.device,
    images: Sequence[int] | None = None,
) -> Iterator[Rows]:
    """(base (N,), push (K, N)) of every image of a `lastblock` bank (or of those of these indices), in its order."""
    chosen = np.arange(len(bank.images)) if images is None else np.asarray(images)
    tail, targets = tail.to(device), torch.from_numpy(centroids).to(device)
    size = max(1, _BLOCK_VALUES // (bank.tokens_per_view * bank.dim))
    names = ("last_values", "cls_attention", "last_mixed", "last_residual")
    for start in range(0, len(chosen), size):
        stored = bank.read(chosen[start : start + size], names)
        values, attention, mixed, residual = (torch.from_numpy(stored[n][:, 0]).to(device).float() for n in names)
        maps = gradient_maps(tail, values, attention, mixed, residual, targets, gradient_batch)
        yield from zip(maps.base.cpu().numpy(), maps.push.cpu().numpy(), strict=True)


def similarity_rows(bank: Bank, classes: TokenClasses, images: Sequence[int] | None = None) -> Iterator[Rows]:
    """(base (N,) of zeros, cosines (K, N)) of every image of a `whole` bank (or of those of these indices)."""
    for row in range(len(bank.images)) if images is None else images:
        tokens = image_tokens(bank, row)
        yield np.zeros(len(tokens), dtype=np.float32), classes.maps(tokens, bank.images[row])


def write_pseudo_labels(
    path: str | Path, bank: Bank, rows: Iterator[Rows], maps: int, identity: Mapping[str, Any], signed: bool
) -> None:
    """Write the file.

    Args:
        path: file to write.
        bank: where the maps come from (images and grid).
        rows: one pair an image.
        maps: K.
        identity: what the maps were made from.
        signed: whether a negative value is a value (cosines), or stands for a map of 0 (`maps.ZERO`).
    """
    count, patches = len(bank.images), bank.grid[0] * bank.grid[1]
    needed = count * patches * (2 * maps + 4)
    check_space(Path(path).parent, needed, "free some space, or make results/.training a link to a larger disk")
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file.attrs["identity"] = json.dumps(dict(identity), sort_keys=True)
        file.attrs["grid"] = bank.grid
        file.create_dataset("image", data=np.array(bank.images, dtype="S16"))
        code = file.create_dataset("code", (count, maps, patches), np.float16)
        base = file.create_dataset("base", (count, patches), np.float32)
        bounds = np.empty((2, count), dtype=np.float32)
        for i, (row, values) in enumerate(track(rows, "pseudo labels", unit="image", total=count)):
            kept = values if signed else np.maximum(values, 0)
            low, high = (kept.min(), kept.max()) if signed else (np.float32(0), kept.max())
            scaled = (kept - low) / (high - low) if high > low else np.zeros_like(kept)
            code[i] = (scaled if signed else np.where(values < 0, -1, scaled)).astype(np.float16)
            base[i], bounds[:, i] = row, (low, high)
            if i % 256 == 255:
                release()
        file.create_dataset("low", data=bounds[0])
        file.create_dataset("high", data=bounds[1])


class PseudoLabels:
    """Maps of a train split, mapped from their file.

    Args:
        path: what `write_pseudo_labels` wrote.
        identity: what the training asks for.

    Raises:
        UserError: the file was made from something else (other centroids, another bank).
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any]) -> None:
        with h5py.File(path, "r") as file:
            stored = json.loads(file.attrs["identity"])
            differing = [f"{k} {stored.get(k)!r} instead of {v!r}" for k, v in identity.items() if stored.get(k) != v]
            if differing:
                raise UserError(
                    f"The pseudo labels in {path} were made from something else than this training asks for: "
                    f"{'; '.join(differing)}. Train into another folder."
                )
            self.grid = (int(file.attrs["grid"][0]), int(file.attrs["grid"][1]))
            layout = {
                name: (file[name].id.get_offset(), file[name].shape, file[name].dtype) for name in ("code", "base")
            }
            self._low, self._high = file["low"][:], file["high"][:]
        # mapped at their offsets, as the bank is: h5py's own reading of scattered rows is several times slower
        self._file = np.memmap(path, np.uint8, "r")
        self._code, self._base = (np.ndarray(s, d, self._file.data, offset) for offset, s, d in layout.values())

    def read(self, images: NDArray[np.int64]) -> Tensor:
        """Maps (b, K, h, w) float32 of images by their index."""
        code = torch.from_numpy(self._code[images]).float()
        base, low, high = (torch.from_numpy(part[images]) for part in (self._base, self._low, self._high))
        values = base[:, None] + low[:, None, None] + (high - low)[:, None, None] * code
        return torch.where(code < 0, 0.0, values).view(*code.shape[:2], *self.grid)


def crop_maps(maps: Tensor, boxes: Tensor, flip: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Maps inside the crops that the decoder sees.

    Args:
        maps: (b, K, h, w) of whole images.
        boxes: (b, 4), x0 y0 x1 y1 in pixels of the squashed input.
        flip: (b,) bool, crops that were mirrored.
        size: (H, W) of the squashed input in pixels.
        grid: (gh, gw) of the crops' patch grid.

    Returns:
        (b, K, gh, gw): RoI-align, averaged over adaptively many samples, half-pixel aligned.
    """
    h, w = maps.shape[-2:]
    scale = boxes.new_tensor([w / size[1], h / size[0]]).repeat(2)
    numbers = torch.arange(len(boxes), dtype=boxes.dtype, device=boxes.device)[:, None]
    cropped: Tensor = roi_align(maps, torch.cat([numbers, boxes * scale], 1), grid, sampling_ratio=-1, aligned=True)
    return torch.where(flip[:, None, None, None], cropped.flip(-1), cropped)
