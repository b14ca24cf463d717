"""Protocol `objects`, and every protocol against the numbers of the published implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_files import assert_golden, load_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_counts import instance_counts, iou, make_counts
from sklearn.metrics import adjusted_rand_score

from patchbank.evaluation import protocols
from patchbank.evaluation.counts import Counts
from patchbank.evaluation.protocols import objects, per_image


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 5), st.integers(1, 4))
def test_objects_against_scikit_learn_and_the_obvious(seed: int, size: int, k: int, instances: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.integers(0, k, size), rng.integers(0, instances, size)
    fg_ari, mbo = objects.scene_scores(instance_counts([(predicted, truth)], k))
    assert fg_ari[0] == pytest.approx(adjusted_rand_score(truth[truth > 0], predicted[truth > 0]))
    best = [max(iou(predicted == s, truth == t) for s in range(k)) for t in np.unique(truth)]
    assert mbo[0] == pytest.approx(np.mean(best))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_objects_do_not_depend_on_ids(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.integers(0, 5, 40), rng.integers(0, 4, 40)
    segments, instances = rng.permutation(5), np.concatenate([[0], 1 + rng.permutation(3) * 7])
    plain = objects.scene_scores(instance_counts([(predicted, truth)], 5))
    moved = objects.scene_scores(instance_counts([(segments[predicted], instances[truth])], 5))
    assert np.concatenate(moved) == pytest.approx(np.concatenate(plain))


def test_objects_of_a_large_scene_do_not_overflow() -> None:
    truth = np.repeat([1, 2], 5_000_000)
    assert objects.scene_scores(instance_counts([(truth, truth)], 3))[0][0] == 1.0


def golden_counts(predicted: Any, truth: Any, k: int, c: int) -> Counts:
    return make_counts([(np.asarray(predicted), np.asarray(truth))], k, c)


def test_golden_alignseg_metrics() -> None:
    golden = load_golden("alignseg_metrics")
    n = sum(key.startswith("image") and key.endswith("_gt") for key in golden)
    images = [(golden[f"image{i}_pred"], golden[f"image{i}_gt"]) for i in range(n)]
    k, c = (max(int(image[side].max()) for image in images) + 1 for side in (0, 1))
    for i, image in enumerate(images):
        scores = per_image.evaluate(make_counts([image], k, c))
        assert_golden(scores[""].value, golden["per_image_miou"][i], relative=1e-9)
        assert_golden(scores["without_first"].value, golden["per_image_miou_exclude_first"][i], relative=1e-9)
    together = per_image.evaluate(make_counts(images, k, c))
    assert_golden(together[""].value, golden["mean_per_image_miou"], relative=1e-9)

    predicted, truth = golden["global_pred"], golden["global_gt"]
    classes = int(truth.max()) + 1
    counts = golden_counts(predicted, truth, max(classes, int(predicted.max()) + 1), classes)
    assert_golden(protocols.get("hungarian_iou").evaluate(counts)[""].value, golden["hungarian_miou"], relative=1e-9)

    predicted, truth = golden["over_pred"], golden["over_gt"]
    counts = golden_counts(predicted, truth, int(predicted.max()) + 1, int(truth.max()) + 1)
    scores = protocols.get("overcluster").evaluate(counts)
    assert_golden(scores["iou"].value, golden["overcluster_iou_matched_miou"], relative=1e-9)
    assert_golden(scores["precision"].value, golden["overcluster_precision_matched_miou"], relative=1e-9)


def test_golden_transfgu_metrics() -> None:
    golden = load_golden("transfgu_metrics")
    classes = int(golden["num_classes"])
    counts = golden_counts(golden["pred"], golden["gt"], classes, classes)
    score = protocols.get("hungarian").evaluate(counts)[""]
    assert score.accuracy is not None
    assert score.class_accuracy is not None
    assert score.assignment is not None
    assert_golden(100 * score.value, golden["mean_iou"], relative=1e-9)
    assert_golden(100 * score.accuracy, golden["pixel_accuracy"], relative=1e-9)
    assert_golden(100 * score.class_accuracy, golden["class_accuracy"], relative=1e-9)
    # classes without a pixel tie; which of the leftover segments they get is nobody's business
    present = np.unique(golden["gt"][golden["gt"] >= 0])
    assert_golden(np.argsort(score.assignment)[present], golden["assignment_gt_to_pred"][present], relative=0.0)


def test_golden_object_metrics() -> None:
    golden = load_golden("object_metrics")
    images = [(golden[f"scene{i}_pred"], golden[f"scene{i}_gt"]) for i in range(len(golden["mbo"]))]
    counts = instance_counts(images, max(int(p.max()) for p, _ in images) + 1)
    fg_ari, mbo = objects.scene_scores(counts)
    assert_golden(fg_ari, golden["fg_ari"], relative=1e-9)
    assert_golden(mbo, golden["mbo"], relative=1e-9)
