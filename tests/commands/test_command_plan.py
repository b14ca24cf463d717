"""`patchbank plan`: bytes are those that extraction writes, hours those of a hand-made calculation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from bank_factory import TINY, extract_all, make_images
from PIL import Image

from patchbank.bank.encode import row_shapes
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.format import row_bytes
from patchbank.bank.identity import depth_code
from patchbank.bank.reader import open_bank
from patchbank.cli import main
from patchbank.config.config import Config
from patchbank.config.load import checked, default_config
from patchbank.config.schema import merge
from patchbank.datasets.depth import Treatment
from patchbank.planning.cost import Machine, _Encoder, stages_of
from patchbank.views.base import make_recipe

COUNTED = {"train": 1000, "val": 100}


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_bytes_of_a_row_are_those_of_a_bank(tmp_path: Path) -> None:
    make_images(tmp_path, 2)
    bank = open_bank(extract_all(tmp_path, ExtractSettings("whole", {"size": 32})))
    facts = TINY.facts
    assert facts is not None
    recipe = make_recipe("whole", {"size": 32}, facts.patch)
    shapes = row_shapes(_Encoder(facts), recipe, bank.dtype)  # type: ignore[arg-type]
    stored = bank.read([0], bank.fields[:-1])
    assert {name: (value.shape[1:], value.dtype) for name, value in stored.items()} == shapes
    assert row_bytes(shapes) == sum(value.nbytes for value in stored.values())


@pytest.mark.parametrize(
    ("settings", "stored"),
    [
        # 1,024 patches of 448x448; class token and its attention, box and flip beside them
        ({"extract": {"dtype": "int8"}}, 1024 * 384),
        ({"extract": {"pca": 96}}, 2 * 1024 * 96),
        ({"extract": {"pca": 96, "dtype": "int8"}}, 1024 * 96),
    ],
)
def test_bytes_of_small_banks_by_hand(settings: dict[str, Any], stored: int) -> None:
    bank = {s.name: s for s in stages_of(demo_with(settings), "demo", COUNTED, Machine("cpu", 2))}["bank val-whole"]
    assert bank.size == 100 * (stored + 2 * (384 + 6 * 1024) + 16 + 1)


def test_a_dense_bank_takes_a_pass_a_shift() -> None:
    plain, dense = (
        {s.name: s for s in stages_of(demo_with(settings), "demo", COUNTED, Machine("cpu", 2))}["bank val-whole"]
        for settings in ({}, {"recipes": {"whole": {"shift": 2}}})
    )
    assert dense.size == 100 * (2 * (4096 * 384 + 384 + 6 * 4096) + 16 + 1)
    reading = 100 / 457
    assert plain.seconds is not None
    assert dense.seconds == pytest.approx(4 * (plain.seconds - reading) + reading)


def test_a_bank_of_pixels_takes_no_pass() -> None:
    methods = {"primaps": {"refine": "pamr", "size": 320}}
    stages = {s.name: s for s in stages_of(demo_with({"methods": methods}), "demo", COUNTED, Machine("cpu", 2))}
    bank = stages["bank train-pixels"]
    assert bank.size == 1000 * (448 * 448 * 3 + 16 + 1)
    assert bank.seconds == pytest.approx(1000 / 457)
    assert "bank val-pixels" not in stages


def demo_with(settings: dict[str, Any]) -> Config:
    return checked(merge(default_config().values, {"datasets": {"demo": {"settings": settings}}}))


def test_hours_and_bytes_of_demo_by_hand() -> None:
    stages = {s.name: s for s in stages_of(default_config(), "demo", {"train": 1000, "val": 100}, Machine("cpu", 4))}
    # ViT-S/14 up to block 8 of 448x448: 1,024 patches and the class token, 6 heads, float16; box and flip
    whole = 2 * (1024 * 384 + 384 + 6 * 1024) + 16 + 1
    assert stages["bank train-whole"].size == 1000 * whole
    assert stages["bank val-whole"].size == 100 * whole
    one_pass = 9 * (24 * 1025 * 384**2 + 4 * 1025**2 * 384)
    seconds = 1000 * one_pass / (2 * 0.144e12) + 1000 / (2 * 457)
    assert stages["bank train-whole"].seconds == pytest.approx(seconds)
    # 2 draws of 3 views of 224x224
    crops = 2 * 3 * (2 * (256 * 384 + 384 + 6 * 256) + 16 + 1)
    assert stages["bank train-multicrop"].size == 1000 * crops
    # 60 epochs of 31 steps, 3 seeds, at twice the measured rate
    assert stages["3 trainings of alignseg"].seconds == pytest.approx(60 * 31 * 3 / 24.2)
    assert stages["3 trainings of kmeans"].seconds is None


def test_the_command_prints_a_table_and_what_halves_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "demo", "--device", "h100"]) == 0
    said = capsys.readouterr().out
    assert "images (the configuration); h100, 16 cores" in said
    assert "bank train-multicrop" in said
    assert "are free, which is enough." in said
    assert "`methods: alignseg: tokens_from: whole` leaves 50% of the GB" in said
    (total,) = (line.split() for line in said.splitlines() if line.startswith("all "))
    assert total[-2] == ">"  # trainings of k-means have no rate


def test_draws_of_any_recipe_that_a_row_reads_can_be_halved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = {"primaps": {"stage": "em", "student": "recoloured"}}
    own = {"datasets": {"demo": {"settings": {"methods": methods, "recipes": {"recoloured": {"draws": 40}}}}}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    assert main(["plan", "demo", "--config", str(tmp_path / "own.yaml")]) == 0
    assert "`recipes: recoloured: draws: 20` leaves" in capsys.readouterr().out


def test_a_dense_grid_is_named_and_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text("datasets: {demo: {settings: {recipes: {whole: {shift: 2}}}}}\n")
    monkeypatch.setattr("patchbank.commands.plan.shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert main(["plan", "demo", "--config", str(tmp_path / "own.yaml")]) == 0
    said = capsys.readouterr().out
    assert "`recipes: whole: shift: 1` leaves" in said
    assert "which is NOT enough: point bank_root to a larger disk." in said


def test_banks_that_are_there_cost_nothing_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_images(tmp_path, 3)
    tiny = {"model": TINY.model, "file": "weights.safetensors", "block": TINY.block, "norm": TINY.norm}
    tiny |= {"mean": list(TINY.mean), "std": list(TINY.std)}
    toy = {"layout": "folder", "root": str(tmp_path / "data"), "backbone": "tiny", "classes": ["a", "b", "c"]}
    own = {
        "backbones": {"tiny": tiny},
        "datasets": {"toy": toy},
        "recipes": {"whole": {"size": 32}},
        "bank_root": "bank",
    }
    Path("own.yaml").write_text(yaml.safe_dump(own))
    config = checked(merge(default_config().values, own))

    def there(images: int = 3) -> dict[str, bool]:
        stages = stages_of(config, "toy", {"train": images, "val": images}, Machine("cpu", 2))
        assert all((stage.size, stage.seconds) == (0, 0.0) for stage in stages if stage.there)
        assert all(stage.size > 0 for stage in stages if stage.name.startswith("bank") and not stage.there)
        return {stage.name: stage.there is not None for stage in stages if stage.name.startswith("bank")}

    assert not any(there().values())
    folder = open_bank(extract_all(tmp_path, ExtractSettings("whole", {"size": 32}))).folder
    assert [name for name, is_there in there().items() if is_there] == ["bank train-whole"]
    assert not any(there(4).values())
    assert main(["plan", "toy", "--config", "own.yaml"]) == 0
    said = capsys.readouterr().out
    assert f"bank train-whole is there: {folder.relative_to(tmp_path)}" in said
    assert "GB more below" in said
    # other settings, another block, other weights, other images: another bank
    others: list[dict[str, Any]] = [{"dtype": "float32"}, {"pca": 96}, {"images_per_shard": 1}]
    deep = {"datasets": {"toy": {"depth": {"scale": "minmax"}}}}
    for changed in (*({"extract": other} for other in others), {"recipes": {"whole": {"size": 48}}}, deep):
        config = checked(merge(merge(default_config().values, own), changed))
        assert not any(there().values())
    config = checked(merge(merge(default_config().values, own), {"backbones": {"tiny": {"block": 2}}}))
    assert not any(there().values())
    config = checked(merge(default_config().values, own))
    weights, manifest = tmp_path / "results/weights/tiny/weights.json", tmp_path / "results/toy/manifest.json"
    weights.parent.mkdir(parents=True)
    manifest.parent.mkdir(parents=True)
    shutil.copy(tmp_path / "weights.json", weights)
    shutil.copy(tmp_path / "manifest.json", manifest)
    assert there()["bank train-whole"]
    weights.write_text('{"sha256": "another"}')
    assert not any(there().values())
    shutil.copy(tmp_path / "weights.json", weights)
    kept = json.loads(manifest.read_text())
    kept["splits"]["train"][0]["id"] = "0" * 16
    manifest.write_text(json.dumps(kept))
    assert not any(there().values())
    # another treatment of deep pictures, a shard that is gone, a damaged record
    shutil.copy(tmp_path / "manifest.json", manifest)
    assert there()["bank train-whole"]
    whole = json.loads((folder / "bank.json").read_text())
    deep_record = {**whole, "depth": {**Treatment().to_json(), "code": depth_code()}}
    damaged: list[Any] = [{}, [], {"images": 3}, {**whole, "backbone": None}, {**whole, "shards": 3}]
    for record in (deep_record, *damaged):
        (folder / "bank.json").write_text(json.dumps(record))
        assert not any(there().values())
    (folder / "bank.json").write_text(json.dumps(deep_record))
    kept = json.loads((tmp_path / "manifest.json").read_text())
    manifest.write_text(json.dumps({**kept, "depth": Treatment().to_json()}))
    assert there()["bank train-whole"]
    manifest.write_text(json.dumps({**kept, "depth": Treatment("minmax").to_json()}))
    assert not any(there().values())
    manifest.unlink()
    assert not any(there().values())
    (folder / "bank.json").write_text(json.dumps(whole))
    assert there()["bank train-whole"]
    next(folder.glob("0*.h5")).unlink()
    assert not any(there().values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["moon"], "'moon' is not a set of the configuration (camvid"),
        (["demo", "--device", "abacus"], "No rates of --device abacus were measured; there are rates of cpu, h100."),
    ],
)
def test_what_is_not_known_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_folder_that_asks_for_k_is_planned_before_k_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(3):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{index}.png")
    Path("auto.yaml").write_text(f"folder: {tmp_path}\nname: plain\nclustering: {{k: auto}}\n")
    assert main(["plan", "plain", "--config", "auto.yaml"]) == 0
    said = capsys.readouterr().out
    assert "bank train-whole" in said
    assert "leaves" in said
