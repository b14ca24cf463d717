from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alignseg_training import DIM, FakeBank, run, small, table, untimed
from jobs import train_job

from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import load_checkpoint
from patchbank.errors import UserError
from patchbank.memory import free_on
from patchbank.methods.alignseg import train as training
from patchbank.methods.alignseg.batches import _resident, load_batches, plan_epoch
from patchbank.methods.alignseg.foreground import ForegroundMasks
from patchbank.methods.alignseg.head import load_head


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"centre": "standardise", "pairing": "reference", "decoder": "reference", "layers": 2},
        {"centre": "none", "foreground": False, "layers": 2},
    ],
)
def test_training_lowers_the_loss_and_repeats_itself(tmp_path: Path, changes: dict[str, Any]) -> None:
    out, again = (run(tmp_path / name, small(epochs=8, **changes)) for name in ("a", "b"))
    rows = table(out["epochs"])
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert out["head"].read_bytes() == again["head"].read_bytes()
    assert untimed(out["steps"]) == untimed(again["steps"])
    assert not list(out["state"].iterdir())
    assert run(tmp_path / "c", small(epochs=8, **changes), seed=1)["head"].read_bytes() != out["head"].read_bytes()


def test_logs(tmp_path: Path) -> None:
    out = run(tmp_path, small())
    steps, epochs = table(out["steps"]), table(out["epochs"])
    assert ",".join(steps[0]) == "step,epoch,lr,loss_patch,loss_query,loss,used_segments,images_per_second"
    assert list(epochs[0]) == list(steps[0])[1:]
    assert [int(row["step"]) for row in steps] == list(range(10))  # 7 images, batches of 3: 2 steps an epoch
    assert [int(row["epoch"]) for row in epochs] == list(range(5))
    assert [float(row["lr"]) for row in epochs] == [1e-2] * 3 + [5e-3] * 2
    for name in ("loss_patch", "loss_query", "loss", "used_segments"):
        mean = np.mean([float(row[name]) for row in steps if row["epoch"] == "1"])
        assert float(epochs[1][name]) == pytest.approx(mean, rel=1e-7)
    for row in steps:
        assert float(row["loss"]) == pytest.approx(float(row["loss_patch"]) + float(row["loss_query"]), rel=1e-5)
        assert 1 <= float(row["used_segments"]) <= 3


def test_record_and_stored_statistics(tmp_path: Path) -> None:
    bank = FakeBank()
    out = run(tmp_path, small(centre="standardise"), bank)
    tensors, record = load_checkpoint(out["head"])
    assert record == json.loads(out["head"].with_suffix(".json").read_text())
    assert record["backbone"] == bank.record["backbone"]
    assert (record["seed"], record["steps"], record["draws"], record["threads"]) == (0, 10, 2, 1)
    np.testing.assert_array_equal(tensors["centre/mean"].numpy(), bank.statistics().mean)
    np.testing.assert_array_equal(tensors["centre/std"].numpy(), bank.statistics().std)
    assert load_head(out["head"]).settings == small(centre="standardise")


