"""Every stage that knows a CUDA device, from files to files, against the same stage on the CPU."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from bank_factory import TINY, extract_all, make_images
from jobs import predict_job, train_job
from numpy.typing import NDArray
from PIL import Image

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import compute_statistics
from patchbank.checkpoints.store import load_checkpoint
from patchbank.cli import main
from patchbank.methods.alignseg import settings as alignseg_settings
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.transfgu import model as transfgu_model
from patchbank.methods.transfgu import settings as transfgu_settings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PLACES = ("cpu", "cuda")
BANKS = {
    "whole": ExtractSettings("whole", {"size": 64}, dtype="float32"),
    "multicrop": ExtractSettings("multicrop", {"size": 64, "draws": 2}, dtype="float32", batch_tokens=256),
    "windows": ExtractSettings("windows", {"size": 48, "scales": [0.6, 0.4], "window": 32, "select": "all"}),
    "lastblock": ExtractSettings("lastblock", {"size": 64}, dtype="float32"),
    "augmented": ExtractSettings("augmented", {"size": 64, "draws": 2}, dtype="float32"),
}
SHORT = {"heads": 3, "epochs": 4, "batch_size": 4, "lr": 1e-3, "teacher_start": 1, "niter": 5}
TOKENS = {**SHORT, "pseudo_label": "token_similarity", "pca": 8, "segments": 4}
HEAD = {"queries": 3, "heads": 2, "hidden": 16, "epochs": 4, "batch_size": 4}
CROPS = {"size": 64, "local_crops": 2, "global_scale": [0.5, 1.0], "local_scale": [0.05, 0.25], "augment": False}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "alignseg": (alignseg_settings, HEAD),
    "crops of tokens": (alignseg_settings, {**HEAD, "tokens_from": "whole"}),
    "transfgu": (transfgu_settings, SHORT),
    "tokens": (transfgu_settings, TOKENS),
    "maps": (transfgu_settings, {"niter": 5, "stage": "pseudo_labels"}),
}


def on(place: str, patch: pytest.MonkeyPatch) -> None:
    """Hide the CUDA device from code that looks for one."""
    if place == "cpu":
        patch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Banks of the same pictures and weights, made on both devices."""
    found: dict[str, dict[str, Path]] = {}
    for place in PLACES:
        folder = tmp_path_factory.mktemp(place)
        make_images(folder, 9)
        with pytest.MonkeyPatch.context() as patch:
            on(place, patch)
            banks = {name: extract_all(folder, settings) for name, settings in BANKS.items()}
            banks["val"] = extract_all(folder, BANKS["whole"], "val")
            banks["val-lastblock"] = extract_all(folder, BANKS["lastblock"], "val")
        compute_statistics(banks["whole"], folder / "statistics.npz")
        found[place] = {**banks, "folder": folder, "statistics": folder / "statistics.npz"}
    return found


def assert_close(found: NDArray[Any], expected: NDArray[Any], share: float) -> None:
    """Differences are at most that share of the largest value."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * float(np.abs(expected).max()))


@pytest.mark.parametrize("recipe", [*BANKS, "val", "val-lastblock"])
def test_a_bank_of_the_gpu_is_one_of_the_cpu(worlds: dict[str, dict[str, Path]], recipe: str) -> None:
    expected, found = (open_bank(worlds[place][recipe]) for place in PLACES)
    assert found.images == expected.images
    rows = np.arange(len(expected))
    fields = tuple(expected.fields)
    one, other = expected.read(rows, fields), found.read(rows, fields)
    for name in fields:
        if one[name].dtype.kind == "f" and name != "boxes":
            assert_close(other[name].astype(np.float64), one[name].astype(np.float64), 1e-4)
        else:
            np.testing.assert_array_equal(other[name], one[name])


def test_float32_means_float32(worlds: dict[str, dict[str, Path]]) -> None:
    """No TensorFloat-32: neither in the patch embedding's convolution nor in the products."""
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weights = worlds["cpu"]["folder"] / "weights.safetensors"
    expected, found = (FrozenViT(TINY, weights, place)(inputs).tokens.cpu() for place in PLACES)
    assert_close(found.numpy(), expected.numpy(), 1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_near_float32(worlds: dict[str, dict[str, Path]], precision: Any) -> None:
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weights = worlds["cpu"]["folder"] / "weights.safetensors"
    expected = FrozenViT(TINY, weights, "cpu")(inputs).tokens
    found = FrozenViT(TINY, weights, "cuda", precision)(inputs).tokens.cpu()
    error = torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)
    assert 0 < error < (0.03 if precision == "bfloat16" else 0.004)


def run(banks: dict[str, Path], case: str, out: Path) -> tuple[list[float], dict[str, torch.Tensor], dict[str, Any]]:
    """Train and predict; losses of every step, tensors of the checkpoint, arrays of the prediction."""
    settings, own = CASES[case]
    folder = settings.__name__.split(".")[-2]
    resolved = settings.resolve(own, {"k": [3], "recipes": {"multicrop": CROPS}})
    recipes = settings.recipes(resolved)
    reads = ("lastblock",) if case == "maps" else ("whole",)
    shared = {"statistics": banks["statistics"], "settings": resolved}
    job = train_job(folder, out, banks={name: banks[name] for name in recipes}, **shared)
    run_train(job)
    val = {name: banks["val" if name == "whole" else f"val-{name}"] for name in reads}
    run_predict(predict_job(folder, out / "val.h5", banks=val, checkpoint=job.files.checkpoint, **shared))
    with job.files.steps_csv.open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    arrays: dict[str, Any] = {}
    with h5py.File(out / "val.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return losses, load_checkpoint(job.files.checkpoint)[0], arrays


@pytest.mark.parametrize("case", CASES)
def test_training_and_prediction_agree(
    worlds: dict[str, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """From the CPU's banks and without dropout, whose random numbers differ: all that is left is the arithmetic."""
    monkeypatch.setattr(transfgu_model, "DROPOUT", 0.0)
    found = run(worlds["cpu"], case, tmp_path / "cuda")
    on("cpu", monkeypatch)
    expected = run(worlds["cpu"], case, tmp_path / "cpu")
    assert found[0] == pytest.approx(expected[0], rel=2e-3)
    assert set(found[1]) == set(expected[1])
    scores = [name for name, array in expected[2].items() if array.dtype.kind == "f" and array.ndim == 4]
    assert scores
    for name in scores:
        assert_close(found[2][name].astype(np.float64), expected[2][name].astype(np.float64), 0.02)


def test_a_run_on_the_gpu_can_be_repeated(worlds: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    one, other = (run(worlds["cuda"], "tokens", tmp_path / name) for name in ("one", "other"))
    assert other[0] == pytest.approx(one[0], rel=1e-3)


def test_segment_on_the_gpu_is_segment_on_the_cpu(worlds: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    banks = worlds["cpu"]
    run(banks, "alignseg", tmp_path / "run")
    command = ["segment", str(banks["folder"] / "data" / "images" / "val"), "--size", "64", "--threads", "1"]
    command += ["--checkpoint", str(tmp_path / "run" / "checkpoint.safetensors")]
    command += ["--weights", str(banks["folder"] / "weights.safetensors")]
    for place in PLACES:
        assert main([*command, "--out", str(tmp_path / place), "--device", place]) == 0
    names = sorted(path.name for path in (tmp_path / "cpu" / "labels").iterdir())
    assert len(names) == 9
    for name in names:
        expected, found = (np.asarray(Image.open(tmp_path / place / "labels" / name)) for place in PLACES)
        assert (found == expected).mean() > 0.99
