from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_counts import make_counts

from patchbank.errors import UserError
from patchbank.evaluation.counts import (
    Counts,
    CountsFile,
    apply_table,
    confusion,
    count_image,
    count_instances,
    image_confusions,
    mean_used_segments,
    save_counts,
)
from patchbank.files import read_npz, write_npz

K, C, IMAGES, PIXELS = 5, 4, 3, 12


@st.composite
def pixels(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images of predicted ids 0..K-1 and labels 0..C-1 or 255."""
    seed, n = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, IMAGES))
    rng = np.random.default_rng(seed)
    labels = np.array([*range(C), 255])
    return [(rng.integers(0, K, PIXELS), rng.choice(labels, PIXELS)) for _ in range(n)]


def dense(counts: Counts) -> np.ndarray:
    out = np.zeros((len(counts.images), counts.segments, counts.classes), np.int64)
    np.add.at(out, (counts.image, counts.segment, counts.klass), counts.count)
    return out


def slow(images: list[tuple[np.ndarray, np.ndarray]], k: int, c: int) -> np.ndarray:
    out = np.zeros((len(images), k, c), np.int64)
    for i, (predicted, truth) in enumerate(images):
        for p, t in zip(predicted.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if 0 <= t < 255:
                out[i, p, t] += 1
    return out


@settings(deadline=None)
@given(pixels())
def test_counts_are_the_obvious_ones(images: list[tuple[np.ndarray, np.ndarray]]) -> None:
    counts, expected = make_counts(images, K, C), slow(images, K, C)
    assert (dense(counts) == expected).all()
    assert (counts.count > 0).all()
    assert (confusion(counts) == expected.sum(0)).all()
    rebuilt = np.zeros_like(expected)
    for image, segments, classes, block in image_confusions(counts):
        assert block.sum(0).all()
        assert block.sum(1).all()
        rebuilt[image][np.ix_(segments, classes)] = block
    assert (rebuilt == expected).all()
    used = [(e.sum(1) > 0).sum() for e in expected if e.any()]
    assert mean_used_segments(counts) == pytest.approx(np.mean(used) if used else np.nan, nan_ok=True)


@settings(deadline=None)
@given(pixels(), st.integers(0, 2**32 - 1))
def test_a_table_on_counts_is_a_table_on_pixels(images: list[tuple[np.ndarray, np.ndarray]], seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 3, (len(images), K)).astype(np.int32)
    moved = [(table[i][p], t) for i, (p, t) in enumerate(images)]
    found, expected = apply_table(make_counts(images, K, C), table, 3), make_counts(moved, 3, C)
    for name in ("image", "segment", "klass", "count"):
        assert (getattr(found, name) == getattr(expected, name)).all()
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert found.segments == 3


def test_a_segment_with_pixels_must_have_a_cluster() -> None:
    counts = make_counts([(np.array([0, 1]), np.array([0, 0]))], 3, 1)
    assert apply_table(counts, np.array([[0, 0, -1]]), 1).count.tolist() == [2]
    for bad in ([[0, -1, 0]], [[0, 7, 0]]):
        with pytest.raises(ValueError, match="segment 1 of image 0000000000000000"):
            apply_table(counts, np.array(bad), 1)
    with pytest.raises(ValueError, match="shape"):
        apply_table(counts, np.zeros((2, 3), np.int32), 1)


def test_ignored_pixels_never_count_and_unknown_ids_are_errors() -> None:
    labels = np.array([[0, 255, -1]])
    assert [a.tolist() for a in count_image(np.array([[1, 0, 0]]), labels, 2, 1)] == [[1], [0], [1]]
    with pytest.raises(ValueError, match="class id 3"):
        count_image(np.array([0]), np.array([3]), 1, 3)
    with pytest.raises(ValueError, match="segment ids 2"):
        count_image(np.array([2]), np.array([0]), 2, 1)
    with pytest.raises(ValueError, match="shape"):
        count_image(np.array([2]), np.array([0, 0]), 3, 1)


def test_instances_may_have_any_id_and_background_counts() -> None:
    segment, klass, count = count_instances(np.array([[0, 0, 1, 1]]), np.array([[0, 70000, 70000, -1]]), 2)
    assert (segment.tolist(), klass.tolist(), count.tolist()) == ([0, 0, 1], [0, 70000, 70000], [1, 1, 1])
    with pytest.raises(ValueError, match="segment id 1"):
        count_instances(np.array([1]), np.array([0]), 1)


@settings(deadline=None, max_examples=20)
@given(pixels())
def test_a_file_gives_back_what_was_saved(images: list[tuple[np.ndarray, np.ndarray]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.npz"
        saved = {"a": make_counts(images, K, C), "k300-s1": make_counts(images, 300, 200)}
        save_counts(path, saved)
        file = CountsFile(path)
    assert list(file) == list(saved)
    for name, counts in saved.items():
        for attribute, value in vars(counts).items():
            found = getattr(file[name], attribute)
            assert np.array_equal(found, value), attribute
            assert not isinstance(value, np.ndarray) or found.dtype == value.dtype


def test_file_errors(tmp_path: Path) -> None:
    counts = make_counts([(np.array([0]), np.array([0]))], 1, 1)
    other = make_counts([(np.array([0]), np.array([0]))] * 2, 1, 1)
    with pytest.raises(ValueError, match="differs"):
        save_counts(tmp_path / "c.npz", {"a": counts, "b": other})
    with pytest.raises(ValueError, match="no variant"):
        save_counts(tmp_path / "c.npz", {})
    np.savez(tmp_path / "d.npz", format=np.array(99))
    with pytest.raises(UserError, match="format 99"):
        CountsFile(tmp_path / "d.npz")
    save_counts(tmp_path / "c.npz", {"a": counts})
    with pytest.raises(KeyError):
        CountsFile(tmp_path / "c.npz")["b"]


def test_stored_counts_are_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [(rng.integers(0, 5, 10000), rng.integers(0, 20, 10000)) for _ in range(50)]
    save_counts(tmp_path / "c.npz", {"segments": make_counts(images, 5, 21)})
    assert (tmp_path / "c.npz").stat().st_size / len(images) < 4096


def test_the_note_of_a_rule_is_kept_and_read_from_files_that_had_it_in_the_rule(tmp_path: Path) -> None:
    plain = make_counts([(np.array([0, 1]), np.array([0, 0]))], 2, 1)
    noted = replace(plain, upsample="bilinear", note="why")
    save_counts(tmp_path / "new.npz", {"a": plain, "b": noted})
    found = CountsFile(tmp_path / "new.npz")
    assert [(found[name].upsample, found[name].note) for name in "ab"] == [("nearest", ""), ("bilinear", "why")]
    arrays = {name: value for name, value in read_npz(tmp_path / "new.npz").items() if name != "note"}
    arrays["upsample"] = np.array(["bilinear", "nearest instead of bilinear: because"])
    write_npz(tmp_path / "old.npz", arrays)
    old = CountsFile(tmp_path / "old.npz")
    assert [(old[name].upsample, old[name].note) for name in "ab"] == [
        ("bilinear", ""),
        ("nearest", "nearest instead of bilinear: because"),
    ]
