"""Earlier banks whose values are those of today: their shards are taken over instead of computed again.

A shard names the hash of what shaped its values. The tables here say, by recipe, which other hashes mean the same
values. They grow when code changes and values do not, and lose their entries when values do change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbank.bank.format import content_hash
from patchbank.files import digest

RELEASED = "0.1.0"
"""The package's version in records that held one."""
BY_IMPORTS: Mapping[str, tuple[str, ...]] = {
    "augmented": ("23a5f6b0b44939d4", "fa3cd77ad997f437", "c8731a737112dea5"),
    "flipped": ("b093cd42c0b75dee", "0be5765eafed2705", "263da3ffd8440fba"),
    "lastblock": ("5721e7758a46e53c", "b8404aa170316bb7", "e2b1229b1f084175"),
    "multicrop": ("3d7f2c97e074573d", "a5f2f0a86278cac1", "68ce85c548b08cbf"),
    "whole": ("48210c1e70a8a4b4", "ceea16c918da0603", "b0caff97b01c5375"),
    "windows": ("a93a8ee8fcc2be4b", "74dc66fbb00d32a6", "f0cb3d8ce5f61163"),
}
"""`code` of records that held a package version: a hash over all imports, as Python 3.11, 3.12, 3.13 make it."""
BY_VALUES: Mapping[str, tuple[str, ...]] = {
    "augmented": (
        "999c8273f9bad3cd",
        "e0612dd6352b38ea",
    ),
    "center320": (
        "2a7cb076f7e50483",
        "0ca3a205a28a5eb7",
    ),
    "five": (
        "746c0c15eda7629c",
        "d451e98f2e1d1526",
    ),
    "flipped": (
        "93ee6becbb73995d",
        "e1a536bec4181ae8",
    ),
    "lastblock": (
        "7863e6d0f2179531",
        "e5263cc1e596e4ef",
    ),
    "mirrored": (
        "0e05cec572b54f12",
        "3a4d8037022bf863",
    ),
    "multicrop": (
        "5b425b5b92405b31",
        "93a0840c96ee7d90",
    ),
    "whole": (
        "68a0968079dbc678",
        "eead534c6575754f",
    ),
    "windows": (
        "ad5865de46e31ea2",
        "87bb866705ba809e",
    ),
}
"""`code` of later records, a hash over what shapes values (`patchbank.bank.identity`)."""
_HELD = ("format", "dataset", "split", "backbone", "recipe", "precision", "dtype")
"""What the records of `BY_IMPORTS` held beside package and code, apart from the images."""


def same_values(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Content hashes that stand for the values of `record`: its own, then those of its predecessors.

    The first records were of before deep pictures were treated and tokens coded, so banks with such have none of them.
    """
    recipe = record["recipe"]["name"]
    later = [content_hash({**record, "code": code}) for code in BY_VALUES.get(recipe, ())]
    held = {key: record[key] for key in _HELD}
    imports = () if {"depth", "coding"} & set(record) else BY_IMPORTS.get(recipe, ())
    first = [digest({**held, "package": RELEASED, "code": code}, 16) for code in imports]
    return (content_hash(record), *later, *first)
