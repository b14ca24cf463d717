from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from alignseg_oracles import assignment_logits
from alignseg_training import FakeBank, run, small
from jobs import predict_job

from patchbank.checkpoints.store import check_backbone, load_checkpoint, save_checkpoint
from patchbank.errors import UserError
from patchbank.methods.alignseg import head as heads
from patchbank.methods.alignseg import predict as predicting
from patchbank.methods.alignseg import published
from patchbank.methods.contract import run_predict
from patchbank.predictions import PredictionReader, PredictionRecord

RECORD = PredictionRecord("fake", "val", "alignseg", "segments", 0, "nearest", (56, 70))


@pytest.mark.parametrize("centre", ["none", "mean", "standardise"])
@pytest.mark.parametrize("block", [1 << 23, 500])
def test_scores_are_cosines_of_centred_tokens(
    tmp_path: Path, centre: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "_BLOCK_VALUES", block)
    train_bank, bank = FakeBank(), FakeBank(images=5, draws=1, views=1, seed=3)
    head = heads.load_head(run(tmp_path, small(epochs=1, centre=centre), train_bank)["head"])
    predicting.predict_segments(bank, head, RECORD, tmp_path / "p.h5", "cpu")
    statistics = train_bank.statistics()
    tokens = bank.data["tokens"][:, 0].astype(np.float64)
    tokens = tokens - statistics.mean if centre != "none" else tokens
    tokens = torch.from_numpy((tokens / statistics.std if centre == "standardise" else tokens).astype(np.float32))
    with torch.no_grad():
        expected = assignment_logits(tokens, head.model(tokens, plain=True)).transpose(1, 2).reshape(5, 3, 4, 5).numpy()
    with PredictionReader(tmp_path / "p.h5") as reader:
        assert reader.images == bank.images
        assert reader.variants == {"segments": 3}
        assert reader.grid == (4, 5)
        found = reader.scores("segments", 0, 5)
    np.testing.assert_allclose(found, expected - expected.max(1, keepdims=True), atol=1e-3)


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    head = heads.load_head(run(tmp_path, small(epochs=1))["head"])
    check_backbone(head.record, {"name": "fake", "block": 8}, "c")
    with pytest.raises(UserError, match="trained on: block 11 instead of 8"):
        check_backbone(head.record, {"name": "fake", "block": 11}, "c")


def test_another_width_is_refused(tmp_path: Path) -> None:
    head = heads.load_head(run(tmp_path, small(epochs=1))["head"])
    bank = FakeBank(views=1)
    bank.dim = 6
    with pytest.raises(UserError, match="width 12, the bank's have 6"):
        predicting.predict_segments(bank, head, RECORD, tmp_path / "p.h5")


def test_a_checkpoint_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name its checkpoint"):
        run_predict(predict_job("alignseg", tmp_path / "p.h5"))


def test_missing_and_foreign_keys_are_named(tmp_path: Path) -> None:
    path = run(tmp_path, small(epochs=1))["head"]
    tensors, record = load_checkpoint(path)
    tensors["decoder/extra"] = tensors.pop("decoder/queries")
    save_checkpoint(path, tensors, record)
    with pytest.raises(UserError, match=r"missing keys decoder/queries; foreign keys decoder/extra"):
        heads.load_head(path)
    save_checkpoint(path, tensors, {**record, "method": "transfgu"})
    with pytest.raises(UserError, match="a checkpoint of 'transfgu', not of 'alignseg'"):
        heads.load_head(path)


def test_published_checkpoints_come_in_and_go_out(tmp_path: Path) -> None:
    settings = small(epochs=1, decoder="reference", pairing="reference", centre="none", layers=2)
    path = run(tmp_path, settings)["head"]
    published.export_published(path, tmp_path / "out.pth")
    published.import_published(tmp_path / "out.pth", tmp_path / "in.safetensors", {"heads": 3})
    before, after = heads.load_head(path), heads.load_head(tmp_path / "in.safetensors")
    tokens = torch.randn(2, 5, 12)
    assert torch.equal(before.model(tokens), after.model(tokens))
    assert (after.settings.layers, after.settings.hidden, after.settings.queries) == (2, 8, 3)
    check_backbone(after.record, {"name": "anything"}, "c")


def test_what_the_published_format_cannot_say_is_refused(tmp_path: Path) -> None:
    centred = run(tmp_path / "a", small(epochs=1))["head"]
    stacked = run(tmp_path / "b", small(epochs=1, centre="none", layers=2))["head"]
    for path, said in ((centred, "centres its tokens"), (stacked, "stacks its 2 layers")):
        with pytest.raises(UserError, match=said):
            published.export_published(path, tmp_path / "out.pth")
