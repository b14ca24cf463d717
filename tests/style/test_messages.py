"""What messages name exists: every `a.b` of a sentence is a key of the configuration."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KEY = re.compile(r"(?<![\w./$<{}-])[a-z][a-z_]*(?:\.(?:[a-z][a-z0-9_]*|\{\}|<[a-z]+>))+(?![\w/(-])")
FILES = (
    "csv",
    "db",
    "geojson",
    "html",
    "ini",
    "json",
    "md",
    "npz",
    "png",
    "safetensors",
    "smk",
    "tif",
    "tsv",
    "txt",
    "xml",
    "yaml",
    "zip",
)
"""Suffixes of files, which look like keys."""
NO_KEYS = {"e.g", "timm.create_model"}


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    return loaded


def exists(key: str, node: dict[str, Any]) -> bool:
    """Whether the schema knows `key`; a placeholder stands for any key, and what takes any key takes this one."""
    definitions = node["$defs"]
    for part in key.split("."):
        node = definitions[node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        properties, others = node.get("properties", {}), node.get("additionalProperties", "properties" not in node)
        if part in properties:
            node = properties[part]
        elif (
            (part[0] in "{<" and (properties or others))
            or isinstance(others, dict)
            or (others and node.get("type") in (None, "object"))
        ):
            node = others if isinstance(others, dict) else {}
        else:
            return False
    return True


def sentences(source: str) -> Iterator[str]:
    """Texts with a blank that are no docstrings, values of f-strings as ``{}``."""
    tree = ast.parse(source)
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inner.update(id(part) for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        else:
            continue
        if " " in text:
            yield text


def keys(text: str) -> list[str]:
    named = [key for key in KEY.findall(text) if key.rsplit(".", 1)[1] not in FILES]
    # a word, a full stop and a value that follows
    named = [key for key in named if key.split(".")[1][0] not in "{<" or key.split(".")[0] in schema()["properties"]]
    return [key for key in named if key not in NO_KEYS and not key.startswith("patchbank.")]


def test_keys_that_messages_name_are_keys_of_the_configuration() -> None:
    known, checked = schema(), 0
    for path in [*(ROOT / "patchbank").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        for text in sentences(path.read_text(encoding="utf-8")):
            for key in keys(text):
                checked += 1
                assert exists(key, known), f"{path.relative_to(ROOT)} names {key}, which is no key: {text}"
    assert checked >= 5


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("set extract.dtype to float32", True),
        ("set bank.dtype to float32", False),
        ("set extract.type to float32", False),
        ("datasets.{name}: recipes.multicrop.{part} is wrong", True),
        ("recipes.multicrop.scale is wrong", False),
        ("seeds.first is wrong", False),
    ],
)
def test_a_key_that_does_not_exist_is_found(text: str, right: bool) -> None:
    named = keys(next(sentences(f"raise UserError(f{text!r})")))
    assert named
    assert all(exists(key, schema()) for key in named) == right
