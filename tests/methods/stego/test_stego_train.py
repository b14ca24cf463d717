"""STEGO's stage `train`: what it reads, what it writes, and that an interruption changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import TINY
from head_world import RUNS, SHARED, Killed, head_world, kill_at, tensors_of, train_in

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint
from patchbank.datasets import Manifest, load_image
from patchbank.errors import UserError
from patchbank.inference.naming import Naming
from patchbank.inference.segmenter import Segmenter
from patchbank.methods.contract import load_model, run_predict
from patchbank.methods.jobs import TrainJob
from patchbank.methods.stego import neighbours
from patchbank.methods.stego import train as stage
from patchbank.methods.stego.losses import bilinear_weights
from patchbank.methods.stego.neighbours import nearest, positives
from patchbank.methods.stego.settings import StegoSettings, resolve, traits
from patchbank.methods.stego.shifts import Shifts
from patchbank.methods.tools.correspondence import other_images, similarity
from patchbank.methods.tools.opened import open_training
from patchbank.predictions import PredictionReader

OWN = RUNS["stego"]
__all__ = ["head_world"]


def settings(**own: Any) -> dict[str, Any]:
    return resolve({**OWN, **own}, SHARED)


@pytest.mark.parametrize(
    "own",
    [
        {"views": "five", "sample": "tokens", "signal_dropout": 0.1},
        {"views": "random", "shifts": "given", "dropout": 0.0},
        {"views": "center320", "probe": "reference", "clamp": "stabilised", "centring": False, "centre": "none"},
    ],
)
def test_every_choice_trains_and_repeats_bit_by_bit(
    own: dict[str, Any], head_world: dict[str, Path], tmp_path: Path
) -> None:
    first = train_in(head_world, "stego", tmp_path / "a", settings(**own), traits)
    second = train_in(head_world, "stego", tmp_path / "b", settings(**own), traits)
    assert tensors_of(first) == tensors_of(second)
    assert tensors_of(first) != tensors_of(train_in(head_world, "stego", tmp_path / "c", settings(**own), traits, 1))
    assert (tmp_path / "a" / "steps.csv").read_text() == (tmp_path / "b" / "steps.csv").read_text()
    (kept,) = (tmp_path / "a" / "state").glob("*")  # no state of a training
    assert sorted(path.name for path in kept.iterdir()) == ["identity.json", "neighbours.npz"]


@pytest.mark.parametrize("step", [1, 5, 8])
def test_a_killed_training_ends_as_if_nothing_had_happened(
    step: int, head_world: dict[str, Path], tmp_path: Path
) -> None:
    """Steps 0 to 3 are those of the search, with a state after every second."""
    whole = train_in(head_world, "stego", tmp_path / "whole", settings(), traits)
    job = train_in.job(head_world, "stego", tmp_path / "killed", settings(), traits)
    with pytest.raises(Killed):
        stage.train(job, kill_at(step))
    seen: list[int] = []
    stage.train(job, seen.append)
    assert seen == list(range((step + 1) // 2 * 2, 10))
    assert tensors_of(job.files.checkpoint) == tensors_of(whole)
    assert job.files.steps_csv.read_text() == (tmp_path / "whole" / "steps.csv").read_text()


def test_the_mirror_image_is_averaged(head_world: dict[str, Path], tmp_path: Path) -> None:
    from jobs import predict_job

    own = settings(mirror=True)
    assert traits(own).reads == ("whole", "mirrored")
    checkpoint = train_in(head_world, "stego", tmp_path, own, traits)
    banks = {name: head_world[f"val-{name}"] for name in traits(own).reads}
    run_predict(predict_job("stego", tmp_path / "val.h5", banks=banks, checkpoint=checkpoint, settings=own))
    model = load_model("stego", checkpoint)
    parts = []
    for name in traits(own).reads:
        bank = open_bank(banks[name])
        tokens = torch.from_numpy(bank.read(np.arange(len(bank)), ("tokens",))["tokens"][:, 0])
        parts.append(model.scores(tokens).unflatten(2, bank.grid))
    expected = ((parts[0] + parts[1].flip(3)) / 2).argmax(1).numpy()
    with PredictionReader(tmp_path / "val.h5") as reader:
        assert reader.record.upsample == "bilinear"
        np.testing.assert_array_equal(reader.labels("k3-s0", 0, len(expected)), expected)
    manifest = Manifest.load(head_world["manifest"])
    entries = {entry.id: manifest.root / entry.image for entry in manifest.entries("val")}
    vit = FrozenViT(TINY, head_world["manifest"].with_name("weights.safetensors"), device="cpu")
    naming = Naming("classes", ("a", "b", "c"), np.zeros((3, 3), np.uint8), "test")
    segmenter = Segmenter(vit, model, naming, bank.input_size)
    new = [segmenter.score([segmenter.prepare(load_image(entries[image]))])[0] for image in bank.images]
    np.testing.assert_array_equal([one.scores.argmax(0).reshape(one.grid) for one in new], expected)


def test_a_learned_number_of_classes_stands_under_every_larger_one(head_world: dict[str, Path], tmp_path: Path) -> None:
    from jobs import predict_job

    own = resolve({**OWN, "probe": "reference"}, {**SHARED, "k": [3, 5]})
    checkpoint = train_in(head_world, "stego", tmp_path, own, traits)
    given = {"banks": {"whole": head_world["val-whole"]}, "checkpoint": checkpoint, "settings": own}
    run_predict(predict_job("stego", tmp_path / "val.h5", **given))
    with PredictionReader(tmp_path / "val.h5") as reader:
        assert reader.variants == {"k3-s0": 3, "k5-s0": 5}
        few, more = (reader.labels(name, 0, len(reader.images)) for name in reader.variants)
        np.testing.assert_array_equal(few, more)


def test_shifts_follow_what_is_seen() -> None:
    shifts = Shifts([0.1, 0.2, 0.3])
    alike, apart = torch.ones(4, 4), torch.zeros(4, 4)
    shifts.follow((alike, apart, alike), 0.75, 0.1, counts=True)
    intra, inter, negative = shifts.values.tolist()
    assert intra == pytest.approx(0.1), "these pairs are as they should be"
    assert (inter < 0.2, negative > 0.3) == (True, True)
    assert shifts.means() == pytest.approx([intra, inter, negative])
    for _ in range(1000):
        shifts.follow((apart, apart, alike), 0.75, 0.1, counts=False)
    assert shifts.values.tolist() == [-1, -1, 1]


def test_found_shifts_stand_in_the_record_and_given_ones_are_kept(head_world: dict[str, Path], tmp_path: Path) -> None:
    searched = load_checkpoint(train_in(head_world, "stego", tmp_path / "a", settings(), traits))[1]
    assert len(searched["shifts"]) == 3
    assert "searched on the train bank without labels" in searched["notes"][0]
    own = settings(shifts="given", shift_intra=0.25)
    given = load_checkpoint(train_in(head_world, "stego", tmp_path / "b", own, traits))[1]
    assert given["shifts"] == [0.25, 0.12, 0.46]
    assert given["notes"] == []


def test_a_partner_is_another_image() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        assert not (other_images(rng, 5) == torch.arange(5)).any()


def test_spatial_centring_takes_rows_and_keeps_the_mean() -> None:
    rng = torch.Generator().manual_seed(0)
    one, two = torch.randn(3, 4, 6, generator=rng), torch.randn(3, 5, 6, generator=rng)
    plain, centred = similarity(one, two, False), similarity(one, two, True)
    assert centred.mean().item() == pytest.approx(plain.mean().item(), abs=1e-6)
    torch.testing.assert_close(centred.mean(2), plain.mean().expand(3, 4))
    torch.testing.assert_close(centred - centred.mean(2, keepdim=True), plain - plain.mean(2, keepdim=True))


def test_points_between_patches_are_those_of_grid_sample() -> None:
    rng = torch.Generator().manual_seed(0)
    maps, coords = torch.randn(2, 3, 4, 5, generator=rng), torch.rand(2, 7, 2, generator=rng) * 2.4 - 1.2
    given = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
    expected = torch.nn.functional.grid_sample(maps, coords[:, None], **given)[:, :, 0].transpose(1, 2)
    sampled = bilinear_weights(coords, (4, 5)) @ maps.flatten(2).transpose(1, 2)
    torch.testing.assert_close(sampled, expected)


def test_neighbours_begin_with_the_view_itself_also_among_equal_ones() -> None:
    means = np.zeros((6, 4), np.float32)
    means[:, 0] = 1
    found = nearest(means, 4)
    np.testing.assert_array_equal(found[:, 0], np.arange(6))
    samples = np.arange(6)
    assert all((positives(found, samples, np.random.default_rng(seed)) != samples).all() for seed in range(20))
    assert positives(nearest(means[:1], 4), np.zeros(1, np.int64), np.random.default_rng(0)).tolist() == [0]


def test_neighbours_are_searched_once_for_all_seeds(
    head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in the middle, and by one of two trainings at a time; the next one waits for it."""
    made: list[int] = []
    kill = True

    def counted(means: np.ndarray, count: int) -> np.ndarray:
        if kill:
            raise Killed
        made.append(len(means))
        return nearest(means, count)

    def job(name: str, seed: int = 0, **own: Any) -> TrainJob:
        found = train_in.job(head_world, "stego", tmp_path / name, settings(**own), traits, seed)
        return replace(found, state_root=tmp_path / "state")

    monkeypatch.setattr(neighbours, "nearest", counted)
    with pytest.raises(Killed):
        stage.train(job("killed"))
    assert not list(tmp_path.rglob("neighbours.npz"))
    kill = False
    first = job("first")
    opened = open_training(first, StegoSettings.part_of(first.settings), "patchbank.methods.stego.train", None)
    given = (first.state_root, opened.views, opened.origin)
    with ThreadPoolExecutor(2) as both:
        one, two = both.map(lambda _: neighbours.stored_neighbours(*given), range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, nearest(opened.views.means(), 8))
    assert (made, one.dtype) == ([opened.views.count], np.int64)
    stage.train(first)
    assert len(made) == 1
    alone = train_in(head_world, "stego", tmp_path / "alone", settings(), traits)
    assert tensors_of(alone) == tensors_of(first.files.checkpoint)
    stage.train(job("longer", 2, steps=7, batch_size=3))  # nothing that neighbours depend on
    assert len(made) == 2
    for own in ({"centre": "none"}, {"views": "whole"}):
        stage.train(job("other", **own))
    assert len(made) == 4


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(
        UserError, match=r"views is 'six', choose five .*; lr is 0, it must be above 0; batch_size is 1"
    ):
        settings(views="six", lr=0, batch_size=1)
    with pytest.raises(UserError, match="unknown shift; known are views"):
        settings(shift=1)
