"""In-context k-NN: the memory and its search against slow ones, and both stages on small banks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import predict_job, train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.config.load import default_config
from patchbank.datasets import Manifest
from patchbank.datasets.patches import image_pixels, patch_pixels
from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.left_out import CannotBeMade
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.incontext_knn import predict as stage
from patchbank.methods.incontext_knn.memory import attend, blocks, diverse, nearest, shares, unit
from patchbank.methods.incontext_knn.settings import resolve
from patchbank.predictions import PredictionReader

SHARED = {"k": [3, 70], "kmeans_seeds": [4, 5]}
Arrays = dict[str, np.ndarray]


def slow_probabilities(
    queries: np.ndarray, tokens: np.ndarray, values: np.ndarray, neighbours: int, beta: float
) -> np.ndarray:
    """The protocol in float64, a query at a time, all keys sorted."""
    keys = tokens.astype(np.float64)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    probabilities = []
    for query in queries.astype(np.float64):
        cosines = keys @ query / np.linalg.norm(query)
        chosen = np.argsort(-cosines, kind="stable")[:neighbours]
        weights = np.exp(cosines[chosen] / beta)
        probabilities.append(weights @ values[chosen] / weights.sum())
    return np.array(probabilities)


def test_pixels_of_a_patch_by_hand() -> None:
    mask = np.array([[0, 0, 1], [0, 255, 1], [255, 255, 2]])
    # rows 0 and 1 of 3 lie in patch row 0 of 2, columns likewise
    assert patch_pixels(mask, (2, 2), 3).tolist() == [[[3, 0, 0], [0, 2, 0]], [[0, 0, 0], [0, 0, 1]]]


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 30), st.integers(1, 40), st.sampled_from([0.02, 0.07])
)
def test_search_and_attention_are_the_slow_ones(seed: int, keys: int, size: int, neighbours: int, beta: float) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((keys, 6)).astype(np.float16)
    values = rng.dirichlet(np.ones(4), keys).astype(np.float32)
    queries = rng.standard_normal((9, 6)).astype(np.float32)
    cosines, index = nearest(unit(queries), blocks(tokens, size), neighbours)
    assert cosines.shape == index.shape == (9, min(keys, neighbours))
    assert (np.diff(cosines, axis=1) <= 0).all()
    np.testing.assert_allclose(cosines, np.einsum("nd,nkd->nk", unit(queries), unit(tokens)[index]), atol=1e-5)
    ours = attend(cosines, values[index], beta)
    np.testing.assert_allclose(ours, slow_probabilities(queries, tokens, values, neighbours, beta), atol=2e-4)
    np.testing.assert_allclose(ours.sum(1), 1, atol=1e-5)


def test_attention_by_hand_and_tokens_of_no_length() -> None:
    values = np.array([[[1, 0], [0, 1]]], np.float32)
    weight = 1 / (1 + np.exp(-0.1 / 0.02))
    np.testing.assert_allclose(
        attend(np.array([[0.9, 0.8]], np.float32), values, 0.02), [[weight, 1 - weight]], atol=1e-6
    )
    assert unit(np.array([[3, 4], [0, 0]], np.float16)).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]


@given(st.integers(1, 30), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_images_share_a_memory_evenly(images: int, memory: int, seed: int) -> None:
    counts = shares(images, memory, np.random.default_rng(seed).permutation(images))
    assert counts.sum() == memory
    assert counts.max() - counts.min() <= 1


def test_rare_classes_are_kept_first_and_unlabelled_patches_never() -> None:
    pixels = np.zeros((100, 3), np.int64)
    pixels[:89, 0] = 5
    pixels[89, 1] = 5  # the one patch of class 1, and no luck makes another's score lower but 1 of 89
    pixels[90:95] = [1, 1, 0]  # of two classes: its score adds both
    kept = [diverse(pixels, 10, np.random.default_rng(seed)) for seed in range(40)]
    assert all(len(set(patches)) == 10 and (np.diff(patches) > 0).all() and patches.max() < 95 for patches in kept)
    assert np.mean([89 in patches for patches in kept]) == 1
    assert diverse(pixels, 1000, np.random.default_rng(0)).tolist() == list(range(95))
    assert diverse(np.zeros((4, 3), np.int64), 2, np.random.default_rng(0)).tolist() == []
    np.testing.assert_array_equal(diverse(pixels, 10, np.random.default_rng(3)), kept[3])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Banks of both splits, 5 images of 16 patches each, 3 classes."""
    folder = tmp_path_factory.mktemp("incontext")
    make_images(folder, 5)
    extraction = ExtractSettings("whole", {"size": 64}, images_per_shard=8, batch_tokens=512)
    for split in ("train", "val"):
        extract_all(folder, extraction, split)
    return folder


