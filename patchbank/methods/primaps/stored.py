"""Proposals of all views of a train split, made once and mapped from a file that every start and seed reads.

A folder ``<state_root>/proposals-<digest>`` (`patchbank.methods.tools.seedless`) holds two files:

| file | what |
|---|---|
| `proposals.bin` | (views, H, W) uint8, 0 for no proposal, row after row |
| `done.json` | how many views are complete, and the identity |

Trainings beside each other may write the same file: the bytes are equal, and the count never exceeds what is there.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from patchbank.bank.reader import Bank
from patchbank.errors import UserError
from patchbank.files import check_space, read_json, write_json
from patchbank.methods.primaps.proposals import (
    NONE,
    Rule,
    log_probabilities,
    probabilities,
    proposal_labels,
    soft_masks,
)
from patchbank.methods.primaps.settings import TITLE, PrimapsSettings
from patchbank.methods.tools.seedless import kept_in
from patchbank.methods.tools.training_views import TrainingViews
from patchbank.progress import track
from patchbank.refinement import crf, pamr

_BLOCK = 64
"""Views between two counts on disk, and views whose edges are looked for beside each other."""
_SHAPING = ("views", "threshold", "most", "reference", "refine")
"""Settings that proposals depend on, beside the centring of the tokens."""


class StoredProposals:
    """Proposals of views; those that are missing are made.

    Args:
        root: folder of all states.
        views: of the train split.
        settings: how proposals are made.
        size: (H, W) at which they are kept.
        origin: of the training (`patchbank.methods.tools.phases.origin`; `threads`, and of the CRF its `library`).
        pixels: bank of the views' pixels, for `settings.refine`; None without.

    Raises:
        UserError: no room on the disk, or a view whose refinement takes too long.
    """

    def __init__(
        self,
        root: Path,
        views: TrainingViews,
        settings: PrimapsSettings,
        size: tuple[int, int],
        origin: Mapping[str, Any],
        pixels: Bank | None,
    ) -> None:
        self._views, self._size, self._settings, self._pixels = views, size, settings, pixels
        self._threads = int(origin["threads"])
        shapes = {"size": list(size), **{name: getattr(settings, name) for name in _SHAPING}}
        if "library" in origin:  # that of the CRF
            shapes["library"] = origin["library"]
        self.folder, self._identity = kept_in(root, "proposals", "patchbank.methods.primaps.stored", origin, shapes)
        self._count = self.folder / "done.json"
        self._masks = self._mapped()
        self._make(self._done())

    def read(self, samples: NDArray[np.int64]) -> Tensor:
        """Proposals (b, H, W) int64 of views, `proposals.NONE` for none."""
        labels = torch.from_numpy(self._masks[samples].astype(np.int64))
        return torch.where(labels == 0, NONE, labels)

    def _mapped(self) -> NDArray[np.uint8]:
        shape = (self._views.count, *self._size)
        path, needed = self.folder / "proposals.bin", int(np.prod(shape))
        if not path.is_file():
            self._count.unlink(missing_ok=True)
            check_space(self.folder, needed, "free some space, or make results/.training a link to a larger disk")
        with path.open("ab") as file:
            file.truncate(needed)  # nothing changes where another training has made it
        return np.memmap(path, np.uint8, "r+", shape=shape)

    def _done(self) -> int:
        return int(read_json(self._count)["done"]) if self._count.is_file() else 0

    def _make(self, first: int) -> None:
        total = self._views.count
        with closing(self._labels(first)) as made:
            for number in track(range(first, total), f"{TITLE} proposals", "view"):
                self._masks[number] = next(made)
                if (number + 1) % _BLOCK == 0 or number + 1 == total:
                    self._masks.flush()  # type: ignore[attr-defined]
                    write_json(self._count, {"done": number + 1, "identity": self._identity})

    def _labels(self, first: int) -> Generator[NDArray[np.uint8]]:
        """Proposals (H, W) of the views from number `first` on, 0 for none."""
        workers = self._threads if self._settings.refine == "crf" else 1  # torch has threads of its own
        with crf.DenseCRF() as dense, ThreadPoolExecutor(workers) as pool:
            rules: dict[str, pamr.Rule | None] = {"none": None, "pamr": pamr.pamr_winners, "crf": dense}
            follow = partial(self._followed, rule=rules[self._settings.refine])
            for start in range(first, self._views.count, _BLOCK):
                numbers = range(start, min(start + _BLOCK, self._views.count))
                try:
                    yield from pool.map(follow, numbers, (self._on_grid(number) for number in numbers))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)  # what waits would be done first
                    raise

    def _on_grid(self, number: int) -> Tensor:
        """Log probabilities (1 + n, h, w) of a view's patches."""
        settings = self._settings
        rule = Rule(settings.threshold, settings.most, settings.reference)
        masks, _ = soft_masks(self._views.read(np.array([number]))[0], rule)
        return log_probabilities(masks, self._views.grid, settings.reference)

    def _followed(self, number: int, log_probs: Tensor, rule: pamr.Rule | None) -> NDArray[np.uint8]:
        """Proposals (H, W) of a view, 0 for none, along the edges of its pixels where there is a rule."""
        if rule is None:
            labels = proposal_labels(log_probs, None if self._size == self._views.grid else self._size)
            return torch.where(labels == NONE, 0, labels).numpy().astype(np.uint8)
        assert self._pixels is not None, "refine asks for a bank of pixels"
        picture = Image.fromarray(self._pixels.read(np.array([number]), ("pixels",))["pixels"][0, 0])
        pixels = np.asarray(picture.resize(self._size[::-1], Image.Resampling.BILINEAR))
        try:
            return rule(probabilities(log_probs, self._size).numpy(), pixels).astype(np.uint8)
        except crf.TookTooLong:
            raise UserError(
                f"{TITLE}: the dense CRF took over {crf.LIMIT:.0f} s on the proposals of image "
                f"{self._pixels.images[number]}; run again where the machine was busy, which goes on from there, or "
                f"choose refine: pamr, a smaller size, or fewer than {self._settings.most} proposals (most)."
            ) from None
