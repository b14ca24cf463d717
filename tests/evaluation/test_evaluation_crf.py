"""The dense CRF in worker processes: what it returns, and what happens when a worker hangs or ends."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from count_factory import make_set, write_predictions
from PIL import Image

from patchbank.config.load import checked
from patchbank.errors import UserError
from patchbank.evaluation import crf
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.counts import CountsFile
from patchbank.evaluation.crf import DenseCRF, TookTooLong
from patchbank.evaluation.refine import refined_ids
from patchbank.left_out import CannotBeMade

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


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `pydensecrf` without a field: the smallest unary energy wins; it hangs on a black first pixel."""
    package = tmp_path / "site" / "pydensecrf"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "utils.py").write_text(
        "import numpy as np\n"
        "def unary_from_softmax(p):\n"
        "    assert np.allclose(p.sum(0), 1, atol=1e-5)\n"
        "    return -np.log(p)\n"
    )
    (package / "densecrf.py").write_text(
        "import time\nimport numpy as np\n"
        "class DenseCRF2D:\n"
        "    def __init__(self, width, height, k): self.shape = (k, height, width)\n"
        "    def setUnaryEnergy(self, unary): self.unary = unary\n"
        "    def addPairwiseGaussian(self, sxy, compat): pass\n"
        "    def addPairwiseBilateral(self, sxy, srgb, compat, rgbim): self.hangs = not rgbim[0, 0].any()\n"
        "    def inference(self, steps):\n"
        "        if self.hangs: time.sleep(600)\n"
        "        return np.exp(-self.unary).reshape(self.shape)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package


def test_the_worker_stops_an_image_at_the_limit_and_goes_on(stand_in: Path) -> None:
    masks, bright = masks_of(0), np.full((7, 5, 3), 9, np.uint8)
    with DenseCRF(limit=0.5) as workers:
        with pytest.raises(TookTooLong):
            workers(masks, np.zeros((7, 5, 3), np.uint8))
        for _ in range(2):
            np.testing.assert_array_equal(workers(masks, bright), masks.argmax(0))


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
        found = refined_ids(grid, Image.fromarray(pixels), (64, 64), workers)
    np.testing.assert_array_equal(found, np.where(np.arange(64) < 24, 7, 3)[None].repeat(64, 0))


@pytest.mark.skipif(not crf.installed(), reason="pydensecrf2 (extra crf) is not installed")
def test_masks_follow_the_edges_of_the_image() -> None:
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[:, 20:] = (250, 200, 20)
    left = np.clip((30 - np.arange(48, dtype=np.float32)) / 12, 0.05, 0.95)  # the masks change sides at column 24
    masks = np.stack([left, 1 - left])[:, None].repeat(40, 1)
    with DenseCRF() as workers:
        found = workers(masks, pixels)
    np.testing.assert_array_equal(found, np.arange(48)[None].repeat(40, 0) >= 20)
