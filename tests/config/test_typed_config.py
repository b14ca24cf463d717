"""Values reach the configuration as they were typed, from a command line and from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from patchbank.config.config import shipped_schema
from patchbank.config.folders import PROJECT
from patchbank.config.load import command_line_config
from patchbank.config.schema import plain_name
from patchbank.config.typed import NULLS, from_entries, read_values, typed_config
from patchbank.errors import UserError

SCHEMA = shipped_schema()
SHIPPED = PROJECT / "config.yaml"
LETTERS = st.characters(codec="utf-8", exclude_characters="'\"")
ENTRY = "{layout: folder, backbone: dino_vits8}"


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("folder=2024_05", "2024_05"),
        ("folder=1e3", "1e3"),
        ("folder=007", "007"),
        ("folder=no", "no"),
        ("folder=True", "True"),
        ("folder=2024-05-01", "2024-05-01"),
        ("folder=a: b", "a: b"),
        ("folder=[a]", "[a]"),
        ("folder=a=b", "a=b"),
        ("folder='1_0'", "1_0"),
        ("folder=null", None),
        ("folder=", None),
        ("data_root=1_000", "1_000"),
        ("classes=5", "5"),
        ("classes=sky,road", "sky,road"),
        ("classes=[1,2]", ["1", "2"]),
        ("classes=[yes, no]", ["yes", "no"]),
        ("seeds=[0,1]", [0, 1]),
        ("seeds=0", 0),
        ("kmeans_seeds=[3]", [3]),
        ("gallery=6", 6),
        ("preprocessing=full", "full"),
        ("all=[]", []),
        (
            "recipes={multicrop: {global_scale: [0.5, 1], augment: true}}",
            {"multicrop": {"global_scale": [0.5, 1], "augment": True}},
        ),
        ("methods={alignseg: {epochs: 3, centre: none}}", {"alignseg": {"epochs": 3, "centre": "none"}}),
        ("backbones={'dino': {'file': 1_0.pth}}", {"dino": {"file": "1_0.pth"}}),
    ],
)
def test_an_entry_is_what_was_typed(entry: str, value: Any) -> None:
    assert from_entries([entry], SCHEMA) == {entry.partition("=")[0]: value}


def test_entries_are_merged_in_order() -> None:
    values = from_entries(
        ["recipes={whole: {size: 64}}", "recipes={multicrop: {draws: 2}}", "gallery=1", "gallery=2"], SCHEMA
    )
    assert values == {"recipes": {"whole": {"size": 64}, "multicrop": {"draws": 2}}, "gallery": 2}


@given(st.text(LETTERS, min_size=1).filter(lambda text: text not in NULLS))
def test_any_text_names_a_folder(text: str) -> None:
    assert from_entries([f"folder={text}"], SCHEMA) == {"folder": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024_05", "2024_05"),
        ("no", "no"),
        ("1.0", "1.0"),
        ("2024-05-01", "2024-05-01"),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_a_file_says_what_was_typed(tmp_path: Path, text: str, value: str | None) -> None:
    rest = "classes: [on, off, 1]\nseeds: [0, 1]\ndatasets: {2024: {root: 1_0}}\n"
    (tmp_path / "c.yaml").write_text(f"folder: {text}\n{rest}")
    assert read_values(tmp_path / "c.yaml", SCHEMA) == {
        "folder": value,
        "classes": ["on", "off", "1"],
        "seeds": [0, 1],
        "datasets": {"2024": {"root": "1_0"}},
    }


def test_the_shipped_configuration_is_read_as_yaml_reads_it() -> None:
    assert typed_config([SHIPPED], [], SCHEMA) == yaml.safe_load(SHIPPED.read_text())


def test_files_and_entries_are_written_over_each_other(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seeds: [7]\ngallery: 3\n")
    config = command_line_config([SHIPPED, tmp_path / "c.yaml"], ["gallery=0"])
    assert config.values["seeds"] == [7]
    assert config.values["gallery"] == 0


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("seeds=0", "seeds: 0 is not a list; write seeds=[0]"),
        ("floors=single", "floors: single is not a list; write floors=[single]"),
        ("seeds=[a]", "seeds.0: a is not a whole number"),
        ("seeds=['0']", "seeds.0: '0' is not a whole number"),
        ("gallery=many", "gallery: many is not a whole number"),
        ("preprocessing=squash", "preprocessing: 'squash' is not one of squash_448_100, squash_320"),
        ("foldr=x", "foldr: unknown key; did you mean 'folder'?"),
        ("seed=[0]", "seed: unknown key; did you mean 'seeds'?"),
        (
            f"datasets={{my-set: {ENTRY}}}",
            "my-set is no name here; use small letters, digits and _, for example my_set",
        ),
        (f"datasets={{Pets: {ENTRY}}}", "Pets is no name here; use small letters, digits and _, for example pets"),
        (f"datasets={{a.b: {ENTRY}}}", "a.b is no name here; use small letters, digits and _, for example a_b"),
        ("all=[My Set]", "all.0: My Set is no name here; use small letters, digits, _ and -, for example my_set"),
        ("recipes={whole: {size: big}}", "recipes.whole.size: big is not a whole number of pixels from 16"),
        ("seeds=[0,", "--config seeds=[0,: cannot be read"),
    ],
)
def test_wrong_values_are_named_in_words(entry: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        command_line_config([SHIPPED], [entry])
    assert words in str(caught.value)
    assert "^[" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"), [("[1, 2]", "holds no keys"), ("", "holds no keys"), ("a: [", "cannot be read as YAML")]
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=f"c.yaml {reason}"):
        read_values(tmp_path / "c.yaml", SCHEMA)


@pytest.mark.parametrize(
    ("text", "name"), [("Meine Bilder (2)", "meine_bilder_2"), ("Ärzte", "arzte"), ("a--b", "a_b"), ("写真", "")]
)
def test_plain_names(text: str, name: str) -> None:
    assert plain_name(text) == name
