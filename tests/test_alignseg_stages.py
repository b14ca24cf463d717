"""The two stages from files to files, on a bank that the extract stage made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bank_factory import extract_all, make_images

from patchbank.alignseg.predict import predict
from patchbank.alignseg.settings import resolve
from patchbank.alignseg.train import train
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.errors import UserError
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
    train(
        banks={"multicrop": world["multicrop"]},
        statistics=world["statistics"],
        settings={**SETTINGS, **changes},
        seed=0,
        checkpoint=folder / "checkpoint.safetensors",
        steps_csv=folder / "steps.csv",
        epochs_csv=folder / "epochs.csv",
        state_root=folder / "state",
        threads=1,
    )
    return folder / "checkpoint.safetensors"


def predict_in(world: dict[str, Path], checkpoint: Path, bank: str = "val") -> Path:
    out = checkpoint.parent / f"{bank}.h5"
    predict(
        banks={"whole": world[bank]},
        statistics=world["statistics"],
        checkpoint=checkpoint,
        settings=SETTINGS,
        seed=0,
        dataset="toy",
        split="val",
        method="mine",
        out=out,
        threads=1,
    )
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
