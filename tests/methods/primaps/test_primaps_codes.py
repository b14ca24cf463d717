"""PriMaPs' EM on the codes of another row's head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_world import RUNS, SHARED, Killed, head_world, job_of, kill_at, tensors_of, train_in
from jobs import predict_job

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.errors import UserError
from patchbank.methods import contract
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.jobs import TrainJob
from patchbank.methods.primaps import train as stage
from patchbank.methods.primaps.codes import coded_head
from patchbank.methods.primaps.settings import after, resolve, traits
from patchbank.methods.tools.class_heads import load_coded
from patchbank.methods.tools.correspondence import unit
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]
CODED = [folder for folder in contract.method_folders() if contract.traits(folder).codes]


def settings(**own: Any) -> dict[str, Any]:
    """Those of a short EM on the codes of row `stego`."""
    short = {key: value for key, value in RUNS["primaps"].items() if key != "start_epochs"}
    return resolve({**short, "codes": "stego", **own}, SHARED)


@pytest.fixture(scope="session")
def coded_world(head_world: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same banks, and a checkpoint of every method with codes under its folder's name."""
    found = dict(head_world)
    for method in CODED:
        job = job_of(head_world, method, tmp_path_factory.mktemp(method))
        run_train(job)
        found[method] = job.files.checkpoint
    return found


def job_on(world: dict[str, Path], folder: Path, checkpoint: Path | None = None, **own: Any) -> TrainJob:
    job = train_in.job(world, "primaps", folder, settings(**own), traits)
    return job if checkpoint is None else replace(job, after=checkpoint)


def predicted(method: str, world: dict[str, Path], checkpoint: Path, values: Any, out: Path) -> np.ndarray:
    given = {"banks": {"whole": world["val-whole"]}, "statistics": world["statistics"], "settings": values}
    run_predict(predict_job(method, out, checkpoint=checkpoint, **given))
    with PredictionReader(out) as reader:
        return reader.labels(next(iter(reader.variants)), 0, len(reader.images))