def trained(world: Path, out: Path, manifest: str = "manifest.json", **own: Any) -> dict[str, Any]:
    resolved = resolve(own, SHARED)
    labels = {"manifest": world / manifest}
    run_train(train_job("incontext_knn", out, settings=resolved, banks={"whole": world / "whole.json"}, **labels))
    return resolved


def predicted(world: Path, out: Path, resolved: dict[str, Any]) -> tuple[Arrays, Arrays, str]:
    """Labels, and scores where there are some, of every variant, and the rule to pixels."""
    given = {"checkpoint": out / "checkpoint.safetensors", "banks": {"whole": world / "val-whole.json"}}
    run_predict(predict_job("incontext_knn", out / "val.h5", settings=resolved, **given))
    with PredictionReader(out / "val.h5") as reader:
        images = len(reader.images)
        labels = {name: reader.labels(name, 0, images) for name in reader.variants}
        scores = {name: reader.scores(name, 0, images) for name in reader.variants}
        return labels, {name: part for name, part in scores.items() if part is not None}, reader.record.upsample


def all_tokens(world: Path, name: str) -> np.ndarray:
    bank = open_bank(world / name)
    return np.asarray(bank.read(np.arange(len(bank)), ("tokens",))["tokens"]).reshape(-1, bank.dim)


def test_stages_are_the_slow_protocol(world: Path, tmp_path: Path) -> None:
    resolved = trained(world, tmp_path, memory=0, neighbours=7, beta=0.07)
    labels, scores, upsample = predicted(world, tmp_path, resolved)
    manifest, bank = Manifest.load(world / "manifest.json"), open_bank(world / "whole.json")
    entries = {entry.id: entry for entry in manifest.entries("train")}
    pixels = np.concatenate([image_pixels(manifest, entries[i], bank.grid).reshape(-1, 3) for i in bank.images])
    tokens = all_tokens(world, "whole.json").astype(np.float32)
    values = pixels / pixels.sum(1, keepdims=True)
    expected = slow_probabilities(all_tokens(world, "val-whole.json").astype(np.float32), tokens, values, 7, 0.07)
    assert upsample == "bilinear"
    relative = (expected - expected.max(1, keepdims=True)).reshape(5, 16, 3).transpose(0, 2, 1).reshape(5, 3, 4, 4)
    np.testing.assert_allclose(scores["k3-s4"], relative, atol=1e-3)
    assert set(labels) == {"k3-s4", "k70-s4"}
    assert set(scores) == {"k3-s4"}
    clear = np.sort(relative, 1)[:, -2] < -2e-3
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(labels["k70-s4"][clear], relative.argmax(1)[clear])


def test_blocks_of_the_memory_change_nothing(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = trained(world, tmp_path, memory=0, neighbours=9)
    _, whole, _ = predicted(world, tmp_path, resolved)
    monkeypatch.setattr(stage, "BLOCK", 11)
    monkeypatch.setattr(stage, "blocks", lambda tokens: blocks(tokens, 11))
    monkeypatch.setattr(stage, "QUERIES", 32)
    _, parts, _ = predicted(world, tmp_path, resolved)
    np.testing.assert_allclose(parts["k3-s4"], whole["k3-s4"], atol=1e-3)


def test_a_small_memory_is_spread_over_the_images_and_repeats(world: Path, tmp_path: Path) -> None:
    trained(world, tmp_path / "a", memory=12)
    trained(world, tmp_path / "b", memory=12)
    (one, record), (other, _) = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in "ab")
    assert one["tokens"].shape == (12, 192)
    assert one["tokens"].dtype == torch.float16
    assert torch.equal(one["tokens"], other["tokens"])
    np.testing.assert_allclose(one["shares"].sum(1), 1, rtol=1e-6)
    log = (tmp_path / "a" / "steps.csv").read_text().splitlines()
    assert (log[0], len(log)) == ("image,patches", 6)
    assert sorted(int(line.split(",")[1]) for line in log[1:]) == [2, 2, 2, 3, 3]
    assert record["patches"] == 12
    stored = {row.tobytes() for row in all_tokens(world, "whole.json")}
    assert all(row.tobytes() in stored for row in one["tokens"].numpy())


