"""Which device a stage computes on, and how jobs that run at the same time get devices of their own.

A job of the workflow that asks for one `gpu` claims a device before it imports torch: it locks a file that is named
after the device and sees no other from then on. The lock ends with the process, however that ends. One that may ask
for a `gpu` and gets none sees no device.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import platform
import re
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from patchbank.errors import UserError

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger(__name__)
VARIABLE = "PATCHBANK_DEVICES"
"""Devices that jobs may use, e.g. ``0,1``, where they are not those that are there; on a host without any for tests. In
a job of Slurm they are those that Slurm gave to it, unless all that this names are among them: Slurm may number the
devices of a job from 0."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
NO_LOCKS = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS)
"""What a file system says that locks no files; jobs then spread over the devices by chance."""
PAUSE = 0.5
"""Seconds between two looks for a device that is free."""
_claimed: list[IO[str]] = []
"""Locked files, open as long as this process lives."""


def devices() -> tuple[str, ...]:
    """Names of the CUDA devices that jobs may use: of `PATCHBANK_DEVICES`, or of those that `CUDA_VISIBLE_DEVICES` (set
    by the user or by Slurm) leaves, or numbers of all that the NVIDIA driver shows.

    Found without importing torch: the workflow asks before any job runs.
    """
    if os.environ.get(VARIABLE):
        names = _names(os.environ[VARIABLE])
        if "SLURM_JOB_ID" in os.environ and VISIBLE in os.environ:
            given = _names(os.environ[VISIBLE])
            names = names if set(names) <= set(given) else given
        return names
    shown = sum(1 for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name))
    if not shown:
        return ()
    visible = os.environ.get(VISIBLE)
    return tuple(str(index) for index in range(shown)) if visible is None else _names(visible)


def _names(listed: str) -> tuple[str, ...]:
    """Names in a list; CUDA reads such a list up to the first -1."""
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return tuple(names[: names.index("-1")] if "-1" in names else names)


def cuda_present() -> bool:
    """Whether there is a device for jobs."""
    return bool(devices())


def shares(given: int | None, cores: int | None) -> tuple[int, int | None]:
    """What jobs of a workflow ask for.

    Args:
        given: devices that may be used at the same time, None for all, 0 for none.
        cores: CPU cores that may be, None where nobody said (a cluster).

    Returns:
        How many devices there are for jobs, and the cores of a job that computes on one of several; None where it need
        not share them.
    """
    count = len(devices()) if given is None else min(len(devices()), given)
    return count, None if count < 2 else max(1, (cores or count) // count)


def claim() -> str | None:
    """Take a device that no other job of this user holds, waiting for one where all are held, and see no other.

    Call it before torch looks for devices.

    Returns:
        The device's name; None where there is none.
    """
    names = devices()
    if not names:
        return None
    waited = False
    while True:
        for name in names:
            try:
                file = _locked(name)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                LOG.warning("%s locks nothing (%s): jobs may share a device; set TMPDIR.", tempfile.gettempdir(), error)
                return _see(names[os.getpid() % len(names)])
            if file is not None:
                _claimed.append(file)
                return _see(name)
        if not waited:
            LOG.info("waits for a device: other jobs hold %s", ", ".join(names))
            waited = True
        time.sleep(PAUSE)


def _see(name: str) -> str:
    """Let this process, and those that it starts, see one device."""
    os.environ[VISIBLE] = os.environ[VARIABLE] = name
    LOG.info("computes on device %s", name)
    return name


def hide() -> None:
    """Let this process, and those that it starts, see no device. Call it before torch looks for devices."""
    if devices():
        os.environ[VISIBLE], os.environ[VARIABLE] = "", "-1"


def lock_path(name: str) -> Path:
    """The file that is locked for a device: of a host, and of each Slurm job, which may number its devices from 0."""
    owner = f"{os.getuid()}-{platform.node()}-{os.environ.get('SLURM_JOB_ID', 'host')}"
    return Path(tempfile.gettempdir(), f"patchbank-{owner}-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.lock")


def _locked(name: str) -> IO[str] | None:
    """The locked file of a device; None where another process has locked it, `OSError` where it cannot be locked."""
    file = lock_path(name).open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return file


def torch_device(name: str) -> torch.device:
    """The device of a name: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``...

    Raises:
        UserError: torch knows no such device here.
    """
    import torch  # slow, and `devices` does without

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name} cannot be used ({reason}); choose auto or cpu.") from None
    return device
