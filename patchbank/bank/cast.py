"""From what the encoder says to what a bank stores. Shapes the values of banks (`patchbank.bank.identity`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in the stored dtype, rounded to the nearest; what it cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)
