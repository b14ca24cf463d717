"""The two stages from files to files, on a bank that the extract stage made."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from jobs import predict_job, train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.format import read_record
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import compute_statistics
from patchbank.bank.verify import verify_bank
from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.errors import UserError
from patchbank.methods.alignseg.batches import plan_epoch
from patchbank.methods.alignseg.settings import resolve
from patchbank.methods.contract import run_predict, run_train
from patchbank.predictions import PredictionReader

SETTINGS = resolve({"queries": 3, "heads": 2, "hidden": 16, "epochs": 3, "batch_size": 4}, {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stages")
    make_images(folder, 9)
    whole = ExtractSettings("whole", {"size": 64}, images_per_shard=4)
    found = {
        "multicrop": extract_all(
            folder, ExtractSettings("multicrop", {"size": 64, "draws": 2}, images_per_shard=4, batch_tokens=256)
        ),
        "whole": extract_all(folder, whole),
        "val": extract_all(folder, whole, "val"),
        "statistics": folder / "statistics.npz",
        "folder": folder,
    }
    compute_statistics(found["whole"], found["statistics"])
    return found


def train_in(world: dict[str, Path], name: str, **changes: Any) -> Path:
    folder = world["folder"] / name
    given = {"banks": {"multicrop": world["multicrop"]}, "statistics": world["statistics"]}
    run_train(train_job("alignseg", folder, settings={**SETTINGS, **changes}, **given))
    return folder / "checkpoint.safetensors"


def predict_in(world: dict[str, Path], checkpoint: Path, bank: str = "val") -> Path:
    out = checkpoint.parent / f"{bank}.h5"
    run_predict(predict_job("alignseg", out, banks={"whole": world[bank]}, checkpoint=checkpoint, settings=SETTINGS))
    return out


def test_from_bank_to_predictions(world: dict[str, Path]) -> None:
    checkpoint = train_in(world, "a")
    assert checkpoint.read_bytes() == train_in(world, "b").read_bytes()
    with PredictionReader(predict_in(world, checkpoint)) as reader:
        record = reader.record
        assert (record.dataset, record.split, record.method, record.kind) == ("toy", "val", "mine", "segments")
        assert (record.upsample, record.input_size) == ("nearest", (64, 64))
        assert reader.grid == (4, 4)
        assert reader.images == sorted(reader.images)
        labels = reader.labels("segments", 0, len(reader.images))
    assert labels.shape[0] == 9
    assert set(np.unique(labels)) <= set(range(SETTINGS["queries"]))


def test_a_head_that_does_not_fit_the_width(world: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="heads is 5, which does not divide"):
        train_in(world, "c", heads=5)


def test_a_bank_of_one_view_cannot_train(world: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="has 1 view"):
        train_in({**world, "multicrop": world["whole"]}, "d")


def test_a_bank_of_another_backbone_than_the_heads(world: dict[str, Path]) -> None:
    checkpoint = train_in(world, "e", epochs=1)
    tensors, record = load_checkpoint(checkpoint)
    save_checkpoint(checkpoint, tensors, {**record, "backbone": {**record["backbone"], "block": 0}})
    with pytest.raises(UserError, match=r"not the one that .*checkpoint.safetensors was trained on: block 1 instead"):
        predict_in(world, checkpoint)


def test_one_poisoned_row_stops_training_where_it_is_met(world: dict[str, Path], tmp_path: Path) -> None:
    folder, _ = read_record(world["multicrop"])
    shutil.copytree(folder, tmp_path / "bank")
    bank = open_bank(tmp_path / "bank")
    shard = min((tmp_path / "bank").glob("0*.h5"))
    with h5py.File(shard, "r+") as file:
        file["tokens"][1, 0, 3, 5] = np.nan  # draw 1 of the shard's first image: epochs 1, 3, ...
        image = file["image"][1].decode()
    settings = {"epochs": 6, "checkpoint_every": 1}
    with pytest.raises(UserError, match=r"the loss is nan at step \d+, epoch \d, batch \d \(images") as caught:
        train_in({**world, "multicrop": tmp_path / "bank"}, "f", **settings)
    step, epoch, batch = map(int, re.findall(r"step (\d+), epoch (\d), batch (\d)", str(caught.value))[0])
    odd = [batch for e in (1, 3, 5) for batch in plan_epoch(9, 2, 4, 0, e)]
    met = next(found for found in odd if image in {bank.images[row // 2] for row in found.rows})
    assert (epoch, batch) == (met.epoch, met.index)
    assert step == 2 * met.epoch + met.index
    (kept,) = (world["folder"] / "f" / "state").iterdir()
    tensors, state = load_checkpoint(kept / "state.safetensors")
    assert state["epoch"] == met.epoch
    assert all(torch.isfinite(value).all() for value in tensors.values())
    with pytest.raises(UserError, match=rf"row 1 \(image {image}\) does not match its checksum"):
        verify_bank(tmp_path / "bank")
