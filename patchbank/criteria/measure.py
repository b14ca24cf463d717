"""All criteria of one bank.

Inputs: the bank `whole` of the images that clusters are fitted on, their statistics, and, where it is asked for, the
bank `mirrored` of the same images. Output: a JSON file, with these keys under `criteria`.

| key | meaning |
|---|---|
| `seeds`, `halves` | stability over k-means seeds, and over halves of the images (`patchbank.criteria.stability`) |
| `seeds_whitened`, `halves_whitened` | the same after whitening |
| `silhouette_whitened` | mean silhouette of whitened tokens and their clusters (`patchbank.criteria.silhouette`) |
| `used` | share of the clusters that are used, exp(entropy) / K, on held tokens |
| `mirrored` | agreement of clusters with those of the mirror image; only with its bank |

Each is higher where clusters are clearer, and null where there are too few images. Whitened silhouettes are compared,
because without whitening the distances are those of a few strong channels, which differ from block to block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank import threads as cpu_threads
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.sample import sample_counts, sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import assign
from patchbank.clustering.projection import Projection, fit_projection
from patchbank.criteria.mirrored import mirror_agreement
from patchbank.criteria.settings import CriteriaSettings
from patchbank.criteria.silhouette import silhouette
from patchbank.criteria.stability import FEWEST, effective, fit_seeds, over_halves, over_seeds
from patchbank.errors import UserError
from patchbank.files import write_json
from patchbank.seeds import generator

NAMES = ("seeds", "halves", "seeds_whitened", "halves_whitened", "silhouette_whitened", "used", "mirrored")
"""Criteria in the order of tables."""


@dataclass(frozen=True)
class Tokens:
    """A sample of tokens.

    Attributes:
        tokens: (n, D) float32.
        images: (n,) index of the image of each.
        mirrored: tokens (m, N, D) of whole images and of their mirror images, with the grid (h, w) of both; None
            where there are none.
    """

    tokens: NDArray[np.float32]
    images: NDArray[np.integer[Any]]
    mirrored: tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]] | None = None


def measure(sample: Tokens, statistics: Statistics, settings: CriteriaSettings) -> dict[str, float | None]:
    """The criteria of a sample of tokens, by name; see the module."""
    found: dict[str, float | None] = dict.fromkeys(NAMES)
    if len(np.unique(sample.images)) < FEWEST:
        return found
    plain = fit_projection(sample.tokens, settings.projection, statistics)
    points = plain(sample.tokens)
    fits, held = fit_seeds(points, sample.images, settings.k, settings.repeats, settings.kmeans)
    spherical = settings.kmeans.spherical
    found["seeds"] = over_seeds(points[held], fits, spherical)
    found["halves"] = _mean(over_halves(points, sample.images, settings.k, settings.repeats, settings.kmeans))
    found["used"] = float(np.mean([effective(assign(points[held], c, spherical), len(c)) for c in fits]))
    if sample.mirrored is not None:
        found["mirrored"] = _mirrored(sample.mirrored, plain, fits, spherical)
    points = fit_projection(sample.tokens, settings.whitened, statistics)(sample.tokens)
    fits, held = fit_seeds(points, sample.images, settings.k, settings.repeats, settings.kmeans)
    found["seeds_whitened"] = over_seeds(points[held], fits, spherical)
    found["halves_whitened"] = _mean(over_halves(points, sample.images, settings.k, settings.repeats, settings.kmeans))
    found["silhouette_whitened"] = mean_silhouette(points, fits, settings)
    return found


def mean_silhouette(
    points: NDArray[np.float32], fits: list[NDArray[np.float32]], settings: CriteriaSettings
) -> float | None:
    """Mean over fits of the silhouette of a part of the points, the same for all fits and numbers of clusters."""
    chosen = generator("criteria-silhouette").permutation(len(points))[: settings.silhouette]
    found = [silhouette(points[chosen], assign(points[chosen], c, settings.kmeans.spherical)) for c in fits]
    known = [value for value in found if value is not None]
    return _mean(known) if known else None


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _mirrored(
    whole: tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]],
    projection: Projection,
    fits: list[NDArray[np.float32]],
    spherical: bool,
) -> float:
    images, mirrors, grid = whole
    points = [projection(part.reshape(-1, part.shape[-1])).reshape(*part.shape[:2], -1) for part in (images, mirrors)]
    return mirror_agreement(points[0], points[1], grid, fits, spherical)


def sampled(bank: Bank, settings: CriteriaSettings, mirror: Bank | None = None) -> Tokens:
    """Tokens of a bank, and of the bank of its mirror images.

    Raises:
        UserError: the two banks hold other images or another grid.
    """
    images = np.repeat(np.arange(len(bank)), sample_counts(bank, settings.sample, 0))
    tokens = sample_tokens(bank, settings.sample, 0)
    if mirror is None:
        return Tokens(tokens, images)
    if (mirror.images, mirror.grid) != (bank.images, bank.grid):
        raise UserError(f"{mirror.folder} and {bank.folder} hold different images; run the extract stage again.")
    rows = np.sort(generator("criteria-mirrored").permutation(len(bank))[: settings.mirrored])
    both = [source.read(rows, ("tokens",))["tokens"][:, 0].astype(np.float32) for source in (bank, mirror)]
    return Tokens(tokens, images, (both[0], both[1], bank.grid))


def write_criteria(
    bank: Path,
    statistics: Path,
    settings: CriteriaSettings,
    out: Path,
    mirror: Path | None = None,
    threads: int | None = None,
) -> None:
    """Measure a bank and write `out`: the criteria under `criteria`, with `k`, the number of `tokens` and `threads`."""
    used = cpu_threads.limit(threads)
    sample = sampled(open_bank(bank), settings, None if mirror is None else open_bank(mirror))
    found: Mapping[str, Any] = measure(sample, Statistics.load(statistics), settings)
    write_json(out, {"criteria": found, "k": settings.k, "tokens": len(sample.tokens), "threads": used})
