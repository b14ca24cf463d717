"""Dense banks from files to predictions: whatever reads `whole` takes the finer grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bank_factory import TINY, extract_all, make_images
from jobs import predict_job, train_job

from patchbank import open_bank
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.settings import CodingSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.bank.verify import verify_bank
from patchbank.commands.train import _by_recipe
from patchbank.config.load import default_config
from patchbank.datasets.images import load_image
from patchbank.datasets.manifest import Manifest
from patchbank.inference.tokens import squashed, whole_tokens
from patchbank.methods.alignseg.feature_crops import FeatureCrops
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.methods.contract import run_predict, run_train
from patchbank.predictions import PredictionReader

DENSE = ExtractSettings("dense", {"size": 32, "shift": 2}, images_per_shard=4, batch_tokens=16)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    make_images(folder, 5)
    for split in ("train", "val"):
        small = replace(DENSE, dtype="int8", coding=CodingSettings("train", {"size": 32})) if split == "val" else DENSE
        extract_all(folder, small, split)
    compute_statistics(folder / "dense.json", folder / "statistics.npz")
    return folder


def test_the_grid_is_twice_as_dense_and_of_the_whole_image(world: Path) -> None:
    bank, small = open_bank(world / "dense.json"), open_bank(world / "val-dense.json")
    assert (bank.grid, small.grid, bank.input_size, bank.views) == ((4, 4), (4, 4), (32, 32), 1)
    assert (verify_bank(bank.folder), verify_bank(small.folder)) == (5, 5)
    assert (small.record["dtype"], small.dtype) == ("int8", np.float32)
    assert list(_by_recipe([str(world / "dense.json")])) == ["whole"]


@pytest.mark.parametrize("name", ["kmeans", "linear-probe", "grid-majority"])
def test_methods_predict_on_the_finer_grid(name: str, world: Path, tmp_path: Path) -> None:
    row = default_config().method("msrc", name)
    common = {"statistics": world / "statistics.npz", "settings": row.settings, "manifest": world / "manifest.json"}
    train, val = {"whole": world / "dense.json"}, {"whole": world / "val-dense.json"}
    checkpoint = None
    if row.traits.trained:
        job = train_job(row.folder, tmp_path, banks=train, **common)
        run_train(job)
        checkpoint = job.files.checkpoint
    run_predict(predict_job(row.folder, tmp_path / "val.h5", banks=val, checkpoint=checkpoint, **common))
    with PredictionReader(tmp_path / "val.h5") as predictions:
        assert predictions.grid == (4, 4)


def test_a_picture_outside_a_bank_gets_the_tokens_of_the_bank(world: Path) -> None:
    manifest, bank = Manifest.load(world / "manifest.json"), open_bank(world / "dense.json")
    entry = manifest.entries("train")[2]
    vit = FrozenViT(TINY, world / "weights.safetensors", device="cpu")
    with torch.inference_mode():
        tokens, grid = whole_tokens(vit, [squashed(load_image(manifest.root / entry.image), 16, 32, 2)])
    stored = bank.read([bank.images.index(entry.id)], ("tokens",))["tokens"][0, 0]
    assert (grid, tuple(tokens.shape)) == ((4, 4), (1, 16, 192))
    np.testing.assert_allclose(tokens[0].numpy(), stored, rtol=2e-3, atol=2e-3)


def test_crops_of_whole_image_tokens_are_denser_too(world: Path) -> None:
    boxes = {"size": 16, "local_crops": 2, "global_scale": [0.5, 1.0], "local_scale": [0.05, 0.25]}
    crops = FeatureCrops(open_bank(world / "dense.json"), AlignSegSettings(crops=boxes, epochs=1), 0)
    assert (crops.grid, crops.tokens_per_view) == ((2, 2), 4)
    assert crops.read([0], ("tokens",))["tokens"].shape == (1, crops.views, 4, 192)
