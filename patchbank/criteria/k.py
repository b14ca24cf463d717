"""How many clusters: the criteria at several K, and a suggestion.

Inputs: the bank `whole` that clusters are fitted on, and its statistics. Output: a JSON file.

| key | meaning |
|---|---|
| `curve` | one entry a K: `k`, `seeds`, `halves`, `spread` (deviation of halves over cuts), `silhouette`, `used` |
| `suggested` | the K that is suggested, null where no K is found again |
| `sentence` | what it rests on |

All are of clusters as rows have them: with the set's projection, the silhouette too, because K are compared and not
encoders. A K above a quarter of a half's tokens is not tried.

The suggestion is the largest K at which clusters of two halves of the images agree as well as at the best K, up to the
standard deviation over cuts there. Stability is highest at few clusters, so that its maximum alone says 2 far too
often; the largest number that is good enough is taken for prediction strength, too (Tibshirani & Walther, Cluster
validation by prediction strength, 2005, https://doi.org/10.1198/106186005X59243). The deviation is not divided by the
root of the number of cuts, as a standard error is: cuts share their images, and more of them would make it too small.

Where even the best K stays below `FOUND`, none is suggested, and a set that asks for K has the number that it has
without. The suggestion sees no label: clusters that are found again need not be the classes that somebody has in mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import assign
from patchbank.clustering.projection import fit_projection
from patchbank.criteria.measure import Tokens, mean_silhouette, sampled
from patchbank.criteria.settings import CriteriaSettings
from patchbank.criteria.stability import FEWEST, effective, fit_seeds, over_halves, over_seeds
from patchbank.errors import UserError
from patchbank.files import write_json
from patchbank.progress import track

Curve = Sequence[Mapping[str, Any]]
FOUND = 0.2
"""Agreement of halves below which clusters are not found again. Gaussian noise of 384 channels reaches 0.01; tokens of
`msrc`, `camvid` and `voc_animals` (DINOv2 ViT-S/14, block 8) 0.35 or more at every K from 2 to 30, and 0.8 at the best
(8,000 tokens, 3 cuts)."""


def k_curve(sample: Tokens, statistics: Statistics, settings: CriteriaSettings, candidates: Sequence[int]) -> Curve:
    """The criteria at each number of clusters; see the module.

    Raises:
        UserError: too few images for halves of them, or tokens for any candidate.
    """
    images = len(np.unique(sample.images))
    if images < FEWEST:
        raise UserError(
            f"How many clusters there are is asked of {images} images, and it takes at least {FEWEST}; give more "
            "images, or a number as clustering.k."
        )
    projection = fit_projection(sample.tokens, settings.projection, statistics)
    points, spherical = projection(sample.tokens), settings.kmeans.spherical
    possible = sorted({k for k in candidates if 4 * k <= len(points) // 3})
    if not possible:
        raise UserError(
            f"{len(points)} tokens are too few for {min(candidates)} clusters, the fewest that are tried; raise "
            "criteria.sample, give more images, or a number as clustering.k."
        )
    curve = []
    for k in track(possible, "clusters", "K"):
        at = replace(settings, k=k)
        fits, held = fit_seeds(points, sample.images, k, at.repeats, at.kmeans)
        halves = over_halves(points, sample.images, k, at.repeats, at.kmeans)
        curve.append(
            {
                "k": k,
                "seeds": over_seeds(points[held], fits, spherical),
                "halves": float(np.mean(halves)),
                "spread": float(np.std(halves, ddof=1)) if len(halves) > 1 else 0.0,
                "silhouette": mean_silhouette(points, fits, at),
                "used": float(np.mean([effective(assign(points[held], c, spherical), k) for c in fits])),
            }
        )
    return curve


def suggest(curve: Curve) -> tuple[int | None, str]:
    """The suggested K, None where no K is found again, and the sentence that says what it rests on."""
    best = max(curve, key=lambda at: at["halves"])
    if best["halves"] < FOUND:
        return None, (
            f"no number of clusters: clusters of two halves of the images agree at {best['halves']:.2f} (adjusted Rand "
            f"index) at most, at {best['k']} of {_listed(curve)}, and below {FOUND} they are not found again. Where "
            "clustering.k is auto, the set has as many as without it."
        )
    bar = best["halves"] - best["spread"]
    chosen = max((at for at in curve if at["halves"] >= bar), key=lambda at: at["k"])
    said = f"clusters of two halves of the images agree at {chosen['halves']:.2f} (adjusted Rand index)"
    if chosen is best:
        return chosen["k"], f"{chosen['k']} clusters: {said}, the best of {_listed(curve)}."
    return chosen["k"], (
        f"{chosen['k']} clusters: {said}, as well as at the best K, {best['k']}, up to the scatter over cuts "
        f"({best['halves']:.2f} ± {best['spread']:.2f}); of {_listed(curve)} it is the largest such K."
    )


def _listed(curve: Curve) -> str:
    return ", ".join(str(at["k"]) for at in curve)


def write_k(
    bank: Path,
    statistics: Path,
    settings: CriteriaSettings,
    candidates: Sequence[int],
    out: Path,
    threads: int | None = None,
) -> None:
    """Measure a bank at every candidate and write `out`."""
    used = cpu_threads.limit(threads)
    sample = sampled(open_bank(bank), settings)
    curve = k_curve(sample, Statistics.load(statistics), settings, candidates)
    suggested, sentence = suggest(curve)
    write_json(
        out,
        {
            "suggested": suggested,
            "sentence": sentence,
            "curve": list(curve),
            "tokens": len(sample.tokens),
            "threads": used,
        },
    )
