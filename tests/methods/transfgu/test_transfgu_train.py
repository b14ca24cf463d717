"""The stages from files to files on banks of the extract stage, with every source of pseudo labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jobs import predict_job, train_job
from transfgu_world import EXACT, SOURCES, make_world, predict_in, table, train_in

from patchbank.backbones.tail import load_tail
from patchbank.bank.format import content_hash
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.cli import main
from patchbank.clustering.projection import Projection
from patchbank.errors import UserError
from patchbank.methods.contract import run_predict
from patchbank.methods.transfgu import predict as prediction
from patchbank.methods.transfgu import pseudo_labels
from patchbank.methods.transfgu.batches import plan_epoch
from patchbank.methods.transfgu.centroids import make_centroids, mean_of_members, pool_windows
from patchbank.methods.transfgu.head import load_head
from patchbank.methods.transfgu.pseudo_labels import gradient_rows
from patchbank.methods.transfgu.settings import TransFGUSettings, recipes
from patchbank.methods.transfgu.train import train_segmenter
from patchbank.predictions import PredictionReader


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("transfgu"))


@pytest.mark.parametrize("source", SOURCES)
def test_from_banks_to_predictions(world: dict[str, Path], source: str) -> None:
    checkpoint = train_in(world, source, SOURCES[source])
    head = load_head(checkpoint)
    assert len(head.extra["centroids"]) == head.settings.maps
    assert sum(head.record["members"]) > 9
    assert head.record["restarts"] == [2]  # 4 has fewer than 2 epochs left
    steps = table(checkpoint.parent / "steps.csv")
    assert [int(row["epoch"]) for row in steps] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [float(row["alpha"]) for row in steps][::2] == [0, 0, 0.03, 0.04, 0.05]
    for row in steps:
        parts = [float(row[f"loss_{name}"]) for name in ("category", "uncertainty", "embedding")]
        assert float(row["loss"]) == pytest.approx(parts[0] + 0.3 * parts[1] + parts[2], rel=1e-5)
    with PredictionReader(predict_in(world, checkpoint)) as reader:
        assert (reader.record.kind, reader.record.upsample, reader.record.input_size) == (
            "classes",
            "bilinear",
            (64, 64),
        )
        assert reader.variants == {"k3-s0": 3}
        assert reader.grid == (4, 4)
        assert reader.labels("k3-s0", 0, 9).shape == (9, 4, 4)


@pytest.mark.parametrize("source", ["exact", "bfloat16"])
def test_equal_runs_are_equal_and_seeds_differ(world: dict[str, Path], source: str) -> None:
    first = train_in(world, source, SOURCES[source]).read_bytes()
    assert train_in(world, "again", SOURCES[source]).read_bytes() == first
    assert train_in(world, "other", SOURCES[source], seed=1).read_bytes() != first


class Killed(Exception):
    """Stands for a kill."""


def segmenter(world: dict[str, Path], folder: Path, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    options = TransFGUSettings.from_mapping({**EXACT, "checkpoint_every": 2})
    banks = {name: open_bank(world[name]) for name in recipes(EXACT)}
    job = train_job("transfgu", folder, device="cpu")
    train_segmenter(banks, Statistics.load(world["statistics"]), options, job, **more)
    return job.files.checkpoint


@pytest.mark.parametrize("at", [0, 4, 9])
def test_an_interrupted_run_ends_as_an_undisturbed_one(
    world: dict[str, Path], tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = segmenter(world, tmp_path / "a")

    def stop(step: int) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        segmenter(world, tmp_path / "b", on_step=stop)
    (state,) = (tmp_path / "b" / "state").iterdir()
    assert {path.name for path in state.iterdir()} >= {"centroids.safetensors", "pseudo_labels.h5"}

    def never(*_: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(pseudo_labels, "gradient_maps", never)
    done: list[int] = []
    resumed = segmenter(world, tmp_path / "b", on_step=done.append)
    assert done[0] == {0: 0, 4: 4, 9: 8}[at]
    assert resumed.read_bytes() == undisturbed.read_bytes()
    for name in ("steps.csv", "epochs.csv"):
        assert table(tmp_path / "a" / name) == table(tmp_path / "b" / name)
    assert not list((tmp_path / "b" / "state").iterdir())


def test_order_repeats_and_draws() -> None:
    batches = plan_epoch(images=5, draws=3, repeat=4, batch_size=6, seed=0, epoch=1)
    assert [len(batch.rows) for batch in batches] == [6, 6, 6]
    assert [batch.last for batch in batches] == [False, False, True]
    whole = plan_epoch(images=5, draws=3, repeat=4, batch_size=20, seed=0, epoch=1)[0].rows
    assert np.bincount(whole // 3).tolist() == [4] * 5
    # epoch 1 uses draws (4, 5, 6, 7) % 3 of every image
    assert sorted(whole[whole // 3 == 2] % 3) == [0, 1, 1, 2]
    small = plan_epoch(images=2, draws=1, repeat=0, batch_size=64, seed=0, epoch=0)
    assert [batch.rows.tolist() for batch in small] == [[0, 1]]


def test_many_classes_are_stored_as_labels_of_the_upsampled_logits(
    world: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = train_in(world, "many", SOURCES["things"])
    with PredictionReader(predict_in(world, checkpoint)) as reader:
        scores = torch.from_numpy(reader.scores("k3-s0", 0, 9))
    monkeypatch.setattr(prediction, "MAX_SCORES", 2)
    with PredictionReader(predict_in(world, checkpoint)) as reader:
        assert (reader.grid, reader.record.upsample) == ((64, 64), "nearest")
        labels = reader.labels("k3-s0", 0, 9)
    expected = torch.nn.functional.interpolate(scores, (64, 64), mode="bilinear").argmax(1).numpy()
    assert (labels == expected).mean() > 0.98  # float16 of the scores


def test_checkpoints_of_the_published_shape_come_and_go(
    world: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def given(name: str, out: str) -> int:
        told = [f"--{key}={int(EXACT[key])}" for key in ("heads", "stuff", "background")]
        return main(["import", "transfgu", str(tmp_path / name), "--out", str(tmp_path / out), *told])

    ours = train_in(world, "exported")
    assert main(["export", "transfgu", str(ours), "--out", str(tmp_path / "decoder.pth")]) == 0
    state = torch.load(tmp_path / "decoder.pth", weights_only=True)
    assert {"cls_emb", "proj_dec.weight", "blocks.1.attn.qkv.weight", "proj_patch", "mask_norm.bias"} <= set(state)
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "wrapped.pth")
    for name in ("decoder.pth", "wrapped.pth"):
        assert given(name, f"{name}.safetensors") == 0
        back, head = load_head(tmp_path / f"{name}.safetensors"), load_head(ours)
        for key, value in head.model.state_dict().items():
            torch.testing.assert_close(back.model.state_dict()[key], value, rtol=0, atol=0)
    predict_in(world, tmp_path / "wrapped.pth.safetensors")
    del state["proj_patch"]
    torch.save(state, tmp_path / "broken.pth")
    assert given("broken.pth", "x.safetensors") == 1
    assert "missing keys proj_patch" in capsys.readouterr().err
    torch.save({"weight": torch.zeros(2)}, tmp_path / "foreign.pth")
    assert given("foreign.pth", "x.safetensors") == 1
    assert "holds no decoder of TransFGU" in capsys.readouterr().err
    centred = train_in(world, "tokens", SOURCES["tokens"])
    assert main(["export", "transfgu", str(centred), "--out", str(tmp_path / "y.pth")]) == 1
    assert "centres its tokens" in capsys.readouterr().err


def test_centroids_are_means_and_an_empty_one_is_named() -> None:
    points = np.array([[0, 0], [0, 2], [10, 0]], dtype=np.float32)
    means, members = mean_of_members(points, np.array([[0, 0.5], [9, 0]], dtype=np.float32), "things")
    assert means.tolist() == [[0, 1], [10, 0]]
    assert members.tolist() == [2, 1]
    with pytest.raises(UserError, match="things 1 of 3 have no members among 3 features"):
        mean_of_members(points, np.array([[0, 0], [99, 99], [10, 0]], dtype=np.float32), "things")


class FakeWindows:
    """A `windows` bank of two windows an image."""

    def __init__(self, codes: list[list[int]]) -> None:
        self.codes = np.array(codes, dtype=np.uint8)
        self.cls = np.random.default_rng(0).standard_normal((*self.codes.shape, 4)).astype(np.float32)
        self.dim = 4

    def __len__(self) -> int:
        return len(self.codes)

    def read(self, rows: Any, fields: Any) -> dict[str, np.ndarray]:
        data = {"cls": self.cls, "window": self.codes}
        return {name: data[name][rows] for name in fields}


def test_windows_without_enough_of_them(caplog: pytest.LogCaptureFixture) -> None:
    settings = TransFGUSettings(things=3, niter=3)
    few: Any = FakeWindows([[1, 0], [0, 0], [0, 1]])
    with pytest.raises(UserError, match="2 windows are fewer than the 3 centroids of things"):
        make_centroids(few, settings, 0)
    assert "1 of 3 images have no foreground window; they stay in the set" in caplog.text
    enough: Any = FakeWindows([[1, 2], [0, 0], [1, 1], [1, 1]])
    found = make_centroids(enough, TransFGUSettings(things=2, niter=3), 0)
    assert (found.empty_images, int(found.members.sum())) == (1, 5)
    with pytest.raises(UserError, match="1 windows are fewer than the 2 centroids of stuff"):
        make_centroids(enough, TransFGUSettings(things=2, stuff=2, niter=3), 0)
    enough.codes[enough.codes == 2] = 0
    with pytest.raises(UserError, match=r"no window was selected as background; set recipes\.windows"):
        make_centroids(enough, TransFGUSettings(things=2, stuff=2, niter=3), 0)


def test_pooled_windows_are_means_of_tokens(world: dict[str, Path]) -> None:
    bank = open_bank(world["whole"])
    settings = TransFGUSettings(things=2, window_feature="pooled", pooled_scales=(0.5,))
    found = pool_windows(bank, settings)
    tokens = bank.read([0], ("tokens",))["tokens"].reshape(4, 4, -1).astype(np.float32)
    np.testing.assert_allclose(found.foreground[0], tokens[:3, :3].mean((0, 1)), rtol=1e-4, atol=1e-5)
    assert found.counts[:, 0].tolist() == [len(found.foreground) // 9] * 9


@pytest.mark.parametrize(("source", "bank"), [("exact", "lastblock"), ("tokens", "whole")])
def test_pseudo_labels_are_rows_of_their_own(world: dict[str, Path], source: str, bank: str) -> None:
    settings = {**SOURCES[source], "stage": "pseudo_labels"}
    checkpoint = train_in(world, f"maps-{source}", settings)
    with pytest.raises(UserError, match="holds the centroids of pseudo labels and no segmenter"):
        load_head(checkpoint)
    trained = load_head(train_in(world, source, SOURCES[source]))
    with PredictionReader(predict_in(world, checkpoint, bank)) as reader:
        scores = reader.scores("k3-s0", 0, 9)
    opened = open_bank(world[bank])
    assert scores is not None
    if source == "tokens":
        stored = {n.removeprefix("projection/"): t.numpy() for n, t in trained.extra.items() if "/" in n}
        tokens = opened.read([4], ("tokens",))["tokens"].reshape(16, -1)
        points = Projection.from_arrays(stored)(tokens)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        centres = trained.extra["centroids"].numpy()
        cosines = points @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
        np.testing.assert_array_equal(scores[4].reshape(3, 16).argmax(0), cosines.argmax(1))
    else:
        tail = load_tail(opened.folder, content_hash(opened.record))
        made = gradient_rows(opened, tail, trained.extra["centroids"].numpy(), 8, torch.device("cpu"))
        for row, (base, push) in enumerate(made):
            maps = np.where(push < 0, 0, base + push)
            maps = (maps - maps.min()) / np.ptp(maps)
            background = np.maximum(0.1 - maps.max(0), 0)
            expected = np.concatenate([background[None], maps]).argmax(0)
            np.testing.assert_array_equal(scores[row].reshape(3, 16).argmax(0), expected)


def test_banks_have_to_belong_together(world: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="the banks whole and augmented hold different images"):
        train_in({**world, "whole": world["val"]}, "mixed", SOURCES["tokens"])


def test_a_head_that_does_not_fit(world: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="heads is 5, which does not divide the tokens' width 192"):
        train_in(world, "heads", {**EXACT, "heads": 5})
    with pytest.raises(UserError, match="name its checkpoint"):
        run_predict(predict_job("transfgu", Path()))
