"""From what the encoder says to what a bank stores. Shapes the values of banks (`patchbank.bank.identity`)."""

from __future__ import annotations

import torch


def cast(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Values in the stored dtype, on their device and contiguous.

    Rounded to the nearest, of two to the even one; what the dtype cannot hold becomes infinite.
    """
    return values.to(dtype).contiguous()
