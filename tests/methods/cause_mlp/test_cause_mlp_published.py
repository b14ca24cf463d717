"""CAUSE-MLP's published checkpoints: names, shapes, what is refused, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_files import load_golden
from head_world import head_world, job_of
from token_golden import tensor
from torch import Tensor

from patchbank.checkpoints.store import load_checkpoint
from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.methods.contract import load_model, published, run_train
from patchbank.methods.tools.class_heads import load_coded
from patchbank.methods.tools.correspondence import unit

__all__ = ["head_world"]


def segment() -> dict[str, Tensor]:
    """The teacher as the golden's head, and a student of other values."""
    golden = load_golden("cause_functions")
    heads = {key.removeprefix("w.head."): tensor(golden[key]) for key in golden if key.startswith("w.head.")}
    return {f"head_ema.{key}": value for key, value in heads.items()} | {
        f"head.{key}": value + 1 for key, value in heads.items()
    }


def cluster() -> dict[str, Tensor]:
    golden = load_golden("cause_functions")
    return {"codebook": tensor(golden["codebook"]), "cluster_probe": tensor(golden["cluster_probe"])}


@pytest.mark.parametrize("files", [1, 2])
def test_a_published_head_gives_its_codes(files: int, tmp_path: Path) -> None:
    golden, source, target = load_golden("cause_functions"), tmp_path / "segment_mlp.pth", tmp_path / "ours.safetensors"
    torch.save(segment() | (cluster() if files == 1 else {}), source)
    if files == 2:
        torch.save(cluster(), tmp_path / "cluster_mlp.pth")
    assert main(["import", "cause-mlp", str(source), "--out", str(target)]) == 0
    tokens, codes = tensor(golden["head_tokens"]), tensor(golden["head_eval"])
    probe = unit(cluster()["cluster_probe"])
    model = load_model("cause_mlp", target)
    torch.testing.assert_close(model.scores(tokens), probe @ codes.transpose(1, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(load_coded(target).codes(tokens), codes, rtol=1e-5, atol=1e-5)
    assert load_checkpoint(target)[1]["oracle"] == "train", "labels moved it"
    assert main(["export", "cause-mlp", str(target), "--out", str(tmp_path / "back.pth")]) == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == {key for key in segment() if key.startswith("head_ema.")} | {"cluster_probe"}
    assert all(torch.equal(back[key], value) for key, value in segment().items() if key in back)
    torch.testing.assert_close(back["cluster_probe"], probe)


def test_what_a_published_file_lacks_is_named(head_world: dict[str, Path], tmp_path: Path) -> None:
    source, target = tmp_path / "segment_mlp.pth", tmp_path / "ours.safetensors"
    torch.save(segment(), source)
    with pytest.raises(UserError, match=r"cluster_mlp.pth does not exist"):
        published("cause_mlp").import_published(source, target, {})
    torch.save(cluster() | {"cluster_probe": torch.randn(4, 3)}, tmp_path / "cluster_mlp.pth")
    with pytest.raises(UserError, match=r"codes have width \d+, classes 3; they are of two trainings"):
        published("cause_mlp").import_published(source, target, {})
    torch.save({key: value for key, value in segment().items() if key != "head_ema.f2.0.bias"}, source)
    with pytest.raises(UserError, match=r"one tensor named head_ema.f2.0.bias is needed, and the file has none"):
        published("cause_mlp").import_published(source, target, {})
    centred = job_of(head_world, "cause_mlp", tmp_path / "run")
    run_train(centred)
    with pytest.raises(UserError, match="centres its tokens"):
        published("cause_mlp").export_published(centred.files.checkpoint, tmp_path / "no.pth")
    assert not target.exists()
