"""Input sizes: a named size is rounded, per side, to the nearest multiple of the patch (ties upwards).

Shapes the values of banks (`patchbank.bank.identity`).
"""

from __future__ import annotations


def round_to_patch(size: int, patch: int) -> int:
    """Nearest positive multiple of `patch`, e.g. patch 14: 320 -> 322, 160 -> 154, 448 -> 448 (pixels)."""
    return max(1, (2 * size + patch) // (2 * patch)) * patch
