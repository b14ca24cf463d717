"""CAUSE-TR's head against torch's own layer, its stages with and without the leak, and the one grid that it knows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from golden_files import load_golden
from head_world import RUNS, SHARED, Killed, head_world, kill_at, shift_masks, tensors_of, train_in
from jobs import predict_job, train_job
from token_golden import tensor
from torch import nn

from patchbank.bank.centring import Centring
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint
from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.methods.cause_tr import train as stage
from patchbank.methods.cause_tr.codes import sampled_codes
from patchbank.methods.cause_tr.head import Attention, DecoderHead, Dropout
from patchbank.methods.cause_tr.names import theirs_of
from patchbank.methods.cause_tr.settings import resolve, traits
from patchbank.methods.contract import load_model, published, run_predict, run_train
from patchbank.methods.tools.cause.contrast import nearest_code
from patchbank.methods.tools.correspondence import unit
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]
SIZES = {"five": {"size": 96}, "whole": {"size": 96, "shift": 1}, "center320": {"size": 96}}


def settings(**own: Any) -> dict[str, Any]:
    return resolve({**RUNS["cause_tr"], **own}, {**SHARED, "recipes": SIZES})


@pytest.fixture(scope="module")
def five_of_one_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank `five` of the same images, at the size of whole ones."""
    folder = tmp_path_factory.mktemp("five")
    make_images(folder, 9)
    return extract_all(folder, ExtractSettings("five", {"size": 96}, images_per_shard=16))


def decoder(seed: int = 0) -> DecoderHead:
    codebook = torch.randn(7, 12, generator=torch.Generator().manual_seed(1))
    return DecoderHead(codebook, 9, 5, 16, seed)


def test_the_layer_is_that_of_torch() -> None:
    """`nn.TransformerDecoderLayer`, but for positions, which it has not: they are 0 here."""
    own, tokens = decoder(), torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(2))
    own.positions.data.zero_()
    layer = nn.TransformerDecoderLayer(12, 1, 16, batch_first=True).eval()
    named = theirs_of(dict(own.state_dict()))
    layer.load_state_dict({key: named[f"tr.{key}"] for key in layer.state_dict()})
    queries = own.codebook[nearest_code(tokens, own.codebook)]
    expected = own.codes(tokens + layer(queries, tokens))
    torch.testing.assert_close(own(tokens), expected, rtol=1e-5, atol=1e-6)


def test_the_start_is_that_of_torch() -> None:
    own, torchs = Attention(64, torch.Generator().manual_seed(0)), nn.MultiheadAttention(64, 1)
    inner = torch.cat([own.query.weight, own.key.weight, own.value.weight])
    bounds = [(inner, torchs.in_proj_weight), (own.out.weight, torchs.out_proj.weight)]
    for ours, theirs in bounds:
        assert float(ours.detach().abs().max()) == pytest.approx(float(theirs.detach().abs().max()), rel=0.02)
    assert not any(layer.bias.any() for layer in (own.query, own.value, own.out))
    head = decoder()
    assert head.positions.std().item() == pytest.approx(1, abs=0.2)
    assert float(head.narrow.weight.detach().abs().max()) == pytest.approx(16**-0.5, rel=0.05)
    assert not torch.equal(head.positions, decoder(1).positions)


def test_dropout_follows_from_its_seed_and_keeps_the_mean() -> None:
    values = torch.ones(200, 200)
    one, two = (Dropout(0.1, 5, values.device) for _ in range(2))
    first = one(values)
    assert torch.equal(first, two(values))
    assert not torch.equal(one(values), first)
    torch.testing.assert_close(first.unique(), torch.tensor([0, 1 / 0.9]))
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    head, tokens = decoder(), torch.randn(1, 9, 12)
    assert not torch.equal(head(tokens, Dropout(0.1, 0, tokens.device)), head(tokens))


@pytest.mark.parametrize("own", [{"views": "five", "probe": "reference"}, {"dropout": 0.0, "centre": "none"}])
def test_every_choice_trains_and_repeats_bit_by_bit(
    own: dict[str, Any], head_world: dict[str, Path], five_of_one_size: Path, tmp_path: Path
) -> None:
    world = {**head_world, "five": five_of_one_size}
    first = train_in(world, "cause_tr", tmp_path / "a", settings(**own), traits)
    assert tensors_of(first) == tensors_of(train_in(world, "cause_tr", tmp_path / "b", settings(**own), traits))
    assert tensors_of(first) != tensors_of(train_in(world, "cause_tr", tmp_path / "c", settings(**own), traits, 1))


