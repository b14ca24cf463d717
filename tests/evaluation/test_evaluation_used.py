"""At how many segments the floors of a set stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from patchbank.evaluation.used import segment_numbers
from patchbank.left_out import LeftOut, write_left_out


def summaries(folder: Path, *values: dict[str, Any]) -> list[Path]:
    """One summary a seed."""
    paths = [folder / f"{number}.json" for number in range(len(values))]
    folder.mkdir()
    for path, value in zip(paths, values, strict=True):
        path.write_text(json.dumps(value))
    return paths


def test_methods_give_their_own_number_and_the_mean_that_they_use_rounded_up(tmp_path: Path) -> None:
    rows = {
        "five": summaries(tmp_path / "five", {"segments": 5, "used": 3.2}, {"segments": 5, "used": 2.9}),  # mean 3.05
        "classes": summaries(tmp_path / "classes", {"used": 2.0}, {"used": 2.0}, {"used": 2.4}),
        "unlabelled": summaries(tmp_path / "unlabelled", {"segments": 7, "used": None}),
        "one": summaries(tmp_path / "one", {"used": 1.0}),
    }
    assert segment_numbers(rows) == [3, 4, 5, 7]


def test_of_a_row_whose_images_have_numbers_of_their_own_the_mean_alone_counts(tmp_path: Path) -> None:
    """Its K is room for the most that there may be, and an image may use all of it."""
    rows = {
        "proposals": summaries(tmp_path / "proposals", {"segments": 32, "used": 6.4}),
        "five": summaries(tmp_path / "five", {"segments": 5, "used": 3.2}),
    }
    assert segment_numbers(rows, ["proposals"]) == [4, 5, 7]


def test_a_row_that_was_left_out_has_no_segments(tmp_path: Path) -> None:
    write_left_out([tmp_path / "counts.json"], LeftOut("row", "", "Why."))
    rows = {"row": [tmp_path / "counts.json"], "other": summaries(tmp_path / "other", {"segments": 9, "used": 8.0})}
    assert segment_numbers(rows) == [8, 9]
