"""The bank: writer, shards, reader, checks, resume, statistics. Small random encoder, no real weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from bank_factory import TINY, extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from patchbank import open_bank
from patchbank.bank import fill as fill_module
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.format import cut, shard_count, shard_of
from patchbank.bank.statistics import compute_statistics
from patchbank.bank.verify import describe_bank, verify_bank
from patchbank.bank.writer import ShardWriter
from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import read_json, write_json

WHOLE = ExtractSettings("whole", {"size": 64}, images_per_shard=4, batch_tokens=64)
CROPS = ExtractSettings("multicrop", {"size": 32, "draws": 2}, images_per_shard=4, batch_tokens=16)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_images(folder, 11)
    extract_all(folder, WHOLE)
    extract_all(folder, CROPS)
    return folder


def test_shapes_and_contents(world: Path) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    assert (len(bank), bank.draws, bank.views, bank.tokens_per_view, bank.dim) == (22, 2, 3, 4, 192)
    assert bank.grid == (2, 2)
    assert bank.images == sorted(bank.images)
    sample = bank[3]
    assert sample["tokens"].dtype == torch.float16
    assert sample["tokens"].shape == (3, 4, 192)
    assert sample["cls_attention"].shape == (3, 3, 4)
    assert sample["boxes"].shape == (3, 4)
    assert not sample["flip"].any()


def test_stored_tokens_are_what_the_encoder_says(world: Path) -> None:
    from patchbank.backbones.vit import FrozenViT
    from patchbank.datasets.images import load_image
    from patchbank.views.whole import Recipe

    manifest = Manifest.load(world / "manifest.json")
    bank = open_bank(str(world / "whole.json"))
    vit = FrozenViT(TINY, world / "weights.safetensors", device="cpu")
    entry = manifest.entries("train")[5]
    views = Recipe(patch=16, size=64).make(load_image(manifest.root / entry.image), entry.id, 0)
    expected = vit(vit.normalise(torch.from_numpy(views.pixels.copy())))
    row = bank.images.index(entry.id)
    stored = bank.read([row], ("tokens", "cls", "cls_attention"))
    np.testing.assert_allclose(stored["tokens"][0], expected.tokens.numpy(), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(stored["cls"][0], expected.cls.numpy(), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(stored["cls_attention"][0], expected.cls_attention.numpy(), rtol=2e-3, atol=1e-3)


def test_rows_come_in_the_asked_order_and_into_given_buffers(world: Path) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    rows = np.array([20, 0, 7, 7])
    out = {"tokens": np.empty((4, 3, 4, 192), np.float16)}
    result = bank.read(rows, ("tokens",), out)
    assert result["tokens"] is out["tokens"]
    for i, row in enumerate(rows.tolist()):
        np.testing.assert_array_equal(out["tokens"][i], bank[row]["tokens"].numpy())
    with pytest.raises(IndexError):
        bank.read([22])


@pytest.mark.parametrize("last", [-1, 21, np.int64(-1), np.uint8(21), torch.tensor(-1)])
def test_an_index_counts_from_the_end_as_in_a_list(world: Path, last: int) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    expected = bank.read([21], ("tokens",))["tokens"][0]
    np.testing.assert_array_equal(bank[last]["tokens"].numpy(), expected)
    np.testing.assert_array_equal(bank.__getitems__([0, last])[1]["tokens"].numpy(), expected)
    np.testing.assert_array_equal(bank[-22]["tokens"].numpy(), bank[0]["tokens"].numpy())


@pytest.mark.parametrize("outside", [22, -23, np.int64(100)])
def test_an_index_outside_is_none(world: Path, outside: int) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    with pytest.raises(IndexError, match=f"sample {outside} of a bank with 22"):
        bank[outside]
    assert len(list(bank)) == 22  # iteration ends by the IndexError


@pytest.mark.parametrize("wrong", [1.5, 1.0, np.float32(1), "1", None, True, np.True_, slice(0, 2), [1]])
def test_an_index_is_a_whole_number(world: Path, wrong: object) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    with pytest.raises(TypeError):
        bank[wrong]  # type: ignore[index]


def test_rows_are_whole_numbers_from_0(world: Path) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    for wrong in ([1.5], np.array([True, False])):
        with pytest.raises(TypeError, match="samples of a bank are whole numbers"):
            bank.read(wrong)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="sample -1 of a bank with 22"):
        bank.read([0, -1])
    assert bank.read([])["tokens"].shape[0] == 0


def test_a_bank_without_images_is_described_as_such(world: Path, tmp_path: Path) -> None:
    folder = open_bank(str(world / "whole.json")).folder
    record = read_json(folder / "bank.json")
    write_json(tmp_path / "bank.json", {**record, "ids": [], "images": 0})
    assert "recipe     whole: nothing is stored: the bank holds no image" in describe_bank(tmp_path)
    assert verify_bank(tmp_path) == 0
    assert main(["verify", str(tmp_path)]) == 0
    with pytest.raises(UserError, match="holds no images"):
        open_bank(tmp_path).views  # noqa: B018


def test_fewer_draws_are_a_prefix_of_more(world: Path) -> None:
    full, first = open_bank(str(world / "multicrop.json")), open_bank(str(world / "multicrop.json"), draws=1)
    assert len(first) == 11
    for i in range(11):
        torch.testing.assert_close(first[i]["tokens"], full[2 * i]["tokens"])
    with pytest.raises(UserError, match="holds 2 draws, 3 were asked for"):
        open_bank(str(world / "multicrop.json"), draws=3)


def test_data_loader_with_worker_processes_reads_the_same_rows(world: Path) -> None:
    bank = open_bank(str(world / "multicrop.json"))
    bank[0]  # maps exist before the workers do
    loaded = torch.cat([batch["tokens"] for batch in DataLoader(bank, batch_size=5, num_workers=2)])
    np.testing.assert_array_equal(loaded.numpy(), bank.read(np.arange(22), ("tokens",))["tokens"])


def test_the_joined_view_shows_all_rows(world: Path) -> None:
    bank = open_bank(str(world / "whole.json"))
    with h5py.File(bank.folder / "bank.h5", "r") as joined:
        np.testing.assert_array_equal(joined["tokens"][:], bank.read(np.arange(11), ("tokens",))["tokens"])
        assert [i.decode() for i in joined["image"][:]] == bank.images


def test_statistics_are_those_of_the_stored_tokens(world: Path, tmp_path: Path) -> None:
    statistics = compute_statistics(world / "whole.json", tmp_path / "s.npz")
    bank = open_bank(str(world / "whole.json"))
    tokens = bank.read(np.arange(11), ("tokens",))["tokens"].reshape(-1, 192).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, tokens.mean(0), atol=1e-12)
    np.testing.assert_allclose(statistics.std, tokens.std(0), atol=1e-9)
    assert statistics.count == 11 * 16


def test_extraction_gives_the_same_bytes_again(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "again", ignore=shutil.ignore_patterns("bank", "*whole.json"))
    extract_all(tmp_path / "again", WHOLE)
    ours, again = open_bank(str(world / "whole.json")), open_bank(str(tmp_path / "again" / "whole.json"))
    assert ours.folder.name == again.folder.name
    for shard in ours.folder.glob("0*.h5"):
        assert shard.read_bytes() == (again.folder / shard.name).read_bytes()


def test_verify_names_the_damaged_row_and_check_refuses_it(world: Path, tmp_path: Path) -> None:
    bank = open_bank(str(world / "whole.json"))
    assert verify_bank(bank.folder) == 11
    shutil.copytree(bank.folder, tmp_path / "bank")
    shard = min((tmp_path / "bank").glob("0*.h5"))
    with h5py.File(shard, "r") as file:
        offset, image = file["tokens"].id.get_offset(), file["image"][0].decode()
    data = bytearray(shard.read_bytes())
    data[offset + 17] ^= 0x10
    shard.write_bytes(bytes(data))
    with pytest.raises(UserError, match=f"row 0 .image {image}. does not match its checksum"):
        verify_bank(tmp_path / "bank")
    damaged = open_bank(str(tmp_path / "bank"), check=True)
    with pytest.raises(UserError, match=rf"checksum. Delete {shard.name} of it, which extraction made"):
        damaged.read(np.arange(11))


def test_verify_adds_up_what_statistics_are_made_of(world: Path, tmp_path: Path) -> None:
    shutil.copytree(open_bank(str(world / "whole.json")).folder, tmp_path / "bank")
    shard = min((tmp_path / "bank").glob("0*.h5"))
    for name in ("sum", "square_sum"):
        with h5py.File(shard, "r+") as file:
            before = file[name][3]
            file[name][3] = before * 1.01 + 0.5
        with pytest.raises(UserError, match=f"{shard.name}: its sums, which the statistics are made of"):
            verify_bank(tmp_path / "bank")
        with h5py.File(shard, "r+") as file:
            file[name][3] = before
    assert verify_bank(tmp_path / "bank") == 11


def test_truncated_missing_and_foreign_shards_are_named(world: Path, tmp_path: Path) -> None:
    bank = open_bank(str(world / "whole.json"))
    for damage in ("truncated", "missing", "foreign"):
        folder = tmp_path / damage
        shutil.copytree(bank.folder, folder)
        shard = min(folder.glob("0*.h5"))
        if damage == "truncated":
            shard.write_bytes(shard.read_bytes()[:500])
        elif damage == "missing":
            shard.unlink()
        else:
            with h5py.File(shard, "r+") as file:
                file.attrs["content"] = "of another bank"
        with pytest.raises(UserError, match=str(shard.name)):
            open_bank(str(folder)).read(np.arange(11))


def test_no_bank_and_another_format_are_said_in_one_sentence(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_bank(str(tmp_path / "nothing.json"))
    (tmp_path / "bank.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match=r"is a bank of format 99, this version reads 1"):
        open_bank(str(tmp_path))


def test_complete_shards_survive_and_others_are_computed_again(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("multicrop*"))
    folder = tmp_path / "w"
    bank_folder = next((folder / "bank").rglob("bank.json")).parent
    shards = sorted(bank_folder.glob("0*.h5"))
    kept = shards[1].stat().st_mtime_ns
    shards[0].write_bytes(b"half written")
    computed: list[str] = []
    monkeypatch.setattr(
        fill_module, "ShardWriter", lambda path, *rest: (computed.append(path.name), ShardWriter(path, *rest))[1]
    )
    extract_all(folder, WHOLE)
    assert computed == [shards[0].name]
    assert shards[1].stat().st_mtime_ns == kept
    assert verify_bank(bank_folder) == 11


def test_adding_an_image_computes_only_its_shard(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("multicrop*"))
    folder = tmp_path / "w"
    before = next((folder / "bank").rglob("bank.json")).parent
    added = make_images(folder, 1, start=100)[0]
    computed: list[str] = []
    monkeypatch.setattr(
        fill_module, "ShardWriter", lambda path, *rest: (computed.append(path.name), ShardWriter(path, *rest))[1]
    )
    extract_all(folder, WHOLE)
    after = open_bank(str(folder / "whole.json"))
    assert after.folder != before
    assert len(after) == 12
    assert computed == [f"{shard_of(added, after.record['shards']):04d}.h5"]
    assert verify_bank(after.folder) == 12


def test_a_value_beyond_float16_stops_and_names_image_view_channel(tmp_path: Path) -> None:
    shapes = {
        "tokens": ((1, 2, 3), np.dtype(np.float16)),
        "cls": ((1, 3), np.dtype(np.float16)),
        "cls_attention": ((1, 1, 2), np.dtype(np.float16)),
        "boxes": ((1, 4), np.dtype(np.float32)),
        "flip": ((1,), np.dtype(np.uint8)),
    }
    fields = {name: np.zeros((2, *shape), np.float32) for name, (shape, _) in shapes.items()}
    for bad in (1e6, np.nan):
        fields["tokens"][1, 0, 1, 2] = bad
        writer = ShardWriter(tmp_path / "0000.h5", "content", 2, shapes)
        with pytest.raises(UserError, match="image bbbb, view 0, channel 2: tokens is"), writer:
            writer.write(["aaaa", "bbbb"], fields)
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_space_stops_before_any_work(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("bank"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="GB free; free some space, point bank_root"):
        extract_all(tmp_path / "w", WHOLE)


def test_parts_of_a_bank_together_are_the_whole(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("bank", "whole*"))
    extract_all(tmp_path / "w", WHOLE, parts=3)
    one, many = open_bank(str(world / "whole.json")), open_bank(str(tmp_path / "w" / "whole.json"))
    np.testing.assert_array_equal(
        one.read(np.arange(11), ("tokens",))["tokens"], many.read(np.arange(11), ("tokens",))["tokens"]
    )


def test_another_setting_is_another_bank(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "w")
    extract_all(tmp_path / "w", replace(WHOLE, recipe_settings={"size": 48}))
    assert open_bank(str(tmp_path / "w" / "whole.json")).grid == (3, 3)


def test_info_says_what_a_bank_holds(world: Path) -> None:
    text = describe_bank(world / "multicrop.json")
    assert "2 draw(s) of 3 view(s), 32x32 pixels, grid 2x2" in text
    assert "(22, 3, 4, 192) float16" in text


@given(st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), unique=True), st.integers(1, 10))
def test_cutting_keeps_every_image_once_in_order(ids: list[str], per_shard: int) -> None:
    shards = shard_count(len(ids), per_shard)
    parts = cut(ids, shards)
    assert [i for part in parts for i in part] == sorted(ids)
    assert shards & (shards - 1) == 0
    assert len(ids) <= shards * per_shard
