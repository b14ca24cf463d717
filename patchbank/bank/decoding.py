"""Files are decoded and resized in processes of their own, a few batches ahead of the encoder."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate

from patchbank.bank.encode import Pictures, image_views
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import PLAIN, load_image
from patchbank.errors import UserError
from patchbank.memory import keep_no_more
from patchbank.threads import available, helpers
from patchbank.views.base import RecipeProtocol

LOG = logging.getLogger(__name__)
SOCKET_FOLDER = 107 - len("/pymp-12345678/listener-12345678")
"""Bytes of a folder below which Python's processes can open a socket; Linux allows 107 for the whole path."""
SHARED = Path("/dev/shm")
"""Where decoded pictures are handed over, on Linux; containers have 64 MB of it unless told otherwise."""
MAX_WORKERS = 16
"""Decoding processes at most, beside a GPU."""
FED = 8
"""Cores that compute on the pictures of one decoding process; a large photograph takes it a tenth of a second."""
AHEAD = 2
"""Batches that every process has ready."""


class ImageViews(Dataset[Pictures | str]):
    """All draws of one image: pixels (draws, V, H, W, 3), boxes (draws, V, 4), flip (draws, V).

    An image that cannot be read comes back as the sentence that says why, because an exception would reach the main
    process wrapped in a worker's traceback.
    """

    def __init__(self, paths: Mapping[str, Path], recipe: RecipeProtocol, treatment: Treatment = PLAIN) -> None:
        self._paths, self.recipe, self._treatment = dict(paths), recipe, treatment

    def __getitem__(self, image_id: Any) -> Pictures | str:
        try:
            image = load_image(self._paths[image_id], self._treatment)
        except UserError as error:
            return str(error)
        return image_views(self.recipe, image, image_id)


class Batches(Protocol):
    """Ids of the images of each batch."""

    def __len__(self) -> int:
        """Number of batches."""
        ...

    def __iter__(self) -> Iterator[Sequence[str]]:
        """The batches, in their order."""
        ...


def decoders(device: torch.device, threads: int | None) -> int:
    """How many processes decode: nearly as many as there are threads beside a GPU, few beside an encoder that computes
    with the same cores.

    Args:
        device: of the encoder.
        threads: CPU threads of the job; by default all that are available.
    """
    if device.type == "cuda":
        return helpers(MAX_WORKERS, threads)
    return 1 + (threads or available()) // FED


def image_batches(batches: Batches, views: ImageViews, size: int, workers: int, pinned: bool) -> DataLoader[Any]:
    """Views of the images of each batch, or what is wrong with one of them, decoded in processes.

    Args:
        batches: ids of the images.
        views: how one is read.
        size: images of a batch at most.
        workers: processes at most; fewer where the host's shared memory does not hold what they have ready.
        pinned: whether pixels come in page-locked memory, for a GPU.

    Raises:
        UserError: no socket fits below the folder for temporary files.
    """
    _check_sockets(tempfile.gettempdir())
    count = _sharing(min(workers, len(batches)), views.recipe, size)
    return DataLoader(
        views,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=count,
        prefetch_factor=AHEAD if count else None,
        pin_memory=pinned,
        worker_init_fn=_start_worker,
        collate_fn=_stack,
        multiprocessing_context="fork",  # others would import the calling script again
    )


def _check_sockets(folder: str) -> None:
    """`UserError` where no socket fits below the folder for temporary files: pictures would never arrive."""
    length = len(os.fsencode(folder))
    if length > SOCKET_FOLDER:
        raise UserError(
            f"The folder for temporary files, {folder}, has a path of {length} bytes, and processes that decode hand "
            f"over pictures through sockets in it, which allow {SOCKET_FOLDER}; set TMPDIR to a shorter one."
        )


def _sharing(workers: int, recipe: RecipeProtocol, size: int) -> int:
    """As many processes as shared memory has room for, one at least: who writes where there is none is killed."""
    if workers < 2 or not SHARED.is_dir():
        return workers
    picture = recipe.draws * recipe.make(Image.new("RGB", (64, 64)), "", 0).pixels.nbytes
    room = int(shutil.disk_usage(SHARED).free // (AHEAD * size * picture))
    if room < workers:
        LOG.warning(
            "%d processes decode in place of %d: %s has room for no more. In a container, give it more (--shm-size).",
            max(1, room),
            workers,
            SHARED,
        )
    return max(1, min(workers, room))


def _stack(samples: list[Pictures | str]) -> Pictures | str:
    """Stack the images of a batch, in memory that the processes share; one that cannot be read stands for all."""
    unread = [sample for sample in samples if isinstance(sample, str)]
    if unread:
        return unread[0]
    pixels, boxes, flip = default_collate(samples)
    return pixels, boxes, flip


def _start_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    keep_no_more()  # pictures have sizes of their own, up to hundreds of MB
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all processes of a job get it; the one that encodes ends this one
