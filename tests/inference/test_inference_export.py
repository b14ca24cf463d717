"""ONNX export against torch, and published checkpoints through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import TINY
from PIL import Image
from safetensors.torch import save_file

from patchbank.bank.centring import Centring
from patchbank.cli import main
from patchbank.files import sha256_file
from patchbank.inference import onnx_model
from patchbank.inference.encoder import load_encoder, load_model
from patchbank.inference.naming import own_segments
from patchbank.inference.segmenter import Segmenter
from patchbank.methods.alignseg.head import load_head, save_head
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.published import write_reference
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.weights.model import build_model

DIM = 192


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    torch.manual_seed(0)
    save_file(build_model(TINY.model).state_dict(), path)
    return path


def make_head(folder: Path, weights: Path, centre: str = "standardise", pos_embed: str = "timm", **more: Any) -> Path:
    """A head with random weights and centring for the tiny encoder."""
    settings = AlignSegSettings(queries=4, heads=2, hidden=16, centre=centre, **more)
    random = torch.Generator().manual_seed(0)
    mean = torch.randn(DIM, generator=random, dtype=torch.float64)
    std = torch.rand(DIM, generator=random, dtype=torch.float64) + 0.5
    kept = {"none": (), "mean": (mean,), "standardise": (mean, std)}[centre]
    backbone = {"name": "tiny", "model": TINY.model, "block": 1, "norm": False, "pos_embed": pos_embed}
    backbone |= {"mean": list(TINY.mean), "std": list(TINY.std), "sha256": sha256_file(weights)}
    path = folder / "head.safetensors"
    metric = None
    if settings.metric != "none":
        metric = torch.randn(DIM, settings.metric_dims, generator=random)
    record = {"backbone": backbone, "oracle": "val"}
    save_head(path, QueryDecoder(DIM, settings), settings, Centring(*kept), record, metric)
    return path


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "centre", "pos_embed", "more"),
    [
        ("uint8", "standardise", "timm", {"layers": 2}),
        ("float32", "none", "dino", {"refine": 1, "metric": "discriminant", "metric_dims": 5, "merge_above": 0.2}),
    ],
)
def test_onnx_computes_what_segmenting_a_picture_computes(
    tmp_path: Path, weights: Path, kind: str, centre: str, pos_embed: str, more: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import onnxruntime

    head = make_head(tmp_path, weights, centre, pos_embed, **more)
    out = tmp_path / "model.onnx"
    models = ["--checkpoint", str(head), "--weights", str(weights), "--input", kind]
    assert main(["export", "onnx", *models, "--out", str(out), "--size", "90"]) == 0
    assert f"image (N, 3, 96, 96) {kind} -> scores (N, Q, 6, 6)" in capsys.readouterr().out
    if kind == "uint8":  # the same again goes through, another model does not write over it
        assert main(["export", "onnx", *models, "--out", str(out), "--size", "90"]) == 0
        assert main(["export", "onnx", *models, "--out", str(out), "--size", "64"]) == 1
        assert "model.onnx is there already (an ONNX model)" in capsys.readouterr().err
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".onnx", ".safetensors"]
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert (said["size"], said["oracle"]) == ("96", "val")
    random = np.random.default_rng(3)
    images = [Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8)) for _ in range(3)]
    batch = np.stack([np.asarray(image).transpose(2, 0, 1) for image in images])
    batch = batch if kind == "uint8" else batch.astype(np.float32) / 255
    found = session.run(["scores"], {"image": batch})[0]
    model = load_model(head)
    segmenter = Segmenter(load_encoder(model, head, weights=weights, device="cpu"), model, own_segments(4), size=96)
    for image, scores in zip(images, found, strict=True):
        np.testing.assert_allclose(scores, segmenter([image])[0].scores, atol=2e-3)  # tokens there are float16


def test_an_export_that_differs_leaves_no_file(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = make_head(tmp_path, weights)
    arguments = ["export", "onnx", "--checkpoint", str(head), "--weights", str(weights), "--size", "32"]
    arguments += ["--out", str(tmp_path / "new" / "m.onnx")]
    monkeypatch.setattr(onnx_model, "torch_scores", lambda vit, model, images: torch.ones(len(images), 4, 2, 2))
    assert main(arguments) == 1
    assert "onnxruntime differs from torch by" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(onnx_model, "find_spec", lambda name: None if name == "onnxscript" else object())
    assert main(arguments) == 1
    assert "needs onnxscript; install them with `pip install 'patchbank[onnx]'`" in capsys.readouterr().err
    monkeypatch.undo()
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--size", "0"])
    assert "argument --size: '0' is no whole number above 0" in capsys.readouterr().err


def test_published_checkpoints_through_the_command_line(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = AlignSegSettings(queries=4, heads=2, hidden=16, layers=2, decoder="reference", centre="none")
    model = QueryDecoder(DIM, settings)
    published, ours, again = (str(tmp_path / name) for name in ("p.pth", "ours.safetensors", "again.pth"))
    write_reference(published, model.state_dict(), epoch=10)
    assert main(["import", "alignseg", published, "--heads", "2", "--out", ours]) == 0
    head = load_head(ours)
    assert (head.settings.queries, head.settings.decoder, head.settings.heads) == (4, "reference", 2)
    assert main(["export", "alignseg", ours, "--out", again]) == 0
    before, after = (torch.load(path, weights_only=True)["state_dict"] for path in (published, again))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert main(["import", "alignseg", published, "--heads", "5", "--out", ours]) == 1
    assert "heads is 5, which does not divide" in capsys.readouterr().err
    centred = make_head(tmp_path, weights, "mean")
    assert main(["export", "alignseg", str(centred), "--out", again]) == 1
    assert "centres its tokens" in capsys.readouterr().err
