"""STEGO's published checkpoints: names, shapes, what is refused, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_files import load_golden
from token_golden import as_tokens, head_of, tensor
from torch import Tensor

from patchbank.errors import UserError
from patchbank.methods.contract import load_model, published
from patchbank.methods.tools.class_heads import load_coded
from patchbank.methods.tools.correspondence import unit


def state(prefix: str = "net.") -> dict[str, Tensor]:
    golden = load_golden("stego_head")
    found = {prefix + key.removeprefix("w."): tensor(golden[key]) for key in golden if key.startswith("w.")}
    width = len(golden["w.cluster1.0.bias"])
    clusters = torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    more = {
        "cluster_probe.clusters": clusters,
        "train_cluster_probe.clusters": clusters,
        "net.model.cls_token": clusters,
    }
    return found | more


def test_a_published_head_gives_its_codes(tmp_path: Path) -> None:
    golden = load_golden("stego_head")
    torch.save({"state_dict": state()}, tmp_path / "stego.ckpt")
    published("stego").import_published(tmp_path / "stego.ckpt", tmp_path / "ours.safetensors", {})
    model = load_model("stego", tmp_path / "ours.safetensors")
    tokens = tensor(golden["tokens"][:, 1:])
    expected = unit(state()["cluster_probe.clusters"]) @ as_tokens(golden["code_eval"]).transpose(1, 2)
    torch.testing.assert_close(model.scores(tokens), expected, rtol=1e-5, atol=1e-5)
    coded = load_coded(tmp_path / "ours.safetensors")  # other rows can learn on its codes
    torch.testing.assert_close(coded.codes(tokens), as_tokens(golden["code_eval"]), rtol=1e-5, atol=1e-5)
    published("stego").export_published(tmp_path / "ours.safetensors", tmp_path / "back.ckpt")
    back = torch.load(tmp_path / "back.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(back["cluster_probe.clusters"], unit(state()["cluster_probe.clusters"]))
    for name in ("net.cluster1.0.weight", "net.cluster2.0.bias", "net.cluster2.2.weight"):
        assert torch.equal(back[name], state()[name])


def test_what_is_missing_or_twice_is_named(tmp_path: Path) -> None:
    broken = {key: value for key, value in state().items() if not key.endswith("cluster2.2.bias")}
    torch.save(broken, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"one tensor named cluster2.2.bias is needed, and the file has none"):
        published("stego").import_published(tmp_path / "a.ckpt", tmp_path / "a.safetensors", {})
    torch.save(state() | {"other.cluster2.2.bias": torch.zeros(1)}, tmp_path / "b.ckpt")
    with pytest.raises(UserError, match=r"has net.cluster2.2.bias, other.cluster2.2.bias"):
        published("stego").import_published(tmp_path / "b.ckpt", tmp_path / "b.safetensors", {})
    torch.save(state() | {"net.cluster2.0.bias": torch.zeros(1)}, tmp_path / "c.ckpt")
    with pytest.raises(UserError, match="layers do not fit each other: hidden"):
        published("stego").import_published(tmp_path / "c.ckpt", tmp_path / "c.safetensors", {})
    assert head_of(load_golden("stego_head")).width == len(state()["net.cluster1.0.bias"])
