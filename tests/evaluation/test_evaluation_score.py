from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pixel_counts import make_counts
from score_factory import CONTEXT, C, Q, random_counts, write_segments

from patchbank.errors import UserError
from patchbank.evaluation import protocols
from patchbank.evaluation.counts import apply_table, mean_used_segments, save_counts
from patchbank.evaluation.score import Scoring, context_of, score_method
from patchbank.methods.contract import Method
from patchbank.methods.shape import Traits


def rows_of(result: dict[str, Any], protocol: str, variant: str = "") -> list[dict[str, Any]]:
    return [row for row in result["rows"] if row["protocol"] == protocol and row["variant"] == variant]


def test_rows_of_a_method_with_segments(tmp_path: Path) -> None:
    counts, tables, plain = write_segments(tmp_path, (7, 3))
    result = score_method(counts, tables, CONTEXT)
    json.dumps(result, allow_nan=False)
    assert [(row["protocol"], row["variant"], row["k"]) for row in result["rows"]] == [
        ("per_image", "", None),
        ("per_image", "without_first", None),
        ("hungarian", "", 3),
        ("hungarian_iou", "", 3),
        ("overcluster", "precision", 8),
        ("overcluster", "iou", 8),
        ("per_image_hungarian", "", None),
    ]

    hungarian = protocols.get("hungarian").evaluate
    scores = [hungarian(apply_table(plain[t][0], *plain[t][1][f"k3-s{s}"]))[""] for t in (3, 7) for s in (0, 1, 10)]
    (row,) = rows_of(result, "hungarian")
    percents = [100 * score.value for score in scores]
    assert row["miou"]["mean"] == pytest.approx(np.mean(percents))
    assert row["miou"]["std"] == pytest.approx(np.std(percents, ddof=1))
    assert row["miou"]["n"] == 6
    assert row["accuracy"]["mean"] == pytest.approx(100 * np.mean([score.accuracy for score in scores]))
    assert row["class_accuracy"]["n"] == 6
    assert row["per_class"] == pytest.approx(list(100 * np.mean([score.per_class for score in scores], axis=0)))
    assert row["k_used"] == [3]
    assert row["note"] == ""
    assert row["seeds"] == {"training": [3, 7], "kmeans": [0, 1, 10]}
    assert row["segments"] == pytest.approx(np.mean([mean_used_segments(plain[t][0]) for t in (3, 7)]))
    assert row["settings"] == {"centre": "mean"}
    assert result["matching"]["variant"] == "k3-s0"
    assert result["matching"]["training_seed"] == 3
    assert result["matching"]["assignment"] == scores[0].assignment.tolist()

    (row,) = rows_of(result, "overcluster", "iou")
    assert row["k_used"] == [6]
    assert row["note"] == "K capped from 8 to 6: a quarter of the 25 training segments"
    assert row["accuracy"] is None
    (row,) = rows_of(result, "per_image")
    assert row["miou"]["n"] == 2
    assert row["k_used"] == []
    assert row["seeds"]["kmeans"] == []


def test_things_and_stuff_are_means_over_their_classes(tmp_path: Path) -> None:
    counts, tables, _ = write_segments(tmp_path, (7, 3))
    result = score_method(counts, tables, replace(CONTEXT, things=(True, False, True)))
    for row in result["rows"]:
        if row["protocol"] == "per_image":
            assert row["things"] is row["stuff"] is None
        else:
            assert row["things"]["mean"] == pytest.approx((row["per_class"][0] + row["per_class"][2]) / 2)
            assert row["stuff"]["mean"] == pytest.approx(row["per_class"][1])
            assert row["stuff"]["n"] == row["miou"]["n"]
    plain = score_method(counts, tables, CONTEXT)["rows"]
    assert all(row["things"] is row["stuff"] is None for row in plain)
    only = score_method(counts, tables, replace(CONTEXT, things=(True, True, True)))["rows"]
    assert rows_of({"rows": only}, "hungarian")[0]["stuff"] is None


def test_one_run_has_no_deviation_and_tables_are_optional(tmp_path: Path) -> None:
    counts, tables, _ = write_segments(tmp_path, (0,), points=False)
    result = score_method(counts, None, CONTEXT)
    assert {row["protocol"] for row in result["rows"]} == {"per_image", "per_image_hungarian"}
    assert {row["miou"]["std"] for row in result["rows"]} == {None}
    assert result["matching"] is None
    (row,) = rows_of(score_method(counts, tables, CONTEXT), "overcluster", "precision")
    assert row["note"] == "K capped from 8 to 6: a quarter of the training segments"