def test_order_draws_and_dropped_images() -> None:
    seen = []
    for epoch in range(4):
        batches = plan_epoch(images=7, draws=3, batch_size=3, seed=5, epoch=epoch)
        assert [batch.last for batch in batches] == [False, True]
        for batch in batches:
            assert (np.diff(batch.rows) > 0).all()
            assert (batch.rows % 3 == epoch % 3).all()
        seen.append(tuple(np.concatenate([batch.rows // 3 for batch in batches])))
        assert len(set(seen[-1])) == 6
    assert len(set(seen)) > 1
    assert plan_epoch(7, 3, 3, 5, 1)[0].rows.tolist() == plan_epoch(7, 3, 3, 5, 1)[0].rows.tolist()


def test_read_ahead_hands_out_the_right_rows() -> None:
    bank = FakeBank(images=20)
    batches = [batch for epoch in range(3) for batch in plan_epoch(20, 2, 4, 0, epoch)]
    for batch, stored, _ in load_batches(bank, batches, None, torch.device("cpu")):
        np.testing.assert_array_equal(stored.view(4, 3, 20, DIM).numpy(), bank.data["tokens"][batch.rows])
    assert bank.asked == [batch.rows.tolist() for batch in batches]


@pytest.mark.parametrize("with_masks", [True, False])
def test_a_resident_bank_hands_out_what_a_streamed_one_does(with_masks: bool) -> None:
    bank = FakeBank(images=70, draws=3)
    batches = [batch for epoch in range(4) for batch in plan_epoch(70, 3, 8, 0, epoch)]
    masks = ForegroundMasks(bank, 3) if with_masks else None
    resident = _resident(bank, batches, masks, torch.device("cpu"))
    streamed = load_batches(bank, batches, masks, torch.device("cpu"))
    for (one, tokens, foreground), (other, same_tokens, same_foreground) in zip(resident, streamed, strict=True):
        assert one is other
        torch.testing.assert_close(tokens, same_tokens, rtol=0, atol=0)
        torch.testing.assert_close(foreground.float(), same_foreground, rtol=0, atol=0)


def test_memory_that_torch_keeps_of_freed_tensors_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"mem_get_info": (10, 80), "memory_reserved": 60, "memory_allocated": 5}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_on(torch.device("cuda")) == 65


def test_losses_fetched_together_are_those_fetched_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one = run(tmp_path / "a", small())
    fetch = training.StepLog
    monkeypatch.setattr(training, "StepLog", lambda rows, _, place: fetch(rows, 7, place))
    together = run(tmp_path / "b", small())
    assert untimed(together["steps"]) == untimed(one_by_one["steps"])
    bank = FakeBank(draws=5, dtype="float32")
    bank.data["tokens"][2::5] = np.nan  # epoch 2: steps 4 and 5, fetched with step 6 or at a state
    with pytest.raises(UserError, match=r"the loss is nan at step 4, epoch 2, batch 0"):
        run(tmp_path / "c", small(centre="none"), bank)
    (kept,) = (tmp_path / "c" / "state").iterdir()
    tensors, record = load_checkpoint(kept / "state.safetensors")
    assert record["epoch"] == 2
    assert all(torch.isfinite(value).all() for value in tensors.values())


def test_fewer_images_than_a_batch_are_one_batch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = run(tmp_path, small(batch_size=32))
    assert len(table(out["steps"])) == 5
    assert "7 images are fewer than a batch of 32" in caplog.text


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("at", [0, 3, 4, 6, 9])
def test_an_interrupted_run_ends_as_an_undisturbed_one(tmp_path: Path, at: int) -> None:
    settings = small(decoder="reference", layers=2)
    undisturbed = run(tmp_path / "undisturbed", settings)

    def stop(step: int) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "killed", settings, on_step=stop)
    assert not (tmp_path / "killed" / "steps.csv").exists()
    done: list[int] = []
    resumed = run(tmp_path / "killed", settings, on_step=done.append)
    assert done == list(range(at // 4 * 4 if (at + 1) % 4 else at + 1, 10))  # a state every 2 epochs of 2 steps
    assert resumed["head"].read_bytes() == undisturbed["head"].read_bytes()
    assert untimed(resumed["steps"]) == untimed(undisturbed["steps"])
    assert untimed(resumed["epochs"]) == untimed(undisturbed["epochs"])


def test_a_run_that_differs_does_not_take_the_state(tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, small(), on_step=stop)
    for changes in ({"seed": 1}, {"settings": small(pressure=0.2)}, {"bank": FakeBank(seed=9)}):
        done: list[int] = []
        run(tmp_path, **{"settings": small(), **changes}, on_step=done.append)
        assert done[0] == 0
    done = []
    run(tmp_path, small(), on_step=done.append)
    assert done[0] == 4


def test_a_loss_that_is_not_finite_stops_at_once_and_keeps_the_state(tmp_path: Path) -> None:
    bank = FakeBank(draws=5, dtype="float32")
    bank.data["tokens"][4::5] = np.nan  # the last epoch's draw
    with pytest.raises(UserError, match=r"the loss is nan at step 8, epoch 4, batch 0 \(images 0000") as caught:
        training.train_head(bank, FakeBank().statistics(), small(), train_job("alignseg", tmp_path, device="cpu"))
    (kept,) = (tmp_path / "state").iterdir()
    assert str(kept) in str(caught.value)
    tensors, record = load_checkpoint(kept / "state.safetensors")
    assert record["epoch"] == 4
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_bank_without_local_crops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this one has 1 view"):
        run(tmp_path, small(), FakeBank(views=1))


def test_statistics_have_to_fit(tmp_path: Path) -> None:
    wrong = Statistics(np.zeros(3), np.ones(3), 1)
    job = train_job("alignseg", tmp_path)
    for statistics, said in ((wrong, "have width 3"), (None, "needs the statistics")):
        with pytest.raises(UserError, match=said):
            training.train_head(FakeBank(), statistics, small(), job)
    training.train_head(FakeBank(), None, small(centre="none", epochs=1), job)
