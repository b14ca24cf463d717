"""Whether this machine has a CUDA device, found without importing torch (the workflow asks before any job runs)."""

from __future__ import annotations

import os
from pathlib import Path


def cuda_present() -> bool:
    """True where the NVIDIA driver shows a device and `CUDA_VISIBLE_DEVICES` does not hide all of them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Path("/dev/nvidia0").exists() and visible not in ("", "-1")
