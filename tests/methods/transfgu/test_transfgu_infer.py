"""TransFGU on pictures outside a bank, against what stage `predict` stores for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bank_factory import TINY
from transfgu_world import SOURCES, make_world, predict_in, train_in

from patchbank.backbones.tail import tail_of
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.inference.tokens import block_of
from patchbank.methods.shape import PictureModel, Seen
from patchbank.methods.transfgu.infer import load
from patchbank.predictions import PredictionReader


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("transfgu"))


@pytest.mark.parametrize("source", ["exact", "tokens", "segments"])
def test_maps_of_pictures_are_those_of_the_bank(world: dict[str, Path], source: str) -> None:
    """Gradient maps of the encoder's own pass over a picture, and maps of tokens, with the set's ids of pictures."""
    checkpoint = train_in(world, f"alone-{source}", {**SOURCES[source], "stage": "pseudo_labels"})
    recipe = "lastblock" if source == "exact" else "whole"
    model, bank = load(checkpoint), open_bank(world[recipe])
    assert isinstance(model, PictureModel)
    assert (model.dim, model.segments, model.reads_block) == (192, 3, source == "exact")
    vit = FrozenViT(TINY, world["folder"] / "weights.safetensors", "cpu")
    manifest, tail = Manifest.load(world["folder"] / "manifest.json"), tail_of(vit)
    entries = {entry.id: entry for entry in manifest.entries("train")}
    with PredictionReader(predict_in(world, checkpoint, recipe)) as reader:
        stored = reader.labels("k3-s0", 0, 9).reshape(9, -1)
    same = []
    for row, image in enumerate(bank.images):
        if model.reads_block:
            with torch.inference_mode():
                seen = block_of(vit, manifest.image(entries[image]), 64, tail, image)
                same.append(model.scores_of(seen).argmax(0).numpy() == stored[row])
        else:
            tokens = torch.from_numpy(bank.read([row], ("tokens",))["tokens"][0, 0])
            same.append(model.scores_of(Seen(image, bank.grid, tokens)).argmax(0).numpy() == stored[row])
    assert np.mean(same) > (0.99 if model.reads_block else 1 - 1e-9)  # batches of a bank may round otherwise
    assert len(np.unique(stored)) > 1


def test_centroids_without_members_are_refused(world: dict[str, Path], tmp_path: Path) -> None:
    tensors, record = load_checkpoint(train_in(world, "alone", {**SOURCES["tokens"], "stage": "pseudo_labels"}))
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, tensors, {key: value for key, value in record.items() if key != "members"})
    with pytest.raises(UserError, match="train the row again"):
        load(path)
