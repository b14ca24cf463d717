"""A manifest's text is that of the JSON encoder, however its entries are put together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from patchbank.datasets.depth import Treatment
from patchbank.datasets.manifest import FORMAT, Entry, Manifest
from patchbank.files import to_json

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
ENTRIES = st.builds(
    Entry,
    id=st.text("0123456789abcdef", min_size=16, max_size=16),
    image=NAMES,
    mask=st.none() | NAMES,
    instances=st.none() | NAMES,
    width=st.integers(1, 9),
    height=st.integers(1, 9),
    labels=NAMES,
)


@given(
    st.dictionaries(NAMES, st.lists(ENTRIES, max_size=4).map(tuple), max_size=4),
    st.none() | st.just(Treatment()),
    NAMES,
)
def test_the_text_is_that_of_the_encoder(
    splits: dict[str, tuple[Entry, ...]], depth: Treatment | None, name: str
) -> None:
    manifest = Manifest(name, Path("a"), ("x", name), ((1, 2, 3), (4, 5, 6)), [0, 1], splits, depth=depth)
    plain = {
        "format": FORMAT,
        "dataset": name,
        "root": "a",
        "classes": ["x", name],
        "colours": [[1, 2, 3], [4, 5, 6]],
        "things": [],
        "lut": [0, 1],
        "label_rule": "lut",
        "train_split": "train",
        "eval_split": "val",
        "splits": {key: [asdict(entry) for entry in entries] for key, entries in splits.items()},
        **({} if depth is None else {"depth": depth.to_json()}),
    }
    assert manifest._text() == to_json(plain)
