"""What every method's folder has to do, found and not listed: a new one is tested on its first day."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all
from example_method import write_example
from jobs import predict_job, train_job
from transfgu_world import make_world

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint
from patchbank.config.load import default_config
from patchbank.errors import UserError
from patchbank.methods import contract, shape
from patchbank.methods.contract import Method, run_predict, run_train
from patchbank.predictions import PredictionReader, check_origin

ROOT = Path(__file__).parents[2]
SHARED: dict[str, Any] = {
    "k": [3],
    "kmeans_seeds": [0, 1],
    "centre": "mean",
    "projection": {"pca": 0, "whiten": False, "normalise": False},
    "kmeans": {"niter": 5, "nredo": 1},
    "recipes": default_config().of("msrc")["recipes"],
}
MODULES = {
    "settings": "Configured",
    "train": "Trainable",
    "predict": "Predictor",
    "infer": "Inferable",
    "pictures": "Pictured",
    "published": "Published",
}
ROWS = sorted(contract.rows())


def offers_function(folder: str, name: str) -> bool:
    """Whether `infer.py` of a method defines a function of that name."""
    path = Path(contract.__file__).parent / folder / "infer.py"
    return path.exists() and f"\ndef {name}(" in path.read_text(encoding="utf-8")


UNTRAINED = [folder for folder in contract.method_folders() if offers_function(folder, "make")]
WITHOUT_PICTURES = ("grid_majority", "random_clusters")
"""Folders whose rows say nothing of a new picture."""
SHORT = {"epochs": 2, "steps": 6, "search_steps": 4}
"""Lengths of the trainings, by the names that settings give them."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Banks of every recipe that a method reads: of the train split, and those of val as ``val-<recipe>``."""
    folder = tmp_path_factory.mktemp("methods")
    found = make_world(folder)
    crops = ExtractSettings("multicrop", {"size": 64, "draws": 2}, images_per_shard=4, batch_tokens=256)
    return {**found, "multicrop": extract_all(folder, crops), "val-whole": found["val"]}


def row_of(name: str, **own: Any) -> Method:
    """The row with its defaults, short where it counts epochs or steps."""
    traits = contract.rows()[name].traits
    row = contract.row_named(f"{name}-3" if traits.at_counts else name)
    made = contract.resolve(name, contract.Row(row.folder, row.traits, {**row.entry, **own}, row.at), SHARED, [0])
    long = {key: value for key, value in SHORT.items() if made.settings.get(key, 0) > value}
    return row_of(name, **long) if long else made


