"""Labels that are decoded once for all rows of a set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from count_factory import make_set, write_predictions

from patchbank.errors import UserError
from patchbank.evaluation import count
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.preprocessing import VARIANTS
from patchbank.evaluation.truth_file import Asked, Truth, decode, make_truth
from patchbank.files import read_npz, write_npz

SIZE = (448, 448)


def truth_of(folder: Path, asked: Asked, name: str = "truth.npz") -> Truth:
    make_truth(make_set(folder, 5), "val", asked, folder / name, workers=2)
    return Truth(folder / name)


@pytest.mark.parametrize("preprocessing", VARIANTS)
@pytest.mark.parametrize("kind", ["class", "instance"])
def test_stored_labels_are_those_of_the_masks(tmp_path: Path, preprocessing: str, kind: Any) -> None:
    manifest, asked = make_set(tmp_path, 5), Asked(preprocessing, kind, SIZE)
    with truth_of(tmp_path, asked) as truth:
        assert truth.asked == asked
        for entry in manifest.entries("val"):
            found, expected = truth.of(entry), decode(manifest, entry, asked)
            assert found is not None
            assert expected is not None
            np.testing.assert_array_equal(found.labels, expected.labels)
            assert found.labels.dtype == expected.labels.dtype
            assert found.view is expected.view
    truth_of(tmp_path, asked, "again.npz")
    assert (tmp_path / "truth.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_counts_read_no_mask_where_labels_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_set(tmp_path, 5)
    write_predictions(tmp_path / "p.h5", manifest, {"k4-s0": 4}, "nearest")
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "masks.npz", "full", 2)
    wide = truth_of(tmp_path, Asked("full", "class", (448, 896)), "wide.npz")
    with truth_of(tmp_path, Asked("full", "class", SIZE)) as truth:
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "wide.npz", "full", 2, wide)  # decodes itself
        monkeypatch.setattr(count, "decode", None)
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "truth-counts.npz", "full", 2, truth)
    counts = [read_npz(tmp_path / name) for name in ("masks.npz", "wide.npz", "truth-counts.npz")]
    for other in counts[1:]:
        assert all((other[name] == array).all() for name, array in counts[0].items())


def test_labels_fit_what_is_asked_for_up_to_the_scale_of_the_input(tmp_path: Path) -> None:
    asked = Asked("squash_320", "class", (320, 640))
    with truth_of(tmp_path, asked) as truth:
        assert truth.fits(replace(asked, input_size=(160, 320)))
        for other in (
            replace(asked, input_size=(320, 320)),
            replace(asked, preprocessing="full"),
            replace(asked, label_kind="instance"),
        ):
            assert not truth.fits(other)


def test_images_without_labels_and_files_without_images(tmp_path: Path) -> None:
    asked = Asked("full", "class", SIZE)
    blind, seeing = make_set(tmp_path, 2, masks=False), make_set(tmp_path, 7)
    with truth_of(tmp_path, asked) as truth:
        assert truth.of(blind.entries("val")[0]) is None
        with pytest.raises(UserError, match=r"truth\.npz has no labels of this size for 6\.jpg"):
            truth.of(seeing.entries("val")[6])
        with pytest.raises(UserError, match=r"no labels of this size for 0\.jpg"):
            truth.of(replace(seeing.entries("val")[0], width=9))
    make_truth(blind, "val", asked, tmp_path / "none.npz", workers=1)
    assert Truth(tmp_path / "none.npz").asked == asked
    write_npz(tmp_path / "old.npz", read_npz(tmp_path / "none.npz") | {"format": np.array(0)})
    with pytest.raises(UserError, match="format 0, this version reads 1"):
        Truth(tmp_path / "old.npz")
