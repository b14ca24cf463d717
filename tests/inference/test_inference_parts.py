"""Parts of inference by hand: windows on one grid, overlays in strips, upsampling, names of outputs."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchbank.drawing.overlay import UNMATCHED, overlay, palette
from patchbank.inference import pictures
from patchbank.inference import segment as segment_module
from patchbank.inference.inputs import find_inputs
from patchbank.inference.naming import own_segments
from patchbank.inference.pictures import NO_ID, GridSegments, draw_overlay
from patchbank.inference.segment import segment_files
from patchbank.inference.segmenter import Prepared, Segmenter
from patchbank.inference.tokens import views_per_pass, window_starts, windowed_tokens


class FakeViT:
    """An encoder with patches of 4 pixels: a token is the patch's mean red, green, blue, and its window's number."""

    def __init__(self) -> None:
        self.patch, self.dim, self.device, self.seen = 4, 4, torch.device("cpu"), 0

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // 4, width // 4

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2).float()

    def __call__(self, inputs: torch.Tensor) -> Any:
        colours = torch.nn.functional.avg_pool2d(inputs, 4).flatten(2).transpose(1, 2)
        number = torch.full((*colours.shape[:2], 1), float(self.seen))
        self.seen += len(inputs)
        return SimpleNamespace(tokens=torch.cat([colours, number], -1))


@given(st.integers(1, 60), st.integers(1, 60))
def test_windows_cover_every_patch_at_least_half_overlapping(length: int, asked: int) -> None:
    window = min(asked, length)
    starts = window_starts(length, window)
    covered = {patch for start in starts for patch in range(start, start + window)}
    assert covered == set(range(length))
    assert starts == sorted(set(starts))
    assert all(after - before <= max(1, window // 2) for before, after in pairwise(starts))


def test_windows_are_averaged_on_one_grid() -> None:
    assert window_starts(6, 4) == [0, 2]
    assert window_starts(7, 4) == [0, 2, 3]
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (16, 24, 3), dtype=np.uint8))
    tokens, grid = windowed_tokens(FakeViT(), image, 17)  # type: ignore[arg-type]
    assert (grid, tokens.shape, tokens.dtype) == ((4, 6), (1, 24, 4), torch.float16)
    colours = np.asarray(image, dtype=np.float64).reshape(4, 4, 6, 4, 3).mean((1, 3)).reshape(24, 3)
    np.testing.assert_allclose(tokens[0, :, :3], colours, rtol=1e-3)
    # windows 0 and 1 start at columns 0 and 2, and share columns 2 and 3
    assert tokens[0, :, 3].reshape(4, 6).tolist() == [[0, 0, 0.5, 0.5, 1, 1]] * 4


def test_a_picture_smaller_than_the_window_or_off_the_patch_grid() -> None:
    tokens, grid = windowed_tokens(FakeViT(), Image.new("RGB", (9, 3), (8, 9, 10)), 16)  # type: ignore[arg-type]
    assert grid == (1, 2)
    assert tokens[0].tolist() == [[8, 9, 10, 0]] * 2


def test_a_cpu_gets_one_view_at_a_time() -> None:
    vit: Any = FakeViT()
    assert views_per_pass(vit, 64) == 1
    vit.device = torch.device("cuda")
    assert views_per_pass(vit, 64) == 32  # 8192 tokens of 16 x 16 patches
    assert views_per_pass(vit, 4096) == 1


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 99))
def test_an_overlay_in_strips_is_the_overlay(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = random.integers(0, 3, (height, width)).astype(np.uint8)
    labels[labels == 2] = NO_ID
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "STRIP", 10)
        drawn = draw_overlay(image, labels, palette(2))
    whole = np.where(labels == NO_ID, UNMATCHED, labels.astype(np.int64))
    np.testing.assert_array_equal(drawn, overlay(image, whole, palette(2)))


def test_a_segment_without_a_patch_wins_nowhere() -> None:
    # the third segment is second best in both patches, and the best of the interpolated shares between them
    scores = np.log(np.array([[0.6, 0.0001], [0.0001, 0.6], [0.3999, 0.3999]], np.float32)).reshape(3, 1, 2)
    named = GridSegments(scores, np.array([5, 7, UNMATCHED]))
    own = GridSegments(scores, np.arange(3))
    assert set(np.unique(own.labels(4, 16, "bilinear"))) == {0, 1, 2}
    assert set(np.unique(named.labels(4, 16, "bilinear"))) == {5, 7}
    assert named.labels(1, 2, "nearest").tolist() == [[5, 7]]
    unmatched = GridSegments(scores, np.array([UNMATCHED, 7, UNMATCHED]))
    assert unmatched.labels(1, 2, "bilinear").tolist() == [[NO_ID, 7]]


def test_scores_that_are_not_finite_leave_the_picture_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 8), (1, 2, 3) if name == "a" else (9, 9, 9)).save(tmp_path / f"{name}.png")

    class Model:
        segments, dim, record = 2, 4, {}

        def scores(self, tokens: torch.Tensor) -> torch.Tensor:
            bad = tokens[0, 0, 0] == 1
            return torch.full((len(tokens), 2, tokens.shape[1]), float("nan") if bad else 1.0)

    segmenter: Any = Segmenter(FakeViT(), Model(), own_segments(2), size=8)  # type: ignore[arg-type]
    written: list[str] = []
    inputs = find_inputs([tmp_path], tmp_path / "out")
    problems = segment_files(inputs, segmenter, lambda name, image, found: written.append(name), lambda _: None)
    assert written == ["b"]
    assert problems == [f"{tmp_path / 'a.png'}: the encoder's tokens are not finite numbers."]


def test_a_writer_that_fails_is_heard(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    model = SimpleNamespace(record={}, scores=lambda tokens: torch.zeros(1, 2, tokens.shape[1]))
    segmenter: Any = Segmenter(FakeViT(), model, own_segments(2), size=8)  # type: ignore[arg-type]

    def full(name: str, image: Image.Image, found: GridSegments) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        segment_files(find_inputs([tmp_path / "a.png"], tmp_path), segmenter, full)


WAIT = 20
"""Seconds after which something that should happen at the same time did not."""


class Stages:
    """An encoder, and a sink, that go on only when the stages beside them have worked on other pictures."""

    def __init__(self, count: int) -> None:
        self.read, self.encoding, self.written = ([threading.Event() for _ in range(count)] for _ in range(3))
        self.waited: list[bool] = []
        self.order: list[str] = []

    def encode(self, number: int) -> None:
        """Ends when the picture before has been written, and the next one been read."""
        self.encoding[number].set()
        others = [*self.written[:number][-1:], *self.read[number + 1 : number + 2]]
        self.waited += [event.wait(WAIT) for event in others]

    def sink(self, name: str, image: Image.Image, found: GridSegments) -> None:
        """Writes when the next picture is in the encoder."""
        number = int(name)
        self.waited += [event.wait(WAIT) for event in self.encoding[number + 1 : number + 2]]
        self.order.append(name)
        self.written[number].set()


def numbered(folder: Path, count: int) -> None:
    """Pictures 0.png, 1.png... whose colours tell their numbers."""
    for number in range(count):
        Image.new("RGB", (8, 8), (number, number, number)).save(folder / f"{number}.png")


def test_pictures_are_read_encoded_and_written_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered(tmp_path, 7)
    stages = Stages(7)

    class Model:
        segments, dim, record = 2, 4, {}

        def scores(self, tokens: torch.Tensor) -> torch.Tensor:
            stages.encode(int(tokens[0, 0, 0]))
            return torch.zeros(1, 2, tokens.shape[1])

    prepare = Segmenter.prepare

    def prepared(self: Segmenter, image: Image.Image) -> Prepared:
        assert threading.current_thread().name.startswith("read")
        ready = prepare(self, image)
        stages.read[np.asarray(image)[0, 0, 0]].set()
        return ready

    monkeypatch.setattr(Segmenter, "prepare", prepared)
    segmenter: Any = Segmenter(FakeViT(), Model(), own_segments(2), size=8)  # type: ignore[arg-type]
    inputs = find_inputs([tmp_path], tmp_path / "out")
    assert segment_files(inputs, segmenter, stages.sink) == []
    assert stages.waited == [True] * (3 * 6)
    assert stages.order == [str(number) for number in range(7)]


def test_what_waits_before_and_behind_the_encoder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(tmp_path, 40)
    monkeypatch.setattr(segment_module, "available", lambda: 3)  # two threads read, two write
    inside, most = Counter[str](), Counter[str]()
    lock, prepare = threading.Lock(), Segmenter.prepare

    def count(what: str, step: int) -> None:
        with lock:
            inside[what] += step
            most[what] = max(most[what], inside[what])

    class Model:
        segments, dim, record = 2, 4, {}

        def scores(self, tokens: torch.Tensor) -> torch.Tensor:
            count("read", -1)
            count("scored", 1)
            return torch.zeros(1, 2, tokens.shape[1])

    def prepared(self: Segmenter, image: Image.Image) -> Prepared:
        count("read", 1)
        return prepare(self, image)

    monkeypatch.setattr(Segmenter, "prepare", prepared)
    segmenter: Any = Segmenter(FakeViT(), Model(), own_segments(2), size=8)  # type: ignore[arg-type]
    inputs = find_inputs([tmp_path], tmp_path / "out")
    assert segment_files(inputs, segmenter, lambda *_: count("scored", -1)) == []
    assert (inside["read"], inside["scored"]) == (0, 0)
    assert most["read"] <= 2 + 1 + 1  # ahead, and the one that is encoded
    assert most["scored"] <= 2 + 1


def test_an_interrupt_keeps_what_was_segmented_and_ends_at_once(tmp_path: Path) -> None:
    numbered(tmp_path, 30)

    class Model:
        segments, dim, record = 2, 4, {}

        def scores(self, tokens: torch.Tensor) -> torch.Tensor:
            if int(tokens[0, 0, 0]) == 4:
                raise KeyboardInterrupt
            return torch.zeros(1, 2, tokens.shape[1])

    segmenter: Any = Segmenter(FakeViT(), Model(), own_segments(2), size=8)  # type: ignore[arg-type]
    written: list[str] = []
    inputs = sorted(find_inputs([tmp_path], tmp_path / "out"), key=lambda one: int(one.name))
    with pytest.raises(KeyboardInterrupt):
        segment_files(inputs, segmenter, lambda name, image, found: written.append(name))
    assert sorted(written) == ["0", "1", "2", "3"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("read", "write"))]


def test_a_picture_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 4096, (16, 16), dtype=np.uint16)).save(tmp_path / "deep.png")  # is scaled
    Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "good.png")
    Image.new("RGBA", (16, 16), (9, 99, 9, 0)).save(tmp_path / "clear.png")
    model = SimpleNamespace(record={}, scores=lambda tokens: torch.zeros(1, 2, tokens.shape[1]))
    segmenter: Any = Segmenter(FakeViT(), model, own_segments(2), size=8)  # type: ignore[arg-type]
    notes: list[str] = []
    inputs = find_inputs([tmp_path], tmp_path / "out")
    assert segment_files(inputs, segmenter, lambda *_: None, note=notes.append) == []
    assert [note.split(" (")[0].removeprefix(f"{tmp_path}/") for note in sorted(notes)] == [
        "clear.png is white, because all of it is transparent",
    ]