def given(world: dict[str, Path], method: Method, recipes: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    labels = world["folder"] / "manifest.json" if method.traits.oracle else None
    banks = {recipe: world[prefix + recipe] for recipe in recipes}
    return {"banks": banks, "statistics": world["statistics"], "settings": method.settings, "manifest": labels}


@pytest.mark.parametrize("name", ROWS)
def test_settings_are_strict_and_plain(name: str) -> None:
    method = row_of(name)
    assert json.loads(json.dumps(method.settings)) == method.settings
    with pytest.raises(UserError, match="nonsense"):
        row_of(name, nonsense=1)
    assert method.traits.trained == contract.offers(method.folder, "train")
    assert bool(contract.traits(method.folder).pictures) == contract.offers(method.folder, "pictures")


@pytest.mark.parametrize("name", ROWS)
def test_from_banks_to_predictions(name: str, world: dict[str, Path], tmp_path: Path) -> None:
    method = row_of(name)
    common, checkpoint = given(world, method, method.traits.reads, "val-"), None
    if method.traits.trained:
        checkpoint = tmp_path / "a" / "checkpoint.safetensors"
        for place in ("a", "b"):
            run_train(train_job(method.folder, tmp_path / place, **given(world, method, method.traits.recipes)))
        tensors, record = load_checkpoint(checkpoint)
        again = load_checkpoint(tmp_path / "b" / "checkpoint.safetensors")[0]
        assert tensors.keys() == again.keys()
        assert all(torch.equal(tensor, again[key]) for key, tensor in tensors.items())
        assert (record["method"], record["seed"]) == (method.folder, 0)
        assert json.loads(json.dumps(record["settings"])) == method.settings
        assert record["threads"] == 1
        assert record.get("oracle") == method.traits.oracle
        with pytest.raises(UserError, match="name its checkpoint"):
            run_predict(predict_job(method.folder, tmp_path / "no.h5", **common))
    run_predict(predict_job(method.folder, tmp_path / "val.h5", checkpoint=checkpoint, **common))
    with PredictionReader(tmp_path / "val.h5") as reader:
        wanted = {"method": "mine", "kind": method.traits.kind, "seed": 0, "settings": method.settings}
        check_origin("val.h5", reader.record, wanted)
        assert reader.images == open_bank(next(iter(common["banks"].values()))).images
        assert (set(reader.variants) == {"segments"}) == (method.traits.kind == "segments")
        if checkpoint and contract.offers(method.folder, "infer"):
            model = contract.load_model(method.folder, checkpoint)
            same = same_alone if isinstance(model, shape.PictureModel) else same_on_pictures
            same(model, reader, world["val-whole"])
        if checkpoint is None:
            record = {"method": method.folder, "settings": method.settings, "seed": 0, "backbone": None}
            if method.folder in WITHOUT_PICTURES:
                with pytest.raises(UserError, match="name another row"):
                    contract.make_model(record, world["statistics"])
            else:
                same_alone(contract.make_model(record, world["statistics"]), reader, world["val-whole"])
                without_statistics(record, world["val-whole"])


def same_alone(model: shape.PictureModel, reader: PredictionReader, whole: Path) -> None:
    """The same of a model of single pictures."""
    bank = open_bank(whole)
    for row, image in enumerate(bank.images):
        tokens = torch.from_numpy(bank.read([row], ("tokens",))["tokens"][0, 0])
        seen = shape.Seen(image, bank.grid, tokens)
        stored = reader.labels(next(iter(reader.variants)), row, row + 1).ravel()
        scores = model.scores_of(seen)
        np.testing.assert_array_equal(scores.argmax(0).numpy(), stored)
        assert (tuple(scores.shape), scores.dtype) == ((model.segments, len(tokens)), torch.float32)


def without_statistics(record: dict[str, Any], whole: Path) -> None:
    """A method that learned nothing works on a picture that belongs to no set."""
    bank, model = open_bank(whole), contract.make_model(record, None)
    tokens = torch.from_numpy(bank.read([0], ("tokens",))["tokens"][0, 0])
    scores = model.scores_of(shape.Seen(bank.images[0], bank.grid, tokens))
    assert (tuple(scores.shape), scores.dtype) == ((model.segments, len(tokens)), torch.float32)


def same_on_pictures(model: shape.TokenModel, reader: PredictionReader, whole: Path) -> None:
    """The model gives the pipeline's segments for tokens that come from no bank, by both ways."""
    bank = open_bank(whole)
    tokens = torch.from_numpy(bank.read(np.arange(len(bank)), ("tokens",))["tokens"][:, 0])
    assert (model.dim, model.segments) == (bank.dim, next(iter(reader.variants.values())))
    stored = reader.labels(next(iter(reader.variants)), 0, len(bank)).reshape(len(bank), -1)
    np.testing.assert_array_equal(model.scores(tokens).argmax(1).numpy(), stored)
    assert (model(tokens.float()).argmax(1).numpy() == stored).mean() > 0.98


@pytest.mark.parametrize("name", ROWS)
def test_labels_are_asked_for_in_one_sentence(name: str, world: dict[str, Path], tmp_path: Path) -> None:
    method = row_of(name)
    if method.traits.oracle is None:
        return
    recipes = method.traits.recipes if method.traits.trained else method.traits.reads
    without = {**given(world, method, recipes), "manifest": None}
    with pytest.raises(UserError, match="reads labels; name the manifest"):
        if method.traits.trained:
            run_train(train_job(method.folder, tmp_path, **without))
        else:
            run_predict(predict_job(method.folder, tmp_path / "p.h5", **without))


def checked_by_mypy(folder: Path, modules: list[tuple[str, str]]) -> str:
    """What mypy says of modules as values of the protocols."""
    lines = ["from patchbank.methods import shape", *(f"import {module}" for module, _ in modules)]
    lines += [f"_{i}: shape.{protocol} = {module}" for i, (module, protocol) in enumerate(modules)]
    (folder / "registry.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(folder / "registry.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.exhaustive
def test_mypy_sees_that_every_module_fits_and_one_that_does_not(tmp_path: Path) -> None:
    """All modules of all folders; then a `predict` with the keyword arguments of old."""
    found = [
        (f"patchbank.methods.{folder}.{module}", protocol)
        for folder in contract.method_folders()
        for module, protocol in MODULES.items()
        if contract.offers(folder, module) and (module != "infer" or offers_function(folder, "load"))
    ]
    found += [(f"patchbank.methods.{folder}.infer", "Untrained") for folder in UNTRAINED]
    assert "Success" in checked_by_mypy(tmp_path, found)
    said = checked_by_mypy(tmp_path, [("patchbank.methods.kmeans.predict", "Trainable")])
    assert "incompatible type" in said or "Incompatible types in assignment" in said


def test_the_example_of_the_page_is_a_method(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    folder = write_example(tmp_path)
    assert {path.stem for path in folder.iterdir()} == {"__init__", *MODULES} - {"pictures"}
