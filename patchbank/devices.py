"""Which device a stage computes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.errors import UserError

if TYPE_CHECKING:
    import torch


def cuda_present() -> bool:
    """True where the NVIDIA driver shows a device and `CUDA_VISIBLE_DEVICES` does not hide all of them.

    Found without importing torch: the workflow asks before any job runs.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Path("/dev/nvidia0").exists() and visible not in ("", "-1")


def torch_device(name: str) -> torch.device:
    """The device of a name: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``...

    Raises:
        UserError: torch knows no such device here.
    """
    import torch  # slow, and `cuda_present` does without

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name} cannot be used ({reason}); choose auto or cpu.") from None
    return device
