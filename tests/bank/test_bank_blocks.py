"""Several blocks in one pass, encoders without a class token, and banks of a folder without a workflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bank_factory import TINY, make_images
from PIL import Image
from safetensors.torch import save_file
from timm_models import randomise

from patchbank import open_bank
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.reader import Bank
from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.files import read_json, sha256_file, write_json
from patchbank.weights.model import build_model
from patchbank.weights.spec import BackboneSpec, Read

WHOLE = ExtractSettings("whole", {"size": 64}, images_per_shard=4, batch_tokens=64)


def bank_of(world: Path, spec: BackboneSpec, root: str, settings: ExtractSettings = WHOLE) -> Bank:
    files, part = (world / "weights.safetensors", world / "weights.json"), world / f"part-{root}.json"
    extract(ExtractJob(world / "manifest.json", "train", spec, *files, settings, world / root, part, threads=1))
    finish([part], world / "manifest.json", world / f"{root}.json")
    return open_bank(world / f"{root}.json")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    make_images(folder, 9)
    return folder


def at(*blocks: int) -> tuple[Read, ...]:
    return tuple((block, TINY.norm) for block in blocks)


def contents(bank: Bank) -> dict[str, np.ndarray]:
    return bank.read(range(len(bank)), ("tokens", "cls", "cls_attention", "boxes"))


def counted_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of every pass of the encoder from now on."""
    passes: list[int] = []
    step = FrozenViT._read

    def counted(self: FrozenViT, inputs: torch.Tensor, reads: list[Read]) -> object:
        passes.append(len(inputs))
        return step(self, inputs, reads)

    monkeypatch.setattr(FrozenViT, "_read", counted)
    return passes


