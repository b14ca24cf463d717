"""Masks as run lengths: COCO's compressed string, and the packed bits of Label Studio's brush.

COCO counts runs down the columns, zeros first, and writes each as groups of 5 bits in printable characters, from the
third run on as the difference to the run before the last (https://github.com/cocodataset/cocoapi, `common/maskApi.c`).
Label Studio packs the RGBA values of every pixel, row by row, with the scheme of `rle-pack`
(https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack): 32 bits of length, 5 of word size - 1, four times
4 bits of run sizes - 1, then for every run 1 bit (repeated), 2 bits (which run size), length - 1, and the value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

RUN_BITS = (4, 8, 12, 16)
"""Sizes of Label Studio's run lengths; longer runs are cut."""


def runs(flat: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs of a flat mask, zeros first (the first may be 0)."""
    if not len(flat):
        return np.zeros(1, dtype=np.int64)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [len(flat)]]))
    return np.concatenate([[0], lengths]) if flat[0] else lengths


def coco_counts(mask: Mask) -> str:
    """The `counts` of COCO's compressed run lengths of a mask (H, W)."""
    return _compressed(runs(mask.ravel(order="F")).tolist())


def _compressed(lengths: list[int]) -> str:
    text = bytearray()
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index > 2 else length
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            text.append((group | 0x20 if more else group) + 48)
    return text.decode("ascii")


def coco_rle(mask: Mask) -> dict[str, object]:
    """COCO's `segmentation` of a mask (H, W) as compressed run lengths."""
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": coco_counts(mask)}


def coco_box_rle(mask: Mask, top: int, left: int, shape: tuple[int, ...]) -> dict[str, object]:
    """`coco_rle` of a picture of `shape` (H, W) that holds nothing but a mask (h, w) at `top`, `left`.

    Only the columns of the box are looked at: those before and behind it lengthen the first and the last run of zeros.
    """
    height, width = int(shape[0]), int(shape[1])
    columns = np.zeros((height, mask.shape[1]), dtype=np.bool_)
    columns[top : top + mask.shape[0]] = mask
    lengths = runs(columns.ravel(order="F")).tolist()
    lengths[0] += left * height
    if behind := (width - left - mask.shape[1]) * height:
        if len(lengths) % 2 == 0:  # the last run is one of ones
            lengths.append(0)
        lengths[-1] += behind
    return {"size": [height, width], "counts": _compressed(lengths)}


def label_studio_rle(mask: Mask) -> list[int]:
    """The `rle` of a brush of Label Studio: bytes of the packed RGBA mask (H, W), 255 inside and 0 outside."""
    lengths = runs(mask.ravel()) * 4
    bits = [f"{4 * mask.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in RUN_BITS)]
    longest = 1 << RUN_BITS[-1]
    for index, length in enumerate(lengths.tolist()):
        value = "1" * 8 if index % 2 else "0" * 8
        while length > 0:
            part = min(length, longest)
            size = next(number for number, bit in enumerate(RUN_BITS) if part <= 1 << bit)
            bits.append(f"1{size:02b}{part - 1:0{RUN_BITS[size]}b}{value}")
            length -= part
    packed = "".join(bits)
    packed += "0" * (-len(packed) % 8)
    return list(int(packed, 2).to_bytes(len(packed) // 8, "big"))
