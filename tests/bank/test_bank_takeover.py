"""Banks that earlier releases made: read as they are, and taken over where their values are those of today."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bank_factory
import h5py
import numpy as np
import pytest
from bank_factory import extract_all, make_images

from patchbank import open_bank
from patchbank.backbones.tail import load_tail
from patchbank.bank import fill as fill_module
from patchbank.bank import predecessors
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.format import content_hash
from patchbank.bank.predecessors import BY_IMPORTS, BY_VALUES, same_values
from patchbank.bank.verify import describe_bank, verify_bank
from patchbank.bank.writer import ShardWriter
from patchbank.errors import UserError
from patchbank.files import digest, write_json

WHOLE = ExtractSettings("whole", {"size": 32}, images_per_shard=4, batch_tokens=64)
BLOCK = ExtractSettings("lastblock", {"size": 32}, images_per_shard=8, batch_tokens=64)


def age(pointer: Path, code: str, package: str = "0.1.0") -> Path:
    """Turn a bank into one of the first records: package and code by imports, hashed whole, nothing about shards."""
    bank = open_bank(pointer)
    old: dict[str, Any] = {**bank.record, "package": package, "code": code}
    ids = old.pop("ids")
    content = digest({key: v for key, v in old.items() if key not in ("manifest", "shards", "images")}, 16)
    for shard in bank.folder.glob("0*.h5"):
        with h5py.File(shard, "r+") as file:
            file.attrs["content"] = content
    folder = bank.folder.with_name(f"{old['recipe']['name']}-{digest(old)}")
    assert folder != bank.folder
    bank.folder.rename(folder)
    write_json(folder / "bank.json", {**old, "ids": ids})
    write_json(pointer, {"bank": str(folder), "record": old})
    return folder


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that are computed from here on."""
    names: list[str] = []
    monkeypatch.setattr(
        fill_module, "ShardWriter", lambda path, *rest: (names.append(path.name), ShardWriter(path, *rest))[1]
    )
    return names


def tokens_of(pointer: Path) -> np.ndarray[Any, Any]:
    bank = open_bank(pointer, check=True)
    tokens: np.ndarray[Any, Any] = bank.read(np.arange(len(bank)), ("tokens",))["tokens"]
    return tokens


def test_a_bank_of_the_first_records_is_read_and_taken_over(tmp_path: Path, computed: list[str]) -> None:
    code = BY_IMPORTS["whole"][1]
    make_images(tmp_path, 9)
    pointer = extract_all(tmp_path, WHOLE)
    expected = tokens_of(pointer)
    made = len(computed)
    assert made > 1
    old = age(pointer, code)
    np.testing.assert_array_equal(tokens_of(pointer), expected)
    assert verify_bank(old) == 9
    assert code in describe_bank(old)

    extract_all(tmp_path, WHOLE)
    assert len(computed) == made
    new = open_bank(pointer)
    assert new.folder != old
    assert "package" not in new.record
    np.testing.assert_array_equal(tokens_of(pointer), expected)
    assert verify_bank(new.folder) == 9
    for shard in old.glob("0*.h5"):
        assert shard.samefile(new.folder / shard.name)

    added = make_images(tmp_path, 1, start=50)
    extract_all(tmp_path, WHOLE)
    assert len(computed) == made + len(added)
    assert len(tokens_of(pointer)) == 10
    contents = json.loads((open_bank(pointer).folder / "bank.json").read_text())["contents"]
    assert len(contents) == 2


def test_shards_of_before_deep_pictures_were_treated_are_not_taken_over(tmp_path: Path) -> None:
    make_images(tmp_path, 3)
    record = open_bank(extract_all(tmp_path, WHOLE)).record
    before = set(same_values(record)[1 + len(BY_VALUES["whole"]) :])
    assert len(before) == len(BY_IMPORTS["whole"])
    deep = {**record, "depth": {"method": "clip"}}
    assert before.isdisjoint(same_values(deep))
    assert len(same_values(deep)) == 1 + len(BY_VALUES["whole"])


@pytest.mark.parametrize(("code", "package"), [("0123456789abcdef", "0.1.0"), (BY_IMPORTS["whole"][0], "0.0.9")])
def test_a_bank_of_other_code_is_read_but_not_taken_over(
    tmp_path: Path, computed: list[str], code: str, package: str
) -> None:
    make_images(tmp_path, 5)
    pointer = extract_all(tmp_path, WHOLE)
    made = len(computed)
    age(pointer, code, package)
    assert len(tokens_of(pointer)) == 5
    extract_all(tmp_path, WHOLE)
    assert len(computed) == 2 * made


def test_a_damaged_shard_is_not_taken_over(tmp_path: Path, computed: list[str]) -> None:
    make_images(tmp_path, 9)
    pointer = extract_all(tmp_path, WHOLE)
    old, made = age(pointer, BY_IMPORTS["whole"][0]), len(computed)
    shard = min(old.glob("0*.h5"))
    with h5py.File(shard, "r+") as file:
        file["tokens"][0, 0, 0, 0] = 7
    extract_all(tmp_path, WHOLE)
    assert computed[made:] == [shard.name]
    assert verify_bank(open_bank(pointer).folder) == 9


def test_the_file_beside_the_shards_belongs_to_the_new_bank(tmp_path: Path, computed: list[str]) -> None:
    make_images(tmp_path, 3)
    pointer = extract_all(tmp_path, BLOCK)
    old, made = age(pointer, BY_IMPORTS["lastblock"][0]), len(computed)
    extract_all(tmp_path, BLOCK)
    assert len(computed) == made
    new = open_bank(pointer)
    load_tail(new.folder, content_hash(new.record))
    with pytest.raises(UserError, match="belongs to another bank"):
        load_tail(new.folder, content_hash(open_bank(old).record))


def test_another_name_of_the_backbone_computes_nothing(
    tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path, 5)
    pointer = extract_all(tmp_path, WHOLE)
    expected, made = tokens_of(pointer), len(computed)
    monkeypatch.setattr(bank_factory, "TINY", replace(bank_factory.TINY, name="renamed"))
    extract_all(tmp_path, WHOLE)
    bank = open_bank(pointer)
    assert (bank.record["backbone"]["name"], len(computed)) == ("renamed", made)
    assert bank.folder.parent.name.startswith("renamed-")
    np.testing.assert_array_equal(tokens_of(pointer), expected)


def test_code_that_changed_without_values_keeps_banks(
    tmp_path: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path, 5)
    pointer = extract_all(tmp_path, WHOLE)
    before, made = open_bank(pointer).record["code"], len(computed)
    monkeypatch.setattr("patchbank.bank.record.values_code", lambda *_: "of tomorrow")
    monkeypatch.setattr(predecessors, "BY_VALUES", {"whole": (before,)})
    extract_all(tmp_path, WHOLE)
    bank = open_bank(pointer)
    assert (bank.record["code"], len(computed)) == ("of tomorrow", made)
    assert content_hash({**bank.record, "code": before}) in same_values(bank.record)
    assert len(tokens_of(pointer)) == 5
