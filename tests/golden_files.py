"""Golden numbers of the published implementations: where they lie and how they are compared.

`PATCHBANK_GOLDENS` names another folder with files of the same names and keys; a file missing there is a failure.
Without it the copies in `tests/goldens/` are used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np


def load_golden(name: str) -> dict[str, Any]:
    """All arrays of `<name>.npz`; a missing file fails the test."""
    folder = Path(os.environ.get("PATCHBANK_GOLDENS") or Path(__file__).parent / "goldens")
    path = folder / f"{name}.npz"
    assert path.is_file(), f"golden file {path} is missing"
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def assert_golden(actual: Any, expected: Any, relative: float = 1e-5, absolute: float | None = None) -> None:
    """Compare with a tolerance relative to the largest magnitude of `expected` (or an absolute one)."""
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    assert np.isfinite(actual).all(), "values that are not finite"
    tolerance = absolute if absolute is not None else relative * float(np.abs(expected).max(initial=0.0))
    worst = float(np.abs(actual - expected).max(initial=0.0))
    assert worst <= tolerance, f"largest difference {worst:.3e}, tolerance {tolerance:.3e}"