def test_images_without_a_mask_take_no_part_of_the_memory(world: Path, tmp_path: Path) -> None:
    content = read_json(world / "manifest.json")
    for entry in content["splits"]["train"][1:4]:
        entry["mask"] = None
    write_json(world / "two.json", content)
    trained(world, tmp_path, "two.json", memory=12)
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1]["notes"] == []
    counts = [int(line.split(",")[1]) for line in (tmp_path / "steps.csv").read_text().splitlines()[1:]]
    assert counts == [6, 0, 0, 0, 6]
    trained(world, tmp_path, "two.json", memory=1000)
    record = load_checkpoint(tmp_path / "checkpoint.safetensors")[1]
    held = record["patches"]
    assert held <= 32
    assert record["notes"] == [
        f"the memory holds {held} labelled patches of 2 images with a mask, of 1,000 that were asked for"
    ]


def test_a_picture_is_never_looked_up_in_itself(world: Path, tmp_path: Path) -> None:
    content = read_json(world / "manifest.json")
    content["splits"]["val"][:2] = content["splits"]["train"][:2]
    write_json(world / "same.json", content)
    with pytest.raises(CannotBeMade, match="2 of 5 scored images are images of split 'train' of toy, too"):
        trained(world, tmp_path, "same.json")


def test_a_memory_that_does_not_fit_is_refused_before_it_is_made(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 patches of 192 halves and 3 shares, twice: 63,360 bytes."""
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 33, "SC_PAGE_SIZE": 960}.__getitem__)
    with pytest.raises(CannotBeMade, match=r"80 patches take 0\.0 GB .* set the row's `memory` to 40 or less"):
        trained(world, tmp_path, memory=0)
    trained(world, tmp_path, memory=40)


def test_of_many_classes_labels_are_upsampled_before_they_are_stored(world: Path, tmp_path: Path) -> None:
    content = read_json(world / "manifest.json")
    content["classes"] = [f"class {i}" for i in range(80)]
    write_json(world / "many.json", content)
    resolved = trained(world, tmp_path, "many.json", memory=0)
    labels, scores, upsample = predicted(world, tmp_path, resolved)
    assert (list(labels), scores, upsample) == (["k80-s4"], {}, "nearest")
    assert labels["k80-s4"].shape == (5, 64, 64)
    few = trained(world, tmp_path / "few", memory=0)
    _, scores, _ = predicted(world, tmp_path / "few", few)
    large = torch.nn.functional.interpolate(torch.from_numpy(scores["k3-s4"]), (64, 64), mode="bilinear")
    best = large.topk(2, dim=1).values
    clear = (best[:, 0] - best[:, 1] > 2e-3).numpy()
    np.testing.assert_array_equal(labels["k80-s4"][clear], large.argmax(1).numpy()[clear])


def test_what_cannot_be_is_one_sentence(world: Path, tmp_path: Path) -> None:
    for own, said in (
        ({"memory": -1}, "memory is -1; it has to be a whole number of at least 0"),
        ({"neighbours": 2.5}, "neighbours is 2.5; it has to be a whole number of at least 1"),
        ({"beta": 0}, "beta is 0; it has to be a number above 0"),
        ({"temperature": 1}, "unknown temperature; known are memory, neighbours, beta"),
    ):
        with pytest.raises(UserError, match=said):
            resolve(own, SHARED)
    content = read_json(world / "manifest.json")
    for entry in content["splits"]["train"]:
        entry["mask"] = None
    write_json(world / "bare.json", content)
    with pytest.raises(CannotBeMade, match="looks labels up; label some of its images, or leave the row out"):
        trained(world, tmp_path, "bare.json")
    resolved = trained(world, tmp_path)
    tensors, record = load_checkpoint(tmp_path / "checkpoint.safetensors")
    save_checkpoint(tmp_path / "checkpoint.safetensors", tensors, {**record, "backbone": {"block": 7}})
    with pytest.raises(UserError, match="block 1 instead of 7"):
        predicted(world, tmp_path, resolved)


def test_two_settings_are_two_ceilings_and_say_so_in_their_names() -> None:
    config = default_config()
    names = ["incontext-knn-m10240-b0.02", "incontext-knn-m102400-b0.07"]
    for name, memory, beta in zip(names, (10240, 102400), (0.02, 0.07), strict=True):
        row = config.method("msrc", name)
        assert (row.settings["memory"], row.settings["beta"], row.settings["neighbours"]) == (memory, beta, 30)
        assert (row.traits.ceiling, row.traits.oracle, row.seeds) == (True, "train", (0,))
    with pytest.raises(UserError, match="neither a method nor a floor or ceiling"):
        config.method("msrc", "incontext-knn")
