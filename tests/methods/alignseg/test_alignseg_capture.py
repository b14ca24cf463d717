"""The recorded step: on a GPU against the plain one, and without a GPU the order of its calls with stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from alignseg_training import FakeBank, run, small, table
from jobs import train_job
from torch import Tensor

from patchbank.checkpoints.store import load_checkpoint
from patchbank.methods.alignseg import batches, capture
from patchbank.methods.alignseg import train as training
from patchbank.methods.alignseg.capture import WARM_UP, CapturedStep

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CPU = torch.device("cpu")


def stand_in(fails: bool) -> Any:
    """What `CapturedStep` uses of torch.cuda, where a graph replays the function that ran while it was recorded."""
    stream, outer = (SimpleNamespace(device=CPU, wait_stream=lambda other: None) for _ in range(2))

    class Graph:
        replayed: Callable[[], None]

        def replay(self) -> None:
            self.replayed()

    cuda = SimpleNamespace(current=outer, CUDAGraph=Graph)

    @contextmanager
    def graph(made: Graph, stream: Any) -> Iterator[None]:
        cuda.current, Graph.recording = stream, made
        yield
        Graph.recording = None
        if fails:  # torch stays on the stream of the recording
            raise RuntimeError("operation failed due to a previous error during capture")
        cuda.current = outer

    Graph.recording = None
    cuda.Stream, cuda.stream, cuda.graph = lambda device: stream, lambda other: nullcontext(), graph
    cuda.current_stream = lambda device: cuda.current
    cuda.set_stream = lambda chosen: setattr(cuda, "current", chosen)
    return cuda


def test_inputs_reach_the_recording_and_every_call_steps_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = stand_in(fails=False)
    monkeypatch.setattr(capture.torch, "cuda", cuda)
    total, result = torch.zeros(2), torch.zeros(2)

    def work(a: Tensor, b: Tensor) -> None:
        total.add_(a * b)
        result.copy_(total)

    def step(a: Tensor, b: Tensor) -> Tensor:
        if cuda.CUDAGraph.recording:  # recording runs nothing
            cuda.CUDAGraph.recording.replayed = lambda: work(a, b)
        else:
            work(a, b)
        return result

    captured, expected = CapturedStep(step, CPU), torch.zeros(2)
    for number in range(WARM_UP + 4):
        a, b = torch.tensor([number, 1.0]), torch.tensor([2.0, number])
        expected += a * b
        torch.testing.assert_close(captured(a, b), expected, rtol=0, atol=0)


def test_a_step_that_cannot_be_recorded_runs_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = stand_in(fails=True)
    outer = cuda.current
    monkeypatch.setattr(capture.torch, "cuda", cuda)
    seen: list[float] = []

    def step(value: Tensor) -> Tensor:
        if not cuda.CUDAGraph.recording:
            seen.append(float(value))
        return value

    captured = CapturedStep(step, CPU)
    for number in range(WARM_UP + 3):
        captured(torch.tensor(float(number)))
    assert cuda.current is outer
    assert seen == list(range(WARM_UP + 3))
    assert caplog.text.count("no CUDA graph of the step") == 1


def on_gpu(folder: Path, **more: Any) -> dict[str, Path]:
    bank = FakeBank(images=20)
    folder.mkdir()
    job = train_job("alignseg", folder, device="cuda", threads=None)
    settings = small(epochs=6, decoder="reference", layers=2, pairing="reference", **more)
    training.train_head(bank, bank.statistics(), settings, job)
    return {"head": job.files.checkpoint, "steps": job.files.steps_csv, "epochs": job.files.epochs_csv}


def assert_equal_runs(one: dict[str, Path], other: dict[str, Path]) -> None:
    for row, same in zip(table(one["steps"]), table(other["steps"]), strict=True):
        assert float(row["loss"]) == pytest.approx(float(same["loss"]), rel=1e-4)
    weights, same_weights = (load_checkpoint(out["head"])[0] for out in (one, other))
    for name, value in weights.items():
        torch.testing.assert_close(value, same_weights[name], rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@needs_gpu
def test_a_recorded_run_is_a_plain_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = on_gpu(tmp_path / "recorded")
    assert "no CUDA graph" not in caplog.text
    monkeypatch.setattr(training, "CapturedStep", lambda step, device: step)
    assert_equal_runs(recorded, on_gpu(tmp_path / "plain"))


@pytest.mark.gpu
@needs_gpu
def test_a_resident_run_is_a_streamed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = on_gpu(tmp_path / "resident")
    monkeypatch.setattr(batches, "_FREE_SHARE", 0.0)
    assert_equal_runs(resident, on_gpu(tmp_path / "streamed"))


@pytest.mark.gpu
@needs_gpu
def test_the_learning_rate_reaches_the_recording(tmp_path: Path) -> None:
    gammas = {"falling": 0.1, "constant": 1.0}
    falling, constant = (on_gpu(tmp_path / name, lr=5e-3, lr_gamma=gamma) for name, gamma in gammas.items())
    losses = [[float(row["loss"]) for row in table(out["steps"])] for out in (falling, constant)]
    in_epoch = 6  # 20 images, batches of 3; the rate falls after 3 epochs
    assert losses[0][: 3 * in_epoch] == pytest.approx(losses[1][: 3 * in_epoch], rel=1e-4)
    assert losses[0][-in_epoch:] != pytest.approx(losses[1][-in_epoch:], rel=1e-3)


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_the_losses_are_those_of_the_cpu(tmp_path: Path) -> None:
    on_cpu = run(tmp_path / "cpu", small(epochs=6, decoder="reference", layers=2, pairing="reference"), FakeBank(20))
    rows = zip(table(on_cpu["steps"]), table(on_gpu(tmp_path / "gpu")["steps"]), strict=True)
    for row, same in rows:
        assert float(row["loss"]) == pytest.approx(float(same["loss"]), rel=1e-3)