def test_the_start_is_the_classes_of_the_head_with_gains_of_1(coded_world: dict[str, Path], tmp_path: Path) -> None:
    """With steps of no length what is left is the start: it names patches as the head does."""
    assert (after(settings()), after(resolve({}, SHARED)), settings()["start_epochs"]) == ("stego", "", 0)
    job = job_on(coded_world, tmp_path, lr=1e-30)
    run_train(job)
    head, ours = load_coded(coded_world["stego"]), load_checkpoint(job.files.checkpoint)[0]
    assert torch.equal(head.first_vectors(), load_checkpoint(coded_world["stego"])[0]["classes/k3-s0"])
    torch.testing.assert_close(ours["classes/k3-s0"], unit(head.first_vectors()))
    other = load_checkpoint(coded_world["stego"])[1]["settings"]
    theirs = predicted("stego", coded_world, coded_world["stego"], other, tmp_path / "theirs.h5")
    mine = predicted("primaps", coded_world, job.files.checkpoint, job.settings, tmp_path / "mine.h5")
    assert len(np.unique(mine)) > 1
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("method", CODED)
def test_every_head_with_codes_is_kept_as_it_is_and_the_checkpoint_needs_no_other(
    method: str, coded_world: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "other.safetensors"
    checkpoint.write_bytes(coded_world[method].read_bytes())
    job = job_on(coded_world, tmp_path / "a", checkpoint)
    run_train(job)
    other, ours = tensors_of(checkpoint), tensors_of(job.files.checkpoint)
    assert {name: value for name, value in ours.items() if not name.startswith("classes/")} == {
        name: value for name, value in other.items() if not name.startswith("classes/")
    }
    record = load_checkpoint(job.files.checkpoint)[1]
    assert (record["after"]["row"], record["after"]["method"], record["after"]["seed"]) == ("stego", method, 0)
    assert record["notes"] == ["runs on the codes of stego, from its classes."]
    checkpoint.unlink()
    labels = predicted("primaps", coded_world, job.files.checkpoint, job.settings, tmp_path / "val.h5")
    model, bank = contract.load_model("primaps", job.files.checkpoint), open_bank(coded_world["val-whole"])
    tokens = torch.from_numpy(bank.read(np.arange(len(bank)), ("tokens",))["tokens"][:, 0])
    np.testing.assert_array_equal(model.scores(tokens).argmax(1).numpy(), labels.reshape(len(bank), -1))


def test_equal_heads_give_equal_bits_and_another_head_other_ones(coded_world: dict[str, Path], tmp_path: Path) -> None:
    first, again = job_on(coded_world, tmp_path / "a"), job_on(coded_world, tmp_path / "b", views="five", size=16)
    twice = replace(again, files=job_on(coded_world, tmp_path / "c").files)
    other = job_on(coded_world, tmp_path / "d", coded_world["smooseg"])
    found = []
    for job in (first, again, twice, other):
        stage.train(job)
        found.append(tensors_of(job.files.checkpoint))
    assert found[1] == found[2]
    assert found[0]["classes/k3-s0"] != found[1]["classes/k3-s0"]
    assert found[0]["classes/k3-s0"] != found[3]["classes/k3-s0"]


def test_a_killed_training_goes_on_with_the_same_head_only(coded_world: dict[str, Path], tmp_path: Path) -> None:
    """Eight steps of EM, and none of a baseline."""
    whole = job_on(coded_world, tmp_path / "whole")
    stage.train(whole)
    job = job_on(coded_world, tmp_path / "killed")
    with pytest.raises(Killed):
        stage.train(job, kill_at(4))
    other = job_on(coded_world, tmp_path / "other", coded_world["smooseg"])
    seen: list[int] = []
    stage.train(replace(other, state_root=job.state_root), seen.append)
    assert seen == list(range(8))
    seen.clear()
    stage.train(job, seen.append)
    assert seen == [4, 5, 6, 7]
    assert tensors_of(job.files.checkpoint) == tensors_of(whole.files.checkpoint)
    assert job.files.steps_csv.read_text() == whole.files.steps_csv.read_text()


def changed(checkpoint: Path, out: Path, **record: Any) -> Path:
    tensors, known = load_checkpoint(checkpoint)
    save_checkpoint(out, tensors, known | record)
    return out


def test_heads_that_do_not_fit_are_refused(coded_world: dict[str, Path], tmp_path: Path) -> None:
    stego, job = coded_world["stego"], job_on(coded_world, tmp_path)
    with pytest.raises(UserError, match="learns after another row here; name that row's checkpoint"):
        run_train(replace(job, after=None))
    run_train(train_in.job(coded_world, "primaps", tmp_path / "plain", resolve(RUNS["primaps"], SHARED), traits))
    with pytest.raises(UserError, match=r"a checkpoint of 'primaps' and does not say how tokens get codes"):
        run_train(replace(job, after=tmp_path / "plain" / "checkpoint.safetensors"))
    with pytest.raises(UserError, match="does not exist"):
        run_train(replace(job, after=tmp_path / "no.safetensors"))
    backbone = {**load_checkpoint(stego)[1]["backbone"], "block": 2}
    with pytest.raises(UserError, match=r"block .* instead of 2"):
        run_train(replace(job, after=changed(stego, tmp_path / "b.safetensors", backbone=backbone)))
    with pytest.raises(UserError, match="reads tokens of width 7"):
        run_train(replace(job, after=changed(stego, tmp_path / "w.safetensors", dim=7)))
    with pytest.raises(UserError, match="has 3 classes, and 2 clusters are asked for"):
        coded_head(replace(job, settings={**job.settings, "k": [2]}), "stego")


def test_settings_that_would_do_nothing_on_codes_are_refused() -> None:
    with pytest.raises(UserError, match="start_epochs is 2 on the codes of stego, whose classes are the start"):
        settings(start_epochs=2)
    for name in ("baseline", "proposals"):
        with pytest.raises(UserError, match=f"codes is 'stego', which stage: {name} does not read"):
            resolve({"stage": name, "codes": "stego"}, SHARED)
    with pytest.raises(UserError, match="codes is 3, it must be a text"):
        resolve({"codes": 3}, SHARED)
    with pytest.raises(UserError, match="YAML reads an unquoted on"):
        resolve({True: "stego"}, SHARED)  # type: ignore[dict-item]