@pytest.mark.parametrize("step", [0, 5, 10])
def test_a_killed_training_ends_as_if_nothing_had_happened(
    step: int, head_world: dict[str, Path], tmp_path: Path
) -> None:
    """Two steps of the codebook, eight of the head, four of the probe."""
    own = settings(supervised_leak="reference", probe="reference", probe_halving=1)
    whole = train_in(head_world, "cause_tr", tmp_path / "whole", own, traits)
    job = train_in.job(head_world, "cause_tr", tmp_path / "killed", own, traits)
    with pytest.raises(Killed):
        stage.train(job, kill_at(step))
    seen: list[int] = []
    stage.train(job, seen.append)
    assert seen == list(range((step + 1) // 2 * 2, 14))
    assert tensors_of(job.files.checkpoint) == tensors_of(whole)
    assert job.files.steps_csv.read_text() == (tmp_path / "whole" / "steps.csv").read_text()


def test_the_loss_falls(head_world: dict[str, Path], tmp_path: Path) -> None:
    own = settings(epochs=20, dropout=0.0, lr=1e-3)
    train_in(head_world, "cause_tr", tmp_path, own, traits)
    with (tmp_path / "steps.csv").open() as file:
        losses = np.array([float(row["loss_front"]) for row in csv.DictReader(file)])
    losses = losses[np.isfinite(losses)]
    assert losses[-10:].mean() < losses[:10].mean()


def test_labels_move_the_head_with_the_leak_and_reach_nothing_without(
    head_world: dict[str, Path], tmp_path: Path
) -> None:
    make_images(tmp_path, 9)
    shift_masks(tmp_path / "manifest.json")
    leak = settings(supervised_leak="reference", probe="reference")
    assert (traits(leak).oracle, traits(settings()).oracle) == ("train", None)
    first = tensors_of(train_in(head_world, "cause_tr", tmp_path / "a", leak, traits))
    world = {**head_world, "manifest": tmp_path / "manifest.json"}
    second = tensors_of(train_in(world, "cause_tr", tmp_path / "b", leak, traits))
    heads = [{key: value for key, value in one.items() if key.startswith("decoder/")} for one in (first, second)]
    assert {key for key in heads[0] if heads[0][key] == heads[1][key]} == {"decoder/codebook"}
    given = {"banks": {"whole": head_world["whole"]}, "statistics": head_world["statistics"], "settings": leak}
    with pytest.raises(UserError, match="reads labels; name the manifest"):
        run_train(train_job("cause_tr", tmp_path / "c", **given))


def test_the_rate_of_the_probe_is_halved(head_world: dict[str, Path], tmp_path: Path) -> None:
    """From the second epoch on other steps are taken; the first are the same."""
    rows = []
    for name, halving in (("a", 1), ("b", 9)):
        own = settings(probe="reference", probe_halving=halving, probe_epochs=3)
        train_in(head_world, "cause_tr", tmp_path / name, own, traits)
        with (tmp_path / name / "steps.csv").open() as file:
            rows.append([row["loss_probe"] for row in csv.DictReader(file) if row["loss_probe"] != "nan"])
    assert len(rows[0]) == 6
    assert [one == two for one, two in zip(*rows, strict=True)] == [True] * 3 + [False] * 3


def test_as_many_codes_as_asked_for_from_whole_images(head_world: dict[str, Path]) -> None:
    """6x6 patches in blocks of two: nine codes of an image."""
    bank = open_bank(head_world["whole"])
    head = DecoderHead(torch.randn(7, bank.dim, generator=torch.Generator().manual_seed(1)), 36, 5, 16, 0)
    asked = {"sample": 20, "block": 2}
    found = sampled_codes(bank, head, Centring(), asked, 0)
    assert found.shape == (27, 5)
    tokens = torch.from_numpy(bank.read(np.arange(len(bank)), ("tokens",))["tokens"][:, 0]).float()
    every = head(tokens).detach().flatten(0, 1)
    assert float((found[:, None] - every).abs().amax(2).amin(1).max()) < 1e-4
    assert len(sampled_codes(bank, head, Centring(), {"sample": 10**6, "block": 2}, 0)) == 9 * len(bank)


def test_views_of_another_size_are_refused_before_anything_is_extracted(
    head_world: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"views is 'five', whose size is 224, .* size 448; .* set recipes.whole.size"):
        resolve({"views": "five"}, {**SHARED, "recipes": {"five": {"size": 224}, "whole": {"size": 448}}})
    with pytest.raises(UserError, match=r"size 224 and shift 2; .* without a shift"):
        resolve({"views": "five"}, {**SHARED, "recipes": {"five": {"size": 224}, "whole": {"size": 224, "shift": 2}}})
    with pytest.raises(UserError, match=r"views is 'windows', choose whole \| five \| center320"):
        settings(views="windows")
    with pytest.raises(UserError, match=r"hidden is 0, .*; views is 'five' with supervised_leak, .* of whole\."):
        settings(hidden=0, views="five", supervised_leak="reference")
    with pytest.raises(UserError, match=r"views of 'five' have 3x3 patches, whole images 6x6"):
        train_in(head_world, "cause_tr", tmp_path, settings(views="five"), traits)


def test_other_grids_are_refused_in_one_sentence(
    head_world: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = train_in(head_world, "cause_tr", tmp_path / "run", settings(), traits)
    whole = {"settings": settings(), "checkpoint": checkpoint}
    run_predict(predict_job("cause_tr", tmp_path / "val.h5", banks={"whole": head_world["val-whole"]}, **whole))
    other = {"whole": head_world["center320"]}
    with pytest.raises(UserError, match=r"center320.* has 4x4 patches, and the head has learned the places of 6x6 "):
        run_predict(predict_job("cause_tr", tmp_path / "no.h5", banks=other, **whole))
    folder = head_world["statistics"].parent
    command = ["segment", str(folder / "data" / "images" / "val"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    command += ["--weights", str(folder / "weights.safetensors"), "--threads", "1", "--out", str(tmp_path / "out")]
    for more, said in (
        (["--size", "64"], "A picture of 64x64 pixels has 4x4 patches, and the head has learned the places of 6x6 "),
        ([], "--size 96 gives as many"),
        (["--window", "96"], "A sliding window has a grid of its own for every picture"),
    ):
        assert main([*command, *more]) != 0
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert main([*command, "--size", "96"]) == 0
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 9


def test_an_onnx_model_of_another_size_is_refused(
    head_world: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = train_in(head_world, "cause_tr", tmp_path / "run", settings(), traits)
    weights = head_world["statistics"].parent / "weights.safetensors"
    command = ["export", "onnx", "--checkpoint", str(checkpoint), "--weights", str(weights), "--out"]
    assert main([*command, str(tmp_path / "no.onnx"), "--size", "64"]) == 1
    assert "An image of 64x64 pixels has 4x4 patches, and the head has learned" in capsys.readouterr().err
    assert not (tmp_path / "no.onnx").exists()


@pytest.mark.exhaustive
def test_an_onnx_model_computes_the_same(head_world: dict[str, Path], tmp_path: Path) -> None:
    """Asked by the export itself, which writes nothing that differs."""
    checkpoint = train_in(head_world, "cause_tr", tmp_path / "run", settings(), traits)
    weights = head_world["statistics"].parent / "weights.safetensors"
    command = ["export", "onnx", "--checkpoint", str(checkpoint), "--weights", str(weights), "--out"]
    assert main([*command, str(tmp_path / "m.onnx"), "--size", "96"]) == 0
    assert (tmp_path / "m.onnx").is_file()


def test_codes_of_the_mirror_image_are_averaged(head_world: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = train_in(head_world, "cause_tr", tmp_path, settings(), traits)
    model, scores = load_model("cause_tr", checkpoint), []
    banks = {"whole": head_world["val-whole"], "mirrored": head_world["val-mirrored"]}
    for name in banks:
        bank = open_bank(banks[name])
        tokens = torch.from_numpy(bank.read(np.arange(len(bank)), ("tokens",))["tokens"][:, 0])
        scores.append(model.scores(tokens).view(len(bank), -1, *bank.grid))
    expected = (scores[0] + scores[1].flip(3)).argmax(1).numpy()
    given = {"banks": banks, "settings": settings(mirror=True), "checkpoint": checkpoint}
    run_predict(predict_job("cause_tr", tmp_path / "val.h5", **given))
    with PredictionReader(tmp_path / "val.h5") as reader:
        found = reader.labels(next(iter(reader.variants)), 0, len(expected))
    assert (found == expected).mean() > 0.99


def published_state() -> dict[str, torch.Tensor]:
    golden = load_golden("cause_tr_head")
    found = {f"head_ema.{key[2:]}": tensor(golden[key]) for key in golden if key.startswith("w.")}
    return found | {f"head.{key[2:]}": torch.zeros(1) for key in golden if key.startswith("w.")}


def test_a_published_head_gives_its_codes(tmp_path: Path) -> None:
    golden = load_golden("cause_tr_head")
    width = golden["code"].shape[-1]
    probe = torch.randn(4, width, generator=torch.Generator().manual_seed(0))
    torch.save(published_state(), tmp_path / "segment_tr.pth")
    torch.save({"codebook": tensor(golden["codebook"]), "cluster_probe": probe}, tmp_path / "cluster_tr.pth")
    published("cause_tr").import_published(tmp_path / "segment_tr.pth", tmp_path / "ours.safetensors", {"rows": 0})
    model = load_model("cause_tr", tmp_path / "ours.safetensors")
    assert model.record["oracle"] == "train"
    expected = unit(probe) @ tensor(golden["code"]).transpose(1, 2)
    torch.testing.assert_close(model.scores(tensor(golden["tokens"])), expected, rtol=1e-4, atol=1e-5)
    published("cause_tr").export_published(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    for name, value in published_state().items():
        if name.startswith("head_ema.") and not name.endswith("in_proj_bias"):
            assert torch.equal(back[name], value), name
    torch.testing.assert_close(back["cluster_probe"], unit(probe))
    published("cause_tr").import_published(tmp_path / "back.pth", tmp_path / "again.safetensors", {"rows": 0})
    again = load_model("cause_tr", tmp_path / "again.safetensors")
    torch.testing.assert_close(again.scores(tensor(golden["tokens"])), model.scores(tensor(golden["tokens"])))
    patches = golden["tokens"].shape[1]
    published("cause_tr").import_published(tmp_path / "back.pth", tmp_path / "flat.safetensors", {"rows": 2})
    assert load_checkpoint(tmp_path / "flat.safetensors")[1]["grid"] == [2, patches // 2]


def test_what_a_published_file_lacks_is_named(head_world: dict[str, Path], tmp_path: Path) -> None:
    source, target = tmp_path / "segment_tr.pth", tmp_path / "ours.safetensors"
    torch.save(published_state(), source)
    with pytest.raises(UserError, match=r"cluster_tr.pth does not exist"):
        published("cause_tr").import_published(source, target, {"rows": 0})
    codebook = tensor(load_golden("cause_tr_head")["codebook"])
    torch.save({"codebook": codebook, "cluster_probe": torch.randn(4, 8)}, tmp_path / "cluster_tr.pth")
    with pytest.raises(UserError, match=r"which are not \d+ rows of equal length"):
        published("cause_tr").import_published(source, target, {"rows": 10**6 + 3})
    torch.save({k: v for k, v in published_state().items() if k != "head_ema.query_pos"}, source)
    with pytest.raises(UserError, match=r"one tensor named head_ema.query_pos is needed, and the file has none"):
        published("cause_tr").import_published(source, target, {"rows": 0})
    torch.save(published_state() | {"head_ema.query_pos": torch.zeros(6, codebook.shape[1])}, source)
    with pytest.raises(UserError, match=r"positions of 6 patches, which are no square; give --rows"):
        published("cause_tr").import_published(source, target, {"rows": 0})
    torch.save(published_state() | {"head_ema.tr.norm3.bias": torch.zeros(3)}, source)
    with pytest.raises(UserError, match=r"norms.2.bias has shape \(3,\) instead of"):
        published("cause_tr").import_published(source, target, {"rows": 0})
    centred = train_in(head_world, "cause_tr", tmp_path / "run", settings(), traits)
    with pytest.raises(UserError, match="centres its tokens"):
        published("cause_tr").export_published(centred, tmp_path / "no.pth")
