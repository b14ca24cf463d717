"""Ceilings and the floor of random clusters: labels on the patch grid, the probe against scikit-learn, whole stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from jobs import predict_job, train_job
from sklearn.linear_model import LogisticRegression

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import compute_statistics
from patchbank.config.load import default_config
from patchbank.datasets import Manifest
from patchbank.datasets.manifest import Entry
from patchbank.datasets.patches import image_patches, patch_majority
from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.left_out import CannotBeMade
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.grid_majority.settings import resolve as grid_majority_settings
from patchbank.methods.linear_probe.settings import ProbeSettings, resolve
from patchbank.methods.linear_probe.train import fit
from patchbank.methods.tools.apart import check_apart
from patchbank.predictions import PredictionReader

SHARED = {"k": [3, 70], "kmeans_seeds": [4, 5]}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_patch_majority_is_the_obvious_one(seed: int, height: int, width: int, rows: int, cols: int) -> None:
    mask = np.random.default_rng(seed).choice([0, 1, 2, 255], (height, width))
    found = patch_majority(mask, (rows, cols), 3)
    for r in range(rows):
        for c in range(cols):
            inside = [
                int(mask[y, x])
                for y in range(height)
                for x in range(width)
                if (y * rows // height, x * cols // width) == (r, c) and mask[y, x] != 255
            ]
            expected = max(sorted(set(inside)), key=inside.count) if inside else -1
            assert found[r, c] == expected


def test_the_probe_is_the_logistic_regression_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    points = (rng.standard_normal((3, 5))[labels] + rng.standard_normal((300, 5))).astype(np.float32)
    options = ProbeSettings(weight_decay=0.01, iterations=200)
    weight, bias, losses = fit(torch.from_numpy(points), torch.from_numpy(labels), 3, options)
    theirs = LogisticRegression(C=1 / (0.01 * 300), max_iter=1000, tol=1e-8).fit(points, labels)
    ours = torch.softmax(torch.from_numpy(points) @ weight.T + bias, 1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(points), atol=2e-3)
    assert losses[0] == pytest.approx(np.log(3))
    again = fit(torch.from_numpy(points), torch.from_numpy(labels), 3, options)
    assert torch.equal(again[0], weight)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ceilings")
    make_images(folder, 5)
    settings = ExtractSettings("whole", {"size": 64}, images_per_shard=8, batch_tokens=512)
    for split in ("train", "val"):
        extract_all(folder, settings, split)
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    return folder


def predicted(world: Path, out: Path, folder: str, settings: dict[str, Any], **more: Any) -> dict[str, np.ndarray]:
    given: dict[str, Any] = {"banks": {"whole": world / "val-whole.json"}, "statistics": world / "statistics.npz"}
    run_predict(predict_job(folder, out, settings=settings, **(given | more)))
    with PredictionReader(out) as reader:
        return {name: reader.labels(name, 0, len(reader.images)) for name in reader.variants}


def test_grid_majority_predicts_the_majority_under_every_number_of_clusters(world: Path, tmp_path: Path) -> None:
    settings = grid_majority_settings({}, SHARED)
    found = predicted(world, tmp_path / "p.h5", "grid_majority", settings, manifest=world / "manifest.json")
    assert set(found) == {"k3-s4", "k70-s4"}
    np.testing.assert_array_equal(found["k3-s4"], found["k70-s4"])
    manifest = Manifest.load(world / "manifest.json")
    images = open_bank(world / "val-whole.json").images
    entries = {entry.id: entry for entry in manifest.entries("val")}
    for image, labels in zip(images, found["k3-s4"], strict=True):
        np.testing.assert_array_equal(labels, image_patches(manifest, entries[image], (4, 4)))


def test_random_clusters_are_random_and_repeat(world: Path, tmp_path: Path) -> None:
    found = predicted(world, tmp_path / "p.h5", "random_clusters", SHARED)
    again = predicted(world, tmp_path / "q.h5", "random_clusters", SHARED)
    assert set(found) == {"k3-s4", "k3-s5", "k70-s4", "k70-s5"}
    for name, labels in found.items():
        np.testing.assert_array_equal(labels, again[name])
    assert (found["k3-s4"] != found["k3-s5"]).any()
    assert np.bincount(found["k3-s4"].ravel()).min() > 10
    assert len(np.unique(found["k70-s4"])) > 30


def trained(world: Path, folder: Path, manifest: Path, **own: Any) -> dict[str, Any]:
    settings = resolve(own, SHARED)
    given = {"banks": {"whole": world / "whole.json"}, "statistics": world / "statistics.npz", "manifest": manifest}
    run_train(train_job("linear_probe", folder, settings=settings, **given))
    return settings


def test_the_probe_learns_the_labels_of_the_train_split(world: Path, tmp_path: Path) -> None:
    settings = trained(world, tmp_path, world / "manifest.json", weight_decay=1e-6, iterations=300)
    # on the images it was fitted on it knows the labels, because there are more channels than tokens
    found = predicted(
        world,
        tmp_path / "p.h5",
        "linear_probe",
        settings,
        checkpoint=tmp_path / "checkpoint.safetensors",
        banks={"whole": world / "whole.json"},
        manifest=world / "manifest.json",
    )
    manifest = Manifest.load(world / "manifest.json")
    entries = {entry.id: entry for entry in manifest.entries("train")}
    for image, labels in zip(open_bank(world / "whole.json").images, found["k3-s4"], strict=True):
        np.testing.assert_array_equal(labels, image_patches(manifest, entries[image], (4, 4)))
    np.testing.assert_array_equal(found["k3-s4"], found["k70-s4"])


def test_a_set_without_labels_is_one_clear_error(world: Path, tmp_path: Path) -> None:
    content = read_json(world / "manifest.json")
    for entry in content["splits"]["train"]:
        entry["mask"] = None
    write_json(tmp_path / "manifest.json", content)
    with pytest.raises(UserError, match="label some of its images, or leave the row out"):
        trained(world, tmp_path, tmp_path / "manifest.json")


def test_no_ceiling_learns_the_labels_that_it_is_scored_by(world: Path, tmp_path: Path) -> None:
    """One rule for those that learn: no picture in both splits, and of copies no more than one in a hundred."""
    content = read_json(world / "manifest.json")
    listed = {**content, "splits": {**content["splits"], "val": content["splits"]["train"]}}
    copied = {**content, "copies": [content["splits"]["val"][0]["id"]]}
    whole = {"whole": world / "whole.json"}
    for name, values, count in (("listed", listed, 5), ("copied", copied, 1)):
        write_json(tmp_path / f"{name}.json", values)
        said = (
            rf"{count} of 5 scored images are images of split 'train' of toy, too, and .*; give the set a train split"
        )
        for row in ("linear-probe", "incontext-knn-m10240-b0.02"):
            method = default_config().floor("demo", row)
            job = train_job(
                method.folder,
                tmp_path,
                settings=method.settings,
                banks=whole,
                statistics=world / "statistics.npz",
                manifest=tmp_path / f"{name}.json",
            )
            with pytest.raises(CannotBeMade, match=said):
                run_train(job)
    many = replace(Manifest.load(tmp_path / "copied.json"), splits={"train": (), "val": (ENTRY,) * 100})
    check_apart(many, "nothing")
    with pytest.raises(CannotBeMade, match="1 of 99 scored images"):
        check_apart(replace(many, splits={"train": (), "val": (ENTRY,) * 99}), "nothing")


ENTRY = Entry("0" * 16, "a.png", "b.png", None, 8, 8)
