"""The dense CRF in worker processes: what it returns, and what happens when a worker hangs or ends."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from crf_stand_in import stand_in

from patchbank.errors import UserError
from patchbank.refinement import crf
from patchbank.refinement.crf import CERTAIN, DenseCRF, TookTooLong

__all__ = ["stand_in"]

ECHO = """
import sys
import numpy as np
while header := sys.stdin.buffer.read(12):
    k, h, w = np.frombuffer(header, np.int32)
    masks = np.frombuffer(sys.stdin.buffer.read(4 * k * h * w), np.float32).reshape(k, h, w)
    pixels = np.frombuffer(sys.stdin.buffer.read(3 * h * w), np.uint8).reshape(h, w, 3)
    sys.stdout.buffer.write((masks.argmin(0) + (pixels[..., 0] > 200)).astype(np.int32).tobytes())
    sys.stdout.buffer.flush()
"""


def masks_of(seed: int, shape: tuple[int, int, int] = (3, 7, 5)) -> np.ndarray:
    values = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return values / values.sum(0)


def test_every_thread_gets_the_answer_to_its_own_question() -> None:
    questions = [masks_of(seed, (3, 6 + seed % 3, 5)) for seed in range(12)]
    pixels = [np.full((*q.shape[1:], 3), 100 + 10 * i, np.uint8) for i, q in enumerate(questions)]
    with DenseCRF(command=(sys.executable, "-c", ECHO)) as workers, ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(workers, questions, pixels))
    for i, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        np.testing.assert_array_equal(answer, question.argmin(0) + (100 + 10 * i > 200))


def test_one_mask_needs_no_worker() -> None:
    with DenseCRF(command=("false",)) as workers:
        assert (workers(np.ones((1, 4, 3), np.float32), np.zeros((4, 3, 3), np.uint8)) == 0).all()


def test_a_worker_that_ends_says_why_and_how_to_install_the_library() -> None:
    with (
        DenseCRF(command=(sys.executable, "-c", "raise RuntimeError('no memory')")) as workers,
        pytest.raises(UserError, match=r"ended with code 1 \(RuntimeError: no memory\); .*'patchbank\[crf\]'"),
    ):
        workers(masks_of(0), np.zeros((7, 5, 3), np.uint8))


def test_a_kill_is_no_time_limit() -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with DenseCRF(command=(sys.executable, "-c", kill)) as workers, pytest.raises(UserError, match="code -9"):
        workers(masks_of(0), np.zeros((7, 5, 3), np.uint8))


def test_the_worker_stops_an_image_at_the_limit_and_goes_on(stand_in: Path) -> None:
    masks, bright = masks_of(0), np.full((7, 5, 3), 9, np.uint8)
    with DenseCRF(limit=0.5) as workers:
        with pytest.raises(TookTooLong):
            workers(masks, np.zeros((7, 5, 3), np.uint8))
        for _ in range(2):
            np.testing.assert_array_equal(workers(masks, bright), masks.argmax(0))


def test_masks_of_labels_are_sure_to_a_share(stand_in: Path) -> None:
    """What reaches the library adds up to one, and the own label of a pixel has the share."""
    asked: list[np.ndarray] = []

    class Watched(DenseCRF):
        def __call__(self, masks: np.ndarray, pixels: np.ndarray) -> np.ndarray:
            asked.append(masks)
            return super().__call__(masks, pixels)

    hot = np.eye(3, dtype=np.float32)[np.arange(35).reshape(7, 5) % 3].transpose(2, 0, 1)
    with Watched() as workers:
        found = workers.of_labels(hot, np.full((7, 5, 3), 9, np.uint8))
        assert (workers.of_labels(hot[:1] * 0 + 1, np.full((7, 5, 3), 9, np.uint8)) == 0).all()
    np.testing.assert_array_equal(found, hot.argmax(0))
    np.testing.assert_allclose(asked[0].max(0), CERTAIN, rtol=1e-6)
    np.testing.assert_allclose(asked[0].sum(0), 1, rtol=1e-6)


def test_the_version_is_that_of_the_library(stand_in: Path) -> None:
    assert (crf.installed(), crf.version()) == (True, "pydensecrf2 0")


@pytest.mark.skipif(not crf.installed(), reason="pydensecrf2 (extra crf) is not installed")
def test_masks_follow_the_edges_of_the_image() -> None:
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[:, 20:] = (250, 200, 20)
    left = np.clip((30 - np.arange(48, dtype=np.float32)) / 12, 0.05, 0.95)  # the masks change sides at column 24
    masks = np.stack([left, 1 - left])[:, None].repeat(40, 1)
    with DenseCRF() as workers:
        found = workers(masks, pixels)
    np.testing.assert_array_equal(found, np.arange(48)[None].repeat(40, 0) >= 20)
