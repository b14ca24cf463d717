"""Crops cut out of whole-image tokens: averages by hand, boxes of the pixel crops, training from one view."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from jobs import train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.statistics import Statistics, compute_statistics
from patchbank.checkpoints.store import load_checkpoint
from patchbank.config.load import default_config
from patchbank.errors import UserError
from patchbank.methods.alignseg.batches import _resident, load_batches, plan_epoch
from patchbank.methods.alignseg.feature_crops import FeatureCrops, crop_maps
from patchbank.methods.alignseg.foreground import ForegroundMasks, foreground_masks
from patchbank.methods.alignseg.settings import AlignSegSettings, recipes, resolve
from patchbank.methods.alignseg.train import train, train_head

CROPS = {"size": 64, "local_crops": 2, "global_scale": [0.5, 1.0], "local_scale": [0.05, 0.25]}
SETTINGS = AlignSegSettings(
    queries=3, heads=2, hidden=16, epochs=3, batch_size=4, checkpoint_every=1, tokens_from="whole", crops=CROPS
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feature-crops")
    make_images(folder, 6)
    extract_all(folder, ExtractSettings("whole", {"size": 96}, images_per_shard=4))
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    return folder


@pytest.fixture
def whole(world: Path) -> Bank:
    return open_bank(world / "whole.json")


def test_averages_by_hand() -> None:
    ramp = torch.arange(16.0).reshape(1, 16)
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 2.0, 1.0]])
    same = crop_maps(ramp, (4, 4), box[:1], (4, 4))
    assert torch.equal(same[0], ramp)
    halves = crop_maps(ramp.half(), (4, 4), box, (2, 2))
    assert halves.dtype == torch.float32
    assert halves[0, 0].tolist() == [2.5, 4.5, 10.5, 12.5]  # means of 2 x 2 cells
    assert halves[1, 0].tolist() == [9, 10, 13, 14]  # a box of 2 x 2 cells is those cells
    # more patches than cells: interpolated between centres, constant beyond the first row
    assert halves[2, 0].tolist() == [0.75, 1.25, 1.75, 2.25]


@pytest.mark.parametrize("grid", [(5, 7), (6, 6)])
def test_a_linear_map_is_read_at_the_centre_of_every_patch(grid: tuple[int, int]) -> None:
    y, x = torch.meshgrid(torch.arange(grid[0]) + 0.5, torch.arange(grid[1]) + 0.5, indexing="ij")
    box = torch.tensor([[0.7, 1.2, 4.1, 4.4]])
    crops = crop_maps(torch.stack([x, y]).flatten(1), grid, box, (3, 2))[0].view(2, 3, 2)
    np.testing.assert_allclose(crops[0], np.tile(0.7 + 3.4 * (np.arange(2) + 0.5) / 2, (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(crops[1], np.tile(1.2 + 3.2 * (np.arange(3) + 0.5)[:, None] / 3, (1, 2)), rtol=1e-6)


def test_boxes_are_those_of_the_pixel_crops(world: Path, whole: Bank) -> None:
    draws = {"size": 64, "draws": 3, "seed": 5}
    pixels = open_bank(extract_all(world, ExtractSettings("multicrop", draws, images_per_shard=4)))
    crops = FeatureCrops(whole, SETTINGS, seed=5)
    assert (len(crops), crops.views, crops.grid, crops.dim) == (18, 3, (4, 4), pixels.dim)
    assert (crops.input_size, crops.tokens_per_view) == (pixels.input_size, pixels.tokens_per_view)
    stored = pixels.read(np.arange(18), ("boxes",))["boxes"]
    h, w = whole.grid
    for sample in range(18):
        image = sample // 3
        width, height = whole.read([image], ("boxes",))["boxes"][0, 0, 2:]
        boxes = crops._boxes(sample)
        np.testing.assert_allclose(boxes, stored[sample] * np.array([w / width, h / height] * 2), rtol=1e-6)


def test_a_sample_is_its_boxes_cut_out_of_tokens_and_attention(whole: Bank) -> None:
    crops = FeatureCrops(whole, SETTINGS, seed=0)
    rows = [1, 3, 17]
    out = {"tokens": np.empty((3, 3, 16, whole.dim), np.float32)}
    found = crops.read(rows, ("tokens",), out)["tokens"]
    assert found is out["tokens"]
    both = crops.read(rows)
    np.testing.assert_array_equal(both["tokens"], found)
    for i, sample in enumerate(rows):
        stored = whole.read([sample // 3])
        boxes = torch.from_numpy(crops._boxes(sample))
        tokens = torch.from_numpy(stored["tokens"][0, 0])
        np.testing.assert_array_equal(
            found[i].transpose(0, 2, 1), crop_maps(tokens.T, whole.grid, boxes, (4, 4)).numpy()
        )
        attention = torch.from_numpy(stored["cls_attention"][0, 0])
        np.testing.assert_array_equal(both["cls_attention"][i], crop_maps(attention, whole.grid, boxes, (4, 4)).numpy())
    every = crops.read(range(18), ("tokens",))["tokens"]
    np.testing.assert_array_equal(every[rows], found)
    assert len({sample.tobytes() for sample in every}) == 18  # other crops in every epoch
    assert not np.array_equal(FeatureCrops(whole, SETTINGS, seed=1).read(rows, ("tokens",))["tokens"], found)


def test_training_reads_tokens_and_foreground_of_the_same_crops(whole: Bank) -> None:
    crops = FeatureCrops(whole, SETTINGS, seed=0)
    batches = [batch for epoch in range(3) for batch in plan_epoch(6, crops.draws, 4, 0, epoch)]
    masks = ForegroundMasks(crops, 3)
    for batch, stored, met in load_batches(crops, batches, masks, torch.device("cpu")):
        expected = crops.read(batch.rows)
        np.testing.assert_array_equal(stored.view(4, 3, 16, -1).numpy(), expected["tokens"])
        attention = expected["cls_attention"].reshape(12, crops.heads, 16)
        np.testing.assert_array_equal(met.reshape(12, 16).numpy(), foreground_masks(attention, (4, 4)))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_crops_cut_on_a_device_are_those_that_are_read(tmp_path: Path, dtype: str) -> None:
    make_images(tmp_path, 6)
    whole = open_bank(extract_all(tmp_path, ExtractSettings("whole", {"size": 96}, images_per_shard=4, dtype=dtype)))
    crops = FeatureCrops(whole, SETTINGS, seed=0)
    batches = [batch for epoch in range(1, 3) for batch in plan_epoch(6, crops.draws, 4, 0, epoch)]
    masks, device = ForegroundMasks(crops, 3), torch.device("cpu")
    for (one, tokens, foreground), (other, same_tokens, same_foreground) in zip(
        _resident(crops, batches, masks, device), load_batches(crops, batches, masks, device), strict=True
    ):
        assert one is other
        torch.testing.assert_close(tokens, same_tokens, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(foreground.float(), same_foreground, rtol=0, atol=0)


def train_in(world: Path, name: str, seed: int = 0, **banks: Path) -> dict[str, Any]:
    folder = world / name
    given = {"statistics": world / "statistics.npz", "settings": asdict(SETTINGS), "seed": seed}
    train(train_job("alignseg", folder, banks=banks or {"whole": world / "whole.json"}, **given))
    return {"bytes": (folder / "checkpoint.safetensors").read_bytes(), "folder": folder}


class Killed(Exception):
    """Stands for a kill."""


def test_a_head_is_trained_from_the_whole_bank_alone(world: Path, whole: Bank) -> None:
    first = train_in(world, "a")
    assert first["bytes"] == train_in(world, "b")["bytes"]
    assert first["bytes"] != train_in(world, "c", seed=1)["bytes"]
    _, record = load_checkpoint(first["folder"] / "checkpoint.safetensors")
    assert record["settings"]["tokens_from"] == "whole"
    assert record["settings"]["crops"] == CROPS
    assert (record["draws"], record["steps"]) == (3, 3)

    def stop(step: int) -> None:
        if step == 1:
            raise Killed

    job = train_job("alignseg", world / "d", device="cpu")
    arguments = (FeatureCrops(whole, SETTINGS, 0), Statistics.load(world / "statistics.npz"), SETTINGS, job)
    with pytest.raises(Killed):
        train_head(*arguments, on_step=stop)
    train_head(*arguments)
    assert job.files.checkpoint.read_bytes() == first["bytes"]


def test_a_bank_of_crops_is_refused(world: Path) -> None:
    crops = extract_all(world, ExtractSettings("multicrop", {"size": 64, "draws": 1}, images_per_shard=4))
    with pytest.raises(UserError, match="reads a bank of recipe `whole`"):
        train_in(world, "e", whole=crops)


def test_the_settings_say_which_bank_is_read_and_take_the_crops_of_the_recipe() -> None:
    multicrop = default_config().of("msrc")["recipes"]["multicrop"]
    shared = {"recipes": {"multicrop": multicrop}}
    crops = resolve({"tokens_from": "whole"}, shared)
    assert crops["crops"] == {**CROPS, "size": 224}
    assert recipes(crops) == ("whole",)
    pixels = resolve({}, shared)
    assert pixels["crops"] is None
    assert recipes(pixels) == ("multicrop",)
    assert AlignSegSettings.from_mapping(crops) == replace(
        AlignSegSettings(), tokens_from="whole", crops=crops["crops"]
    )
    for wrong, said in (
        ({"tokens_from": "views"}, r"tokens_from is 'views', choose crops \| whole"),
        ({"crops": {"size": 3}}, "crops follows from recipes.multicrop"),
    ):
        with pytest.raises(UserError, match=said):
            resolve(wrong, shared)
    with pytest.raises(UserError, match="no pixels to augment"):
        resolve({"tokens_from": "whole"}, {"recipes": {"multicrop": {**multicrop, "augment": True}}})
    with pytest.raises(UserError, match="it must give size, local_crops"):
        AlignSegSettings(crops={"size": 3})
