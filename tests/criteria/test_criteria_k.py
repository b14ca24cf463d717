"""How many clusters: criteria over K of tokens whose clusters are known, the suggestion, and its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings
from patchbank.criteria.k import k_curve, suggest
from patchbank.criteria.measure import Tokens
from patchbank.criteria.settings import CriteriaSettings
from patchbank.errors import UserError
from patchbank.files import write_json
from patchbank.report.page.clusters import write_k_page

SETTINGS = CriteriaSettings(
    k=1, repeats=3, silhouette=200, projection=ProjectionSettings("none"), kmeans=KMeansSettings(20, 10)
)
NOTHING = Statistics(np.zeros(4), np.ones(4), 1)


def tokens(kinds: int, spread: float) -> Tokens:
    """Tokens of 12 images around some centres, not all equally far from each other."""
    rng = np.random.default_rng(0)
    centres = 10 * rng.normal(size=(kinds, 4))
    points = centres[rng.integers(0, kinds, 720)] + spread * rng.normal(size=(720, 4))
    return Tokens(points.astype(np.float32), np.repeat(np.arange(12), 60))


@pytest.mark.parametrize("kinds", [3, 5])
def test_clear_clusters_are_counted(kinds: int) -> None:
    curve = k_curve(tokens(kinds, 0.2), NOTHING, SETTINGS, [2, 3, 4, 5, 6, 9])
    assert [at["k"] for at in curve] == [2, 3, 4, 5, 6, 9]
    assert suggest(curve)[0] == kinds
    assert max(curve, key=lambda at: at["silhouette"])["k"] == kinds
    assert next(at for at in curve if at["k"] == kinds)["halves"] == pytest.approx(1.0)


def entry(k: int, halves: float, spread: float) -> dict[str, float]:
    return {"k": k, "halves": halves, "spread": spread, "seeds": 0.5, "silhouette": 0.1, "used": 0.9}


def test_the_largest_k_that_is_as_stable_as_the_best_is_suggested() -> None:
    curve = [entry(2, 0.90, 0.04), entry(5, 0.87, 0.2), entry(8, 0.85, 0.0), entry(9, 0.2, 0.9)]
    k, said = suggest(curve)
    assert k == 5
    assert said == (
        "5 clusters: clusters of two halves of the images agree at 0.87 (adjusted Rand index), as well as at the best "
        "K, 2, up to the scatter over cuts (0.90 ± 0.04); of 2, 5, 8, 9 it is the largest such K."
    )
    assert suggest(curve[2:]) == (
        8,
        "8 clusters: clusters of two halves of the images agree at 0.85 (adjusted Rand index), the best of 8, 9.",
    )


def test_of_noise_no_number_is_suggested() -> None:
    """Whatever is tried: agreement by chance is no reason to take many clusters."""
    points = np.random.default_rng(0).normal(size=(720, 64)).astype(np.float32)
    nothing = Statistics(np.zeros(64), np.ones(64), 1)
    curve = k_curve(Tokens(points, np.repeat(np.arange(12), 60)), nothing, SETTINGS, [2, 5, 30])
    k, said = suggest(curve)
    assert k is None
    assert said.startswith("no number of clusters: clusters of two halves of the images agree at 0.0")
    assert "of 2, 5, 30, and below 0.2 they are not found again" in said
    assert suggest([entry(2, 0.19, 0.5), entry(9, 0.2, 0.0)])[0] == 9


def test_too_little_to_ask(tmp_path: Path) -> None:
    few = Tokens(np.ones((40, 4), np.float32), np.repeat(np.arange(2), 20))
    with pytest.raises(UserError, match=r"asked of 2 images, and it takes at least 3; .* or a number as clustering\.k"):
        k_curve(few, NOTHING, SETTINGS, [2])
    few = Tokens(np.ones((12, 4), np.float32), np.repeat(np.arange(4), 3))
    with pytest.raises(UserError, match=r"12 tokens are too few for 2 clusters.* raise criteria\.sample"):
        k_curve(few, NOTHING, SETTINGS, [3, 2])


def test_the_page_says_what_it_rests_on(tmp_path: Path) -> None:
    curve = [entry(2, 0.9, 0.01), {**entry(5, 0.5, 0.2), "silhouette": None}]
    write_json(tmp_path / "k.json", {"suggested": 2, "sentence": suggest(curve)[1], "curve": curve})
    write_k_page("mine", tmp_path / "k.json", tmp_path / "k.html")
    page = (tmp_path / "k.html").read_text()
    assert "Suggested: 2 clusters: clusters of two halves" in page
    assert "<svg" in page
    assert "No label was looked at." in page