def test_rows_of_a_method_with_classes(tmp_path: Path) -> None:
    variants = {"k3-s0": random_counts(0, 3), "k3-s1": random_counts(1, 3), "k9-s0": random_counts(2, 9)}
    variants["k3-s1"] = replace(variants["k3-s1"], note="nearest instead of bilinear: because")
    save_counts(tmp_path / "c.npz", variants)
    result = score_method({0: tmp_path / "c.npz"}, None, replace(CONTEXT, kind="classes", method="kmeans"))
    assert [(row["protocol"], row["variant"], row["k"], row["miou"]["n"]) for row in result["rows"]] == [
        ("per_image", "", None, 2),
        ("per_image", "without_first", None, 2),
        ("hungarian", "", 3, 2),
        ("hungarian_iou", "", 3, 2),
        ("overcluster", "precision", 9, 1),
        ("overcluster", "iou", 9, 1),
        ("per_image_hungarian", "", None, 2),
    ]
    (row,) = rows_of(result, "hungarian")
    assert row["note"] == "upsampled by nearest instead of bilinear: because"
    assert row["segments"] == pytest.approx(np.mean([mean_used_segments(variants[f"k3-s{s}"]) for s in (0, 1)]))
    assert result["matching"]["kmeans_seed"] == 0


def test_absent_classes_are_null_where_they_do_not_enter(tmp_path: Path) -> None:
    truth = np.array([0, 0, 1, 1])
    save_counts(tmp_path / "c.npz", {"k3-s0": make_counts([(truth, truth)], 3, C)})
    context = replace(CONTEXT, kind="classes", protocols=("hungarian", "hungarian_iou"))
    result = score_method({0: tmp_path / "c.npz"}, None, context)
    assert rows_of(result, "hungarian")[0]["per_class"] == [100.0, 100.0, None]
    assert rows_of(result, "hungarian_iou")[0]["per_class"] == [100.0, 100.0, 0.0]


def test_instances_are_scored_by_objects_at_its_own_preprocessing(tmp_path: Path) -> None:
    counts, tables, _ = write_segments(tmp_path, (0, 1))
    instances = {}
    for training in counts:
        found = replace(random_counts(training, Q), label_kind="instance", preprocessing="objects_256")
        instances[training] = tmp_path / f"i{training}.npz"
        save_counts(instances[training], {"segments": found})
    result = score_method(counts, tables, CONTEXT, instances)
    classes = score_method(counts, tables, CONTEXT)
    assert result["rows"][:-2] == classes["rows"]
    assert result["matching"] == classes["matching"]
    rows = result["rows"][-2:]
    assert [(row["protocol"], row["variant"]) for row in rows] == [("objects", "fg_ari"), ("objects", "mbo")]
    for row in rows:
        assert (row["preprocessing"], row["per_class"], row["k"], row["miou"]["n"]) == (
            "objects_256",
            [None, None, None],
            None,
            2,
        )
    wrong = replace(random_counts(0, Q), label_kind="instance")
    save_counts(tmp_path / "wrong.npz", {"segments": wrong})
    with pytest.raises(ValueError, match="objects: counts at full, expected objects_256"):
        score_method({0: counts[0]}, None, CONTEXT, {0: tmp_path / "wrong.npz"})


def test_no_labels_no_rows(tmp_path: Path) -> None:
    nothing = make_counts([(np.array([0]), np.array([255]))] * 6, Q, C)
    _, tables, _ = write_segments(tmp_path, (0,))
    save_counts(tmp_path / "n.npz", {"segments": nothing})
    assert score_method({0: tmp_path / "n.npz"}, tables, CONTEXT) == {"rows": [], "matching": None}


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    counts, tables, _ = write_segments(tmp_path, (0,))
    with pytest.raises(ValueError, match="expected squash_320"):
        score_method(counts, tables, replace(CONTEXT, preprocessing="squash_320"))
    with pytest.raises(ValueError, match="3 classes, expected 2"):
        score_method(counts, tables, replace(CONTEXT, classes=("a", "b")))
    with pytest.raises(UserError, match="hungarian_iou"):
        score_method(counts, tables, replace(CONTEXT, protocols=("hungarian-iou",)))
    save_counts(tmp_path / "v.npz", {"kmeans": random_counts(0, 3)})
    with pytest.raises(ValueError, match="k<K>-s<seed>"):
        score_method({0: tmp_path / "v.npz"}, None, replace(CONTEXT, kind="classes"))


@pytest.mark.parametrize(
    ("traits", "fit"),
    [
        ({"kind": "segments", "fitted": False}, "val"),
        ({"kind": "classes", "fitted": True}, "val"),
        ({"kind": "classes", "fitted": False}, None),
    ],
)
def test_a_method_without_clusters_has_no_split_that_they_are_fitted_on(
    traits: dict[str, Any], fit: str | None
) -> None:
    method = Method("m", "m", {}, (0,), Traits(trained=False, **traits))
    assert context_of(method, (), Scoring("d", (), "full", "val")).fit == fit
