"""Every protocol against a slow, obvious implementation that goes over pixels."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_counts import C, Images, iou, make_counts, scenes
from sklearn.metrics import accuracy_score, jaccard_score, recall_score

from patchbank.errors import UserError
from patchbank.evaluation import protocols
from patchbank.evaluation.measures import Score
from patchbank.evaluation.protocols import per_image


def evaluate(name: str, images: Images, k: int) -> dict[str, Score]:
    return protocols.get(name).evaluate(make_counts(images, k, C))


def pool(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """All labelled pixels of all images."""
    predicted, truth = (np.concatenate(parts) for parts in zip(*images, strict=True))
    return predicted[truth != 255], truth[truth != 255]


def class_ious(given_: np.ndarray, truth: np.ndarray, empty: float) -> list[float]:
    return [iou(given_ == c, truth == c, empty) for c in range(C)]


def slow_per_image(images: Images) -> tuple[list[float], list[float]]:
    whole, rest = [], []
    for predicted, truth in images:
        predicted, truth = predicted[truth != 255], truth[truth != 255]
        present = np.unique(truth)
        if not len(present):
            continue
        given_ = np.full_like(predicted, -1)
        for k in np.unique(predicted):
            precision = [(truth[predicted == k] == c).mean() for c in present]
            given_[predicted == k] = present[int(np.argmax(precision))]
        ious = [iou(given_ == c, truth == c) for c in present]
        whole.append(np.mean(ious))
        rest.append(np.mean(ious[1:] if len(ious) > 1 else ious))
    return whole, rest


@settings(deadline=None)
@given(scenes(k=5))
def test_per_image_is_the_obvious_one(images: Images) -> None:
    whole, rest = slow_per_image(images)
    found = evaluate("per_image", images, 5)
    assert found[""].value == pytest.approx(np.mean(whole))
    assert found["without_first"].value == pytest.approx(np.mean(rest))


def test_per_image_ties_go_to_the_lowest_class_present() -> None:
    images = [(np.array([0, 0, 1]), np.array([2, 1, 2]))]
    assert per_image.image_ious(make_counts(images, 2, C))[0].tolist()[1:3] == [0.5, 0.5]


def matchings(k: int) -> list[list[int]]:
    """Every one-to-one assignment cluster -> class (-1 = none) of the largest size."""
    if k <= C:
        return [list(p) for p in permutations(range(C), k)]
    return [[p.index(i) if i in p else -1 for i in range(k)] for p in permutations(range(k), C)]


def slow_hungarian(images: Images, k: int) -> tuple[float, set[float], set[float]]:
    """Accuracy, and the mIoU and class accuracy of every best matching."""
    predicted, truth = pool(images)
    best, mious, class_accuracies = -1, set(), set()
    for matching in matchings(k):
        given_ = np.array(matching)[predicted]
        right = int((given_ == truth).sum())
        if right > best:
            best, mious, class_accuracies = right, set(), set()
        if right == best:
            mious.add(round(float(np.nanmean(class_ious(given_, truth, np.nan))), 9))
            class_accuracies.add(round(np.mean([(given_[truth == c] == c).mean() for c in np.unique(truth)]), 9))
    return best / len(truth), mious, class_accuracies


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([2, 4, 5]))
def test_hungarian_is_one_of_the_best_matchings(data: st.DataObject, k: int) -> None:
    images = data.draw(scenes(k))
    accuracy, mious, class_accuracies = slow_hungarian(images, k)
    found = evaluate("hungarian", images, k)[""]
    assert found.accuracy == pytest.approx(accuracy)
    assert round(found.value, 9) in mious
    assert round(found.class_accuracy or 0.0, 9) in class_accuracies
    assert found.assignment is not None
    assert found.assignment.tolist() in matchings(k)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([2, 4, 5]))
def test_hungarian_iou_is_one_of_the_best_matchings(data: st.DataObject, k: int) -> None:
    images = data.draw(scenes(k))
    predicted, truth = pool(images)
    best, mious = -1.0, set()
    for matching in matchings(k):
        total = sum(iou(predicted == i, truth == c) for i, c in enumerate(matching) if c >= 0)
        merged = np.array([max(c, 0) for c in matching])[predicted]  # left over: class 0
        if total > best + 1e-9:
            best, mious = total, set()
        if total > best - 1e-9:
            mious.add(round(float(np.mean(class_ious(merged, truth, 0.0))), 9))
    assert round(evaluate("hungarian_iou", images, k)[""].value, 9) in mious


@settings(deadline=None)
@given(scenes(k=9))
def test_overcluster_is_the_obvious_one(images: Images) -> None:
    predicted, truth = pool(images)
    found = evaluate("overcluster", images, 9)
    for variant, affinity in (
        ("precision", lambda k, c: (truth[predicted == k] == c).mean()),
        ("iou", lambda k, c: iou(predicted == k, truth == c)),
    ):
        given_ = np.full_like(predicted, -1)
        for k in np.unique(predicted):
            given_[predicted == k] = int(np.argmax([affinity(k, c) for c in range(C)]))
        expected = class_ious(given_, truth, 0.0)
        assert found[variant].value == pytest.approx(np.mean(expected))
        assert found[variant].per_class == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(scenes(k=4))
def test_per_image_hungarian_is_one_of_the_best_matchings(images: Images) -> None:
    pooled = [np.zeros((1, 3, C))]  # tp, predicted, truth of every combination of best matchings so far
    for predicted, truth in images:
        predicted, truth = predicted[truth != 255], truth[truth != 255]
        segments, classes = np.unique(predicted), np.unique(truth)
        few, many = sorted((segments, classes), key=len)
        best, options = -1.0, []
        for chosen in permutations(many, len(few)):
            pairs = list(zip(few, chosen, strict=True) if few is segments else zip(chosen, few, strict=True))
            total = sum(iou(predicted == k, truth == c) for k, c in pairs)
            sums = np.zeros((3, C))
            for c in classes:
                sums[2, c] += (truth == c).sum()
            for k, c in pairs:
                sums[0, c] += ((predicted == k) & (truth == c)).sum()
                sums[1, c] += (predicted == k).sum()
            if total > best + 1e-9:
                best, options = total, []
            if total > best - 1e-9:
                options.append(sums)
        if len(classes):
            sums = (pooled[-1][:, None] + np.stack(options)[None]).reshape(-1, 3, C)
            pooled.append(np.unique(sums, axis=0))
    allowed = set()
    for right, given_, truth in pooled[-1]:
        present = truth > 0
        allowed.add(round(float((right / np.maximum(given_ + truth - right, 1))[present].mean()), 9))
    assert round(evaluate("per_image_hungarian", images, 4)[""].value, 9) in allowed


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(["per_image", "overcluster"]))
def test_cluster_ids_mean_nothing(data: st.DataObject, name: str) -> None:
    images = data.draw(scenes(6))
    order = np.array(data.draw(st.permutations(range(6))))
    plain, moved = evaluate(name, images, 6), evaluate(name, [(order[p], t) for p, t in images], 6)
    for variant, score in plain.items():
        assert moved[variant].value == pytest.approx(score.value, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(["hungarian", "hungarian_iou", "per_image_hungarian"]))
def test_cluster_ids_mean_nothing_where_the_best_matching_is_unique(data: st.DataObject, name: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    order = rng.permutation(6)
    images = [(rng.integers(0, 6, 4000), rng.integers(0, C, 4000)) for _ in range(2)]
    for predicted, truth in images:  # a diagonal of distinct strengths makes the matching unique
        for c in range(C):
            predicted[: 300 + 40 * c][truth[: 300 + 40 * c] == c] = c
    plain, moved = evaluate(name, images, 6)[""], evaluate(name, [(order[p], t) for p, t in images], 6)[""]
    assert moved.value == pytest.approx(plain.value, abs=1e-12)
    assert moved.per_class == pytest.approx(plain.per_class, abs=1e-12)
    if plain.assignment is not None and moved.assignment is not None:
        assert (moved.assignment[order] == plain.assignment).all()


@settings(deadline=None, max_examples=40)
@given(scenes(k=4), st.sampled_from([n for n in protocols.names() if protocols.get(n).labels == "class"]))
def test_ignored_pixels_never_count(images: Images, name: str) -> None:
    noise = [(np.append(p, np.arange(4).repeat(7)), np.append(t, np.full(28, 255, t.dtype))) for p, t in images]
    for variant, score in evaluate(name, images, 4).items():
        assert evaluate(name, noise, 4)[variant].value == score.value


@pytest.mark.parametrize("name", ["hungarian", "hungarian_iou", "per_image_hungarian"])
def test_extra_clusters_never_drop_out(name: str) -> None:
    truth = np.repeat(np.arange(C), 10)
    perfect = evaluate(name, [(truth, truth)], C + 1)[""].value
    split = truth.copy()
    split[35:] = C  # half of the last class in a cluster of its own: its pixels must be lost, not forgotten
    assert perfect == 1.0
    found = evaluate(name, [(split, truth)], C + 1)[""]
    # hungarian_iou gives the leftover to class 0, which it enlarges
    first = 10 / 15 if name == "hungarian_iou" else 1.0
    assert found.value == pytest.approx((first + 1 + 1 + 0.5) / 4)


def test_absent_classes_as_each_protocol_says() -> None:
    truth = np.array([0, 0, 1, 1])  # classes 2 and 3 are absent
    assert evaluate("hungarian", [(truth, truth)], C)[""].value == 1.0  # 0/0 is dropped
    wasted = np.array([0, 2, 1, 1])  # cluster 2 has a pixel and falls on an absent class
    assert evaluate("hungarian", [(wasted, truth)], C)[""].value == pytest.approx((0.5 + 1 + 0) / 3)
    assert evaluate("hungarian", [(truth, truth)], C)[""].class_accuracy == 1.0
    assert evaluate("hungarian_iou", [(truth, truth)], C)[""].value == 0.5
    assert evaluate("overcluster", [(truth, truth)], 9)["iou"].value == 0.5
    assert evaluate("per_image", [(truth, truth)], C)[""].value == 1.0
    assert evaluate("per_image_hungarian", [(truth, truth)], C)[""].value == 1.0


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(["hungarian", "hungarian_iou", "overcluster"]), st.sampled_from([4, 6]))
def test_scikit_learn_agrees_on_the_assigned_classes(data: st.DataObject, name: str, k: int) -> None:
    images = data.draw(scenes(k))
    predicted, truth = pool(images)
    for score in evaluate(name, images, k).values():
        assert score.assignment is not None
        assert score.per_class is not None
        given_ = score.assignment[predicted]  # -1 = no class, wrong everywhere
        shown = np.union1d(truth, given_[given_ >= 0])
        assert score.per_class[shown] == pytest.approx(jaccard_score(truth, given_, labels=shown, average=None))
        absent = np.setdiff1d(np.arange(C), shown)
        assert (np.isnan(score.per_class[absent]) if name == "hungarian" else score.per_class[absent] == 0).all()
        if score.accuracy is not None:
            present = np.unique(truth)
            assert score.accuracy == pytest.approx(accuracy_score(truth, given_))
            recall = recall_score(truth, given_, labels=present, average="macro")
            assert score.class_accuracy == pytest.approx(recall)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_accuracy_of_hungarian_does_not_depend_on_ids_even_where_matchings_tie(data: st.DataObject) -> None:
    images = data.draw(scenes(6))
    order = np.array(data.draw(st.permutations(range(6))))
    moved = evaluate("hungarian", [(order[p], t) for p, t in images], 6)[""]
    assert moved.accuracy == pytest.approx(evaluate("hungarian", images, 6)[""].accuracy)


@settings(deadline=None, max_examples=40)
@given(scenes(k=4), st.sampled_from([n for n in protocols.names() if protocols.get(n).labels == "class"]))
def test_clusters_that_nothing_is_given_to_change_nothing(images: Images, name: str) -> None:
    for variant, score in evaluate(name, images, 4).items():
        more = evaluate(name, images, 9)[variant]
        if name.startswith("hungarian"):  # which of several best matchings is found may change, how good it is may not
            assert more.accuracy == score.accuracy
        else:
            assert more.value == score.value


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_pixels_of_extra_clusters_are_counted_in_every_class(data: st.DataObject) -> None:
    """Whatever ids are predicted, the truth of every labelled pixel enters: IoU = hits / (truth + given - hits)."""
    images = data.draw(scenes(9))
    predicted, truth = pool(images)
    for name in ("hungarian", "hungarian_iou", "overcluster"):
        for score in evaluate(name, images, 9).values():
            assert score.assignment is not None
            assert score.per_class is not None
            for c in np.unique(truth):
                given_ = score.assignment[predicted] == c
                hits = (given_ & (truth == c)).sum()
                assert score.per_class[c] == pytest.approx(hits / ((truth == c).sum() + given_.sum() - hits))


def test_per_class_is_what_enters_the_mean() -> None:
    rng = np.random.default_rng(3)
    images = [(rng.integers(0, 6, 50), rng.integers(0, 3, 50)) for _ in range(4)]
    for name in ("hungarian", "hungarian_iou", "overcluster", "per_image_hungarian"):
        for score in evaluate(name, images, 6).values():
            assert score.per_class is not None
            assert np.nanmean(score.per_class) == pytest.approx(score.value)


def test_protocols_are_found_and_unknown_ones_named() -> None:
    assert {protocols.get(name).name for name in protocols.names()} == set(protocols.names())
    assert set(protocols.modules()) == {f"patchbank.evaluation.protocols.{name}" for name in protocols.names()}
    with pytest.raises(UserError, match="overcluster"):
        protocols.get("__init__")
