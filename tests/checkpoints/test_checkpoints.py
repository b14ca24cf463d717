from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import load_golden

from patchbank.checkpoints.dino import clean_backbone_keys
from patchbank.checkpoints.store import check_keys, load_arrays, load_checkpoint, save_arrays, save_checkpoint
from patchbank.errors import UserError
from patchbank.methods.alignseg import published as reference


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_round_trip_of_our_own(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors = {"a": base, "shared": base, "turned": base.t(), "b": torch.tensor(3.0, dtype=torch.float64)}
    record = {"method": "x", "text": "ä", "list": [1, 2.5, None]}
    path = tmp_path / "deep" / "c.safetensors"
    save_checkpoint(path, tensors, record)
    found, found_record = load_checkpoint(path)
    assert same(found, tensors)
    assert found_record == record == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    bytes_before = path.read_bytes()
    save_checkpoint(path, tensors, record)
    assert path.read_bytes() == bytes_before
    assert {p.name for p in path.parent.iterdir()} == {"c.safetensors", "c.json"}


def test_arrays_are_the_same_bytes_as_tensors(tmp_path: Path) -> None:
    arrays = {
        "k12-s0": np.arange(12, dtype=np.float32).reshape(3, 4),
        "turned": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "normalise": np.array(True, dtype=np.uint8),
        "ids": np.array([3, -1]),
    }
    record = {"method": "x", "list": [1, 2.5, None]}
    save_arrays(tmp_path / "a.safetensors", arrays, record)
    save_checkpoint(tmp_path / "t.safetensors", {k: torch.from_numpy(v) for k, v in arrays.items()}, record)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "t.json").read_bytes()
    found, found_record = load_arrays(tmp_path / "t.safetensors")
    assert found_record == record
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint(tmp_path / "no.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "cut.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "foreign.safetensors")


def test_keys_and_shapes_are_compared() -> None:
    model = {"a": torch.zeros(2), "b": torch.zeros(3)}
    check_keys("f", model, model)
    with pytest.raises(
        UserError, match=r"f does not fit the model: missing keys b; foreign keys c; a has shape \(1,\)"
    ):
        check_keys("f", {"a": torch.zeros(1), "c": torch.zeros(1)}, model)


def golden_state() -> dict[str, torch.Tensor]:
    golden = load_golden("alignseg_decoder")
    return {key[2:]: torch.from_numpy(value) for key, value in golden.items() if key.startswith("w.")}


def test_golden_decoder_names_round_trip(tmp_path: Path) -> None:
    state = golden_state()
    ours = reference.from_reference(state)
    assert same(reference.to_reference(ours), state)
    reference.write_reference(tmp_path / "a.pth", ours, epoch=3)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    assert content.keys() == {"epoch", "net", "state_dict", "optimizer"}
    assert same(reference.read_reference(tmp_path / "a.pth"), ours)


def test_published_file_with_backbone_and_wrapper(tmp_path: Path) -> None:
    state = golden_state()
    wrapped = {f"module.{key}": value for key, value in state.items()}
    content = {"epoch": 9, "net": "vit", "optimizer": {"state": {}}}
    content["state_dict"] = {**wrapped, "module.backbone.cls_token": torch.zeros(1, 1, 4)}
    torch.save(content, tmp_path / "p.pth")
    assert same(reference.read_reference(tmp_path / "p.pth"), reference.from_reference(state))


def test_shapes_tell_the_settings() -> None:
    golden = load_golden("alignseg_decoder")
    found = reference.shape_settings(reference.from_reference(golden_state()))
    wanted = {"queries": "queries", "dim": "dim", "layers": "layers", "hidden": "ffn"}
    assert found == {ours: int(golden[f"meta_{theirs}"]) for ours, theirs in wanted.items()}


def test_foreign_published_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"foreign keys: segmenter\.weight"):
        reference.from_reference({**golden_state(), "segmenter.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=r"no clsQueries\.weight"):
        reference.from_reference({"backbone.cls_token": torch.zeros(1)})
    with pytest.raises(UserError, match="no place in a published"):
        reference.to_reference({"layers.0.gate.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="does not exist"):
        reference.read_reference(tmp_path / "no.pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps({"state_dict": Path("x")}, protocol=2))
    with pytest.raises(UserError, match="no torch file of plain tensors"):
        reference.read_reference(tmp_path / "code.pth")
    torch.save({"state_dict": {}, "settings": Path("x")}, tmp_path / "objects.pth")
    with pytest.raises(UserError, match="no torch file of plain tensors"):
        reference.read_reference(tmp_path / "objects.pth")


VIT = {name: torch.full((2,), float(i)) for i, name in enumerate(["cls_token", "blocks.0.norm1.weight", "norm.bias"])}


def prefixed(prefix: str, head: str) -> dict[str, torch.Tensor]:
    return {**{prefix + key: value for key, value in VIT.items()}, head: torch.zeros(1)}


@pytest.mark.parametrize(
    "state",
    [
        dict(VIT),
        prefixed("backbone.", "head.mlp.0.weight"),
        prefixed("module.backbone.", "module.head.last_layer.weight_g"),
        prefixed("teacher.backbone.", "student.backbone.cls_token"),
        prefixed("module.student.backbone.", "module.student.head.weight"),
        prefixed("teacher.module.backbone.", "teacher.module.ibot_head.x"),
        prefixed("", "head.weight"),
        {"student": {"backbone.cls_token": torch.zeros(9)}, "teacher": prefixed("backbone.", "head.x"), "epoch": 1},
        {"state_dict": prefixed("module.", "module.head.weight"), "optimizer": {}},
        {"model": prefixed("", "heads.weight")},
    ],
)  # fmt: skip
def test_dino_checkpoints_in_all_their_shapes(state: dict[str, object]) -> None:
    assert same(clean_backbone_keys(state), VIT)


def test_a_file_without_a_backbone() -> None:
    with pytest.raises(UserError, match="no backbone weights"):
        clean_backbone_keys({"head.weight": torch.zeros(1)})
