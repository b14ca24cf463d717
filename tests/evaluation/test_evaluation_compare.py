from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pixel_counts import make_counts
from score_factory import CONTEXT, C, random_counts, write_segments

from patchbank.errors import UserError
from patchbank.evaluation.compare import Compared, compare_methods
from patchbank.evaluation.counts import save_counts
from patchbank.evaluation.score import score_method

KMEANS = replace(CONTEXT, kind="classes", method="kmeans", floor=True)


def perfect(path: Path) -> Path:
    """Counts of a method that predicts the labels of `random_counts(0, ...)`'s images, in 3 and 8 clusters."""
    rng = np.random.default_rng(0)
    truth = [(rng.integers(0, 3, 200), rng.choice([0, 1, 2, 255], 200))[1] for _ in range(6)]
    right = [(np.where(t == 255, 0, t), t) for t in truth]
    save_counts(path, {"k3-s0": make_counts(right, 3, C), "k8-s0": make_counts(right, 8, C)})
    return path


def test_pairs_protocols_and_differences_are_those_of_the_rows(tmp_path: Path) -> None:
    counts, tables, _ = write_segments(tmp_path, (7, 3))
    save_counts(tmp_path / "k.npz", {"k3-s0": random_counts(0, 3), "k8-s0": random_counts(2, 8)})
    methods = [
        Compared(CONTEXT, counts, tables),
        Compared(replace(CONTEXT, kind="classes", method="oracle"), {0: perfect(tmp_path / "p.npz")}),
        Compared(KMEANS, {0: tmp_path / "k.npz"}),
        Compared(replace(KMEANS, method="probe", ceiling=True, floor=False), {0: tmp_path / "p.npz"}),
    ]
    result = compare_methods(methods, resamples=300)
    json.dumps(result, allow_nan=False)
    rows = {
        (row["method"], row["protocol"], row["variant"], row["k"]): row["miou"]
        for method in methods
        for row in score_method(method.counts, method.tables, method.context)["rows"]
    }
    found = result["comparisons"]
    assert {(c["a"], c["b"]) for c in found} == {("alignseg", "oracle"), ("alignseg", "kmeans"), ("oracle", "kmeans")}
    assert len(found) == 3 * 7
    for entry in found:
        a, b = (rows[entry[side], entry["protocol"], entry["variant"], entry["k"]] for side in ("a", "b"))
        assert entry["difference"] == pytest.approx(a["mean"] - b["mean"])
        assert entry["low"] < entry["difference"] < entry["high"]
        assert entry["runs"] == (a["n"], b["n"])
        assert entry["n_images"] == 6
        if entry["b"] == "kmeans" and entry["a"] == "oracle":
            assert entry["low"] > 0
    assert compare_methods(methods, resamples=300) == result
    assert compare_methods(methods, resamples=300, seed=1) != result


def test_counts_of_other_images_or_labels_are_refused(tmp_path: Path) -> None:
    counts, tables, _ = write_segments(tmp_path, (0,))
    few = make_counts([(np.zeros(5, int), np.zeros(5, int))] * 2, 3, C)
    save_counts(tmp_path / "f.npz", {"k3-s0": few})
    with pytest.raises(UserError, match="kmeans and alignseg were counted on different images"):
        compare_methods([Compared(CONTEXT, counts, tables), Compared(KMEANS, {0: tmp_path / "f.npz"})], 10)


@pytest.mark.parametrize(("images", "pairs"), [(4, 0), (5, 3)])
def test_a_handful_of_images_gives_no_interval(tmp_path: Path, images: int, pairs: int) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        pixels = [(rng.integers(0, 3, 50), rng.integers(0, C, 50)) for _ in range(images)]
        save_counts(tmp_path / f"{name}.npz", {"k3-s0": make_counts(pixels, 3, C)})
    context = replace(KMEANS, protocols=("hungarian", "hungarian_iou", "per_image_hungarian"))
    methods = [Compared(replace(context, method=name, floor=False), {0: tmp_path / f"{name}.npz"}) for name in "ab"]
    result = compare_methods(methods, 50)
    assert len(result["comparisons"]) == pairs
    reasons = ["an interval needs at least 5 labelled images, and there are 4."] if pairs == 0 else []
    assert [(entry["row"], entry["reason"]) for entry in result["left_out"]] == [
        ("paired differences", reason) for reason in reasons
    ]


def test_methods_without_a_seed_in_common_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        pixels = [(rng.integers(0, 3, 50), rng.integers(0, C, 50)) for _ in range(6)]
        save_counts(tmp_path / f"{name}.npz", {f"k3-s{'ab'.index(name)}": make_counts(pixels, 3, C)})
    context = replace(KMEANS, protocols=("hungarian",))
    methods = [
        Compared(replace(context, method=name, floor=False), {seed: tmp_path / f"{name}.npz"})
        for name, seed in (("a", 0), ("b", 5))
    ]
    (entry,) = compare_methods(methods, 50)["comparisons"]
    assert entry["low"] <= entry["difference"] <= entry["high"]
    assert entry["runs"] == (1, 1)


def test_without_labels_there_is_nothing_to_compare(tmp_path: Path) -> None:
    nothing = make_counts([(np.array([0]), np.array([255]))] * 2, 3, C)
    save_counts(tmp_path / "n.npz", {"k3-s0": nothing})
    methods = [Compared(context, {0: tmp_path / "n.npz"}) for context in (replace(KMEANS, floor=False), KMEANS)]
    assert compare_methods(methods, 10) == {"comparisons": [], "left_out": [], "resamples": 10}