def test_three_blocks_in_one_pass_are_the_three_banks(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {block: contents(bank_of(world, replace(TINY, block=block), f"alone{block}")) for block in (0, 2, 3)}
    passes = counted_passes(monkeypatch)
    several = replace(TINY, block=2, blocks=at(3, 0))
    banks = {2: bank_of(world, several, "several")}
    assert sum(passes) == 9
    for block in (0, 3):  # their shards are there: nothing is computed again
        banks[block] = bank_of(world, replace(TINY, block=block, blocks=at(2)), "several")
    assert sum(passes) == 9
    assert len({bank.folder for bank in banks.values()}) == 3
    for block, bank in banks.items():
        assert bank.record["backbone"]["block"] == block
        for name, values in contents(bank).items():
            np.testing.assert_array_equal(values, alone[block][name])


def test_the_final_norm_of_a_block_is_read_in_the_pass_of_its_tokens_without(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    normed = replace(TINY, block=3, norm=True)
    alone, passes = bank_of(world, normed, "normed-alone"), counted_passes(monkeypatch)
    plain = bank_of(world, replace(TINY, block=2, blocks=(*at(3), normed.read)), "normed")
    bank = bank_of(world, replace(normed, blocks=at(2, 3)), "normed")
    assert sum(passes) == 9
    assert [one.record["backbone"]["norm"] for one in (plain, bank)] == [False, True]
    assert bank.folder.name == alone.folder.name
    for name, values in contents(bank).items():
        np.testing.assert_array_equal(values, contents(alone)[name])
    assert not np.array_equal(contents(bank)["tokens"], contents(plain)["tokens"])


def test_a_block_that_is_left_to_fill_is_not_the_encoders_own(world: Path) -> None:
    """The bank of the encoder's own block is complete, so that one bank is left, of another block."""
    bank_of(world, replace(TINY, block=2), "left")
    bank_of(world, replace(TINY, block=2, blocks=at(0)), "left")
    bank = bank_of(world, replace(TINY, block=0, blocks=at(2)), "left")
    expected = contents(bank_of(world, replace(TINY, block=0), "left-alone"))
    for name, values in contents(bank).items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_recipe_that_encodes_by_itself_reads_one_block(world: Path) -> None:
    settings = ExtractSettings("flipped", {"size": 64}, images_per_shard=4, batch_tokens=64)
    bank = bank_of(world, replace(TINY, block=0, blocks=at(2)), "flipped", settings)
    assert bank.record["backbone"]["block"] == 0
    expected = contents(bank_of(world, replace(TINY, block=0), "flipped-alone", settings))
    np.testing.assert_array_equal(contents(bank)["tokens"], expected["tokens"])
    assert len(list((world / "flipped").rglob("bank.json"))) == 1


@pytest.fixture(scope="module")
def without_class(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BackboneSpec]:
    folder = tmp_path_factory.mktemp("classless")
    make_images(folder, 3)
    spec = BackboneSpec("gap", "test_vit3", block=1)
    model = build_model(spec.model)
    randomise(model)
    save_file(model.state_dict(), folder / "weights.safetensors")
    write_json(folder / "weights.json", {"sha256": sha256_file(folder / "weights.safetensors")})
    return folder, spec


@pytest.mark.parametrize("recipe", ["whole", "flipped"])
def test_a_bank_without_a_class_token_holds_tokens_alone(recipe: str, without_class: tuple[Path, BackboneSpec]) -> None:
    world, spec = without_class
    bank = bank_of(world, spec, recipe, ExtractSettings(recipe, {"size": 64}, images_per_shard=4))
    assert bank.fields == ("tokens", "boxes", "flip", "image")
    assert bank.record["recipe"]["fields"] == list(bank.fields)
    assert bank.read([0], ("tokens",))["tokens"].shape == (1, 1, 16, bank.dim)
    with pytest.raises(UserError, match="holds none of cls_attention; it holds tokens, boxes, flip, image"):
        bank.read([0])
    assert main(["verify", str(bank.folder)]) == 0


def test_pixels_need_no_class_token(without_class: tuple[Path, BackboneSpec]) -> None:
    world, spec = without_class
    bank = bank_of(world, spec, "pixels", ExtractSettings("pixels", {"size": 64}, images_per_shard=4))
    assert bank.fields == ("pixels", "boxes", "flip", "image")
    assert main(["verify", str(bank.folder)]) == 0


@pytest.mark.parametrize("recipe", ["windows", "lastblock"])
def test_what_is_stored_of_a_class_token_alone_is_refused(
    recipe: str, without_class: tuple[Path, BackboneSpec]
) -> None:
    world, spec = without_class
    with pytest.raises(UserError, match=f"Recipe {recipe} stores what an encoder says by its class token"):
        bank_of(world, spec, recipe, ExtractSettings(recipe, {"size": 64}))


def test_a_folder_becomes_banks_without_a_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    torch.manual_seed(0)
    torch.save(build_model("test_vit").state_dict(), tmp_path / "w.pth")
    call = ["extract", "pictures", "--out", "out", "--model", "test_vit", "--file", "w.pth", "--size", "64"]
    assert main([*call, "--block", "1", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in said] == ["out/train-b3.json", "out/train-b1.json"]
    for block in (1, 3):
        bank = open_bank(tmp_path / f"out/train-b{block}.json")
        assert (len(bank), bank.grid, bank.record["backbone"]["block"]) == (3, (4, 4), block)
    assert read_json(tmp_path / "out/weights/weights.json")["mean"] == [0.5, 0.5, 0.5]
    assert main([*call, "--block", "1", "3"]) == 0
    assert main(call) == 1
    assert "of a run of other backbone; name another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "test_vit"], "--model test_vit needs the weights: --file WEIGHTS"),
        (["--backbone", "nothing"], "--backbone nothing is not one of the configuration's (dinov2_vits14_saliency"),
        (["--backbone", "dino_vits16", "--file", "x.pth"], "--file, --mean and --std belong to --model"),
        (["--model", "vit_small_patch16_224", "--file", "x.pth"], "mean and std are not known (timm's weights"),
        (["--backbone", "dino_vits16", "--block", "12"], "block 12 does not exist, vit_small_patch16_224 has 0..11"),
    ],
)
def test_what_an_encoder_is_has_to_be_said(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    assert main(["extract", "pictures", "--out", "out", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_outputs_among_the_pictures_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    assert main(["extract", "pictures", "--out", "pictures/out", "--backbone", "dino_vits16"]) == 1
    assert "lies inside pictures, whose pictures are read" in capsys.readouterr().err
