"""PriMaPs' proposals along the edges of the pixels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crf_stand_in import stand_in
from head_world import RUNS, SHARED, head_world, tensors_of, train_in

from patchbank.checkpoints.store import load_checkpoint
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.methods.primaps import stored
from patchbank.methods.primaps import train as stage
from patchbank.methods.primaps.proposals import proposal_labels
from patchbank.methods.primaps.settings import PrimapsSettings, resolve, traits
from patchbank.refinement import crf, pamr
from patchbank.refinement.crf import TookTooLong

__all__ = ["head_world", "stand_in"]


def settings(**own: Any) -> dict[str, Any]:
    return resolve({**RUNS["primaps"], **own}, SHARED)


def edges(seed: int) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Log probabilities (3, 4, 4) of patches, pixels (32, 32, 3), and where their two halves meet: inside a patch."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 12:] = (250, 200, 20)
    pixels += rng.integers(0, 5, pixels.shape, dtype=np.uint8)
    right = torch.zeros(4, 4)
    right[:, 2:] = 1  # patches change sides at column 16
    scores = torch.stack([torch.full((4, 4), -9.0), 4 - 8 * right, 8 * right - 4])
    return scores.log_softmax(0), pixels, np.where(np.arange(32) < 12, 1, 2)[None].repeat(32, 0)


class _Pixels:
    """A bank of one view's pixels."""

    images = ("a",)

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def read(self, rows: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
        assert (rows.tolist(), fields) == ([0], ("pixels",))
        return {"pixels": self._pixels[None, None]}


def followed(rule: Any, log_probs: torch.Tensor, pixels: np.ndarray, side: int) -> np.ndarray:
    """Proposals of one view, without a bank of tokens."""
    made = object.__new__(stored.StoredProposals)
    made._size, made._pixels = (side, side), _Pixels(pixels)  # type: ignore[assignment]
    made._settings = PrimapsSettings()
    return made._followed(0, log_probs, rule)


def test_refined_proposals_follow_the_edges_of_the_pixels() -> None:
    log_probs, pixels, truth = edges(0)
    plain = proposal_labels(log_probs, (32, 32)).numpy()
    assert (plain != truth).mean() == 4 / 32
    assert (followed(pamr.pamr_winners, log_probs, pixels, 32) != truth).mean() < 2 / 32
    smaller = followed(pamr.pamr_winners, log_probs, pixels, 16)
    assert (smaller.shape, smaller.dtype) == ((16, 16), np.uint8)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def rule(masks: np.ndarray, given: np.ndarray) -> np.ndarray:
        seen.append((masks, given))
        return np.asarray(masks.argmax(0))

    np.testing.assert_array_equal(followed(rule, log_probs, pixels, 32), plain)
    np.testing.assert_array_equal(seen[0][1], pixels)
    np.testing.assert_allclose(seen[0][0].sum(0), 1, rtol=1e-5)
    assert (seen[0][0].max(0) < 0.9999).any(), "probabilities, as published, and not labels"


def test_proposals_by_the_crf_train_and_other_ones_have_a_file_of_their_own(
    stand_in: Path, head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in lets the largest probability win, so that the weights are those without it."""
    asked: list[tuple[int, ...]] = []
    whole = crf.DenseCRF.__call__

    def watched(self: crf.DenseCRF, masks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        asked.append((*masks.shape[1:], *pixels.shape))
        return whole(self, masks, pixels)

    monkeypatch.setattr(crf.DenseCRF, "__call__", watched)
    plain = train_in(head_world, "primaps", tmp_path / "plain", settings(size=40), traits)
    by_crf = train_in(head_world, "primaps", tmp_path / "crf", settings(size=40, refine="crf"), traits)
    assert tensors_of(plain) == tensors_of(by_crf)
    assert asked == [(40, 40, 40, 40, 3)] * 9
    assert [load_checkpoint(path)[1].get("library") for path in (plain, by_crf)] == [None, "pydensecrf2 0"]
    by_pamr = train_in(head_world, "primaps", tmp_path / "pamr", settings(size=40, refine="pamr"), traits)
    assert tensors_of(plain) != tensors_of(by_pamr)
    identities = [read_json(path)["identity"] for path in tmp_path.glob("*/**/done.json")]
    assert sorted(one["refine"] for one in identities) == ["crf", "none", "pamr"]
    assert {one["refine"]: one["library"] for one in identities if "library" in one} == {"crf": "pydensecrf2 0"}


def test_proposals_of_central_squares_follow_their_pixels(head_world: dict[str, Path], tmp_path: Path) -> None:
    squares = settings(size=40) | {"views": "center320"}
    world = {**head_world, "pixels": head_world["pixels-center320"]}
    found = [
        tensors_of(train_in(world, "primaps", tmp_path / refine, squares | {"refine": refine}, traits))
        for refine in ("none", "pamr")
    ]
    assert found[0] != found[1]


def test_a_crf_that_takes_too_long_names_its_image_and_the_way_out() -> None:
    def slow(masks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        raise TookTooLong

    log_probs, pixels, _ = edges(0)
    with pytest.raises(UserError, match=r"took over 60 s on the proposals of image a; run again .* or choose refine"):
        followed(slow, log_probs, pixels, 32)


def test_refinements_that_cannot_be_are_refused(
    head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"refine is 'pamr', and size is 0, the patch grid: give pixels a side"):
        settings(refine="pamr")
    with pytest.raises(UserError, match=r"refine is 'pamr', and views is 'five': choose whole \| center320"):
        settings(refine="pamr", views="five", size=40)
    with pytest.raises(UserError, match=r"student is 'recoloured', which stage: baseline .*; refine is 'pamr', which"):
        settings(refine="pamr", student="recoloured", stage="baseline")
    with pytest.raises(UserError, match=r"refine is 'pamr', which stage: proposals does not read"):
        resolve({"refine": "pamr", "stage": "proposals"}, SHARED)
    with pytest.raises(UserError, match=r"proposals follow have to be those of center320; set recipes\.pixels\.of to"):
        settings(refine="pamr", views="center320", size=40)
    monkeypatch.setattr(crf, "installed", lambda: False)
    with pytest.raises(UserError, match=r"refine is 'crf', and the dense CRF needs pydensecrf2: .* pamr, or none"):
        settings(refine="crf", size=40)
    with pytest.raises(UserError, match=r"student's views .*; the pixels that .*; refine is 'crf', and"):
        settings(refine="crf", size=40, student="recoloured", views="center320")
    world = {**head_world, "pixels": head_world["pixels-center320"]}
    with pytest.raises(
        UserError, match=r"does not hold the views of .* as pixels, .*name banks that one configuration extracts"
    ):
        stage.train(train_in.job(world, "primaps", tmp_path, settings(refine="pamr", size=40), traits))


def test_what_waits_for_its_edges_is_dropped_when_a_training_ends(
    head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    class Ended(Exception):
        pass

    def slow(masks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        done.append(1)
        time.sleep(0.2)
        return np.asarray(masks.argmax(0))

    whole = stored.StoredProposals._on_grid

    def ends(self: stored.StoredProposals, number: int) -> torch.Tensor:
        if number == 8:
            raise Ended
        return whole(self, number)

    monkeypatch.setattr(pamr, "pamr_winners", slow)
    monkeypatch.setattr(stored.StoredProposals, "_on_grid", ends)
    with pytest.raises(Ended):
        train_in(head_world, "primaps", tmp_path, settings(size=40, refine="pamr", start_epochs=0), traits)
    assert len(done) < 8, "eight were asked for"
