"""Nearest neighbours of training views: cosines of their mean tokens, by faiss, once for all seeds.

A folder ``<state_root>/neighbours-<digest>`` (`patchbank.methods.tools.seedless`) holds them as `neighbours.npz`
(`neighbours`, (views, 8) int32, by `nearest`), and what shapes them as `identity.json`.

Source: STEGO, `precompute_knns.py`, https://github.com/mhamilton723/STEGO. The published code computes the tokens with
10 % of their channels dropped at random; here none are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.files import read_npz, write_json, write_npz
from patchbank.leases import alone
from patchbank.methods.tools.seedless import kept_in
from patchbank.methods.tools.training_views import TrainingViews

NEIGHBOURS = 7
"""A positive is one of so many nearest views, the view itself left out."""


def stored_neighbours(root: Path, views: TrainingViews, origin: Mapping[str, Any]) -> NDArray[np.int64]:
    """`nearest` of all views, searched where no other training has done it; one that does is waited for.

    Args:
        root: folder of all states.
        views: of the train split.
        origin: of the training (`patchbank.methods.tools.phases.origin`).

    Returns:
        (views, `NEIGHBOURS` + 1), fewer where there are fewer views.
    """
    import faiss

    shapes = {"views": views.kind, "count": NEIGHBOURS + 1, "faiss": faiss.__version__}
    folder, identity = kept_in(root, "neighbours", "patchbank.methods.stego.neighbours", origin, shapes)
    file = folder / "neighbours.npz"
    if not file.is_file():
        with alone(file, "neighbours"):
            if not file.is_file():  # nobody made it meanwhile
                found = nearest(views.means(), NEIGHBOURS + 1)
                write_json(folder / "identity.json", identity)
                write_npz(file, {"neighbours": found.astype(np.int32)})
    return read_npz(file)["neighbours"].astype(np.int64)


def nearest(means: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The nearest views of every view.

    Args:
        means: (n, D) unit mean tokens.
        count: how many, at most n.

    Returns:
        (n, count) by falling cosine; rank 0 is the view itself, also where others are equal to it.
    """
    import faiss

    index = faiss.IndexFlatIP(means.shape[1])
    index.add(np.ascontiguousarray(means))
    _, indices = index.search(np.ascontiguousarray(means), min(count, len(means)))
    itself = np.arange(len(means))[:, None]
    # the view first, the others in their order; where more than `count` are equal it may be missing
    order = np.argsort(indices != itself, axis=1, kind="stable")
    ranked: NDArray[np.int64] = np.take_along_axis(indices, order, 1).astype(np.int64)
    ranked[:, 0] = itself[:, 0]
    return ranked


def positives(neighbours: NDArray[np.int64], samples: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A positive (b,) for every view of a batch: a random rank from 1 on; the view itself where there is no other."""
    ranks = neighbours.shape[1]
    if ranks == 1:
        return samples
    chosen: NDArray[np.int64] = neighbours[samples, rng.integers(1, ranks, len(samples))]
    return chosen
