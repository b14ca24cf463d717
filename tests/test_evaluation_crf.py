"""The dense CRF in worker processes: what it returns, and what happens when a worker hangs or ends."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchbank.errors import UserError
from patchbank.evaluation import crf
from patchbank.evaluation.crf import DenseCRF
from patchbank.settings import Config

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
    assert workers.late == 0


def test_one_mask_needs_no_worker() -> None:
    with DenseCRF(command=("false",)) as workers:
        assert (workers(np.ones((1, 4, 3), np.float32), np.zeros((4, 3, 3), np.uint8)) == 0).all()


def test_an_image_that_takes_too_long_is_counted_without(caplog: pytest.LogCaptureFixture) -> None:
    masks = masks_of(0)
    with DenseCRF(0.3, (sys.executable, "-c", "import time; time.sleep(60)")) as workers:
        found = workers(masks, np.zeros((7, 5, 3), np.uint8))
    np.testing.assert_array_equal(found, masks.argmax(0))
    assert workers.late == 1
    assert "longer than 0 s" in caplog.text


def test_a_worker_that_ends_says_how_to_install_the_library() -> None:
    with (
        DenseCRF(command=(sys.executable, "-c", "raise SystemExit(3)")) as workers,
        pytest.raises(UserError, match=r"ended with code 3; .*pip install 'patchbank\[crf\]'"),
    ):
        workers(masks_of(0), np.zeros((7, 5, 3), np.uint8))


def test_a_missing_library_is_found_before_any_job(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    values: dict[str, Any] = yaml.safe_load((Path(__file__).parent.parent / "config.yaml").read_text())
    values["methods"]["alignseg"]["postprocess"] = ["crf"]
    monkeypatch.setattr(crf, "installed", lambda: True)
    assert Config(values).method("msrc", "alignseg+crf").postprocess == "crf"
    monkeypatch.setattr(crf, "installed", lambda: False)
    with pytest.raises(UserError, match="crf` needs pydensecrf2"):
        Config(values)


@pytest.mark.skipif(not crf.installed(), reason="pydensecrf2 (extra crf) is not installed")
def test_masks_follow_the_edges_of_the_image() -> None:
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[:, 20:] = (250, 200, 20)
    left = np.clip((30 - np.arange(48, dtype=np.float32)) / 12, 0.05, 0.95)  # the masks change sides at column 24
    masks = np.stack([left, 1 - left])[:, None].repeat(40, 1)
    with DenseCRF() as workers:
        found = workers(masks, pixels)
    np.testing.assert_array_equal(found, np.arange(48)[None].repeat(40, 0) >= 20)
