"""The dense CRF of predictions: what counting says of it, and what a missing library stops."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from count_factory import make_set, write_predictions
from crf_stand_in import stand_in
from PIL import Image

from patchbank.config.load import checked
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.counts import CountsFile
from patchbank.evaluation.refine import refined_ids
from patchbank.left_out import CannotBeMade
from patchbank.refinement import crf
from patchbank.refinement.crf import DenseCRF

__all__ = ["stand_in"]


def test_counting_names_images_that_took_too_long(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_set(tmp_path, 3)
    for i, entry in enumerate(manifest.entries("val")):
        Image.new("RGB", (entry.width, entry.height), (0, 0, 0) if i == 1 else (9, 9, 9)).save(tmp_path / entry.image)
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5, "k70-s1": 70}, "nearest")
    arguments = (tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", 2)
    monkeypatch.setattr(DenseCRF, "__init__", partialmethod(DenseCRF.__init__, limit=3))
    count_predictions(*arguments, postprocess="crf")
    for name in ("k5-s0", "k70-s1"):
        counts = CountsFile(tmp_path / "c.npz")[name]
        assert counts.upsample == "nearest"
        assert counts.note == "bilinear masks and the CRF, 1 images without it (over 3 s)"


def test_a_patch_is_sure_of_its_label_to_a_share(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, largest = make_set(tmp_path, 1), list[float]()
    for entry in manifest.entries("val"):
        Image.new("RGB", (entry.width, entry.height), (9, 9, 9)).save(tmp_path / entry.image)
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5}, "nearest")
    whole = DenseCRF.__call__

    def watched(self: DenseCRF, masks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        largest.append(float(masks.max()))
        return whole(self, masks, pixels)

    monkeypatch.setattr(DenseCRF, "__call__", watched)
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", 1, postprocess="crf")
    assert largest == pytest.approx([crf.CERTAIN])


def test_images_that_all_take_too_long_are_no_row(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_set(tmp_path, 2)
    for entry in manifest.entries("val"):
        Image.new("RGB", (entry.width, entry.height)).save(tmp_path / entry.image)
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5}, "nearest")
    monkeypatch.setattr(DenseCRF, "__init__", partialmethod(DenseCRF.__init__, limit=0.5))
    with pytest.raises(CannotBeMade, match="the dense CRF took over 0 s on each of 2 images; choose pamr"):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", 2, postprocess="crf")


def test_a_missing_library_stops_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())
    values["methods"]["alignseg"]["postprocess"] = ["crf"]
    monkeypatch.setattr(crf, "installed", lambda: False)
    config = checked(values)
    assert config.method("msrc", "alignseg+crf").postprocess == "crf"
    asked = {
        name: config.asked("msrc", name) for name in ("alignseg", "kmeans", "alignseg+crf", "single", "linear-probe")
    }
    assert asked == {"alignseg": True, "kmeans": True, "alignseg+crf": False, "single": False, "linear-probe": False}


@pytest.mark.skipif(not crf.installed(), reason="pydensecrf2 (extra crf) is not installed")
def test_the_real_field_moves_edges_and_fills_specks() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 24:] = (250, 200, 20)  # the edge lies inside a patch of the 8 x 8 grid's coarser ids
    grid = np.array([[7, 7, 7, 7, 3, 3, 3, 3]] * 8)
    grid[5, 6] = 7
    with DenseCRF() as workers:
        found = refined_ids(grid, Image.fromarray(pixels), (64, 64), workers.of_labels)
    np.testing.assert_array_equal(found, np.where(np.arange(64) < 24, 7, 3)[None].repeat(64, 0))
