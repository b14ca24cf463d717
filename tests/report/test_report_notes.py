"""Notes of reports: who does not beat a floor, capped K, shared draws, use of labels."""

from __future__ import annotations

from typing import Any

import pytest
from report_factory import ROWS, make_floor, make_row

from patchbank.evaluation.compare import Comparison
from patchbank.plain import from_plain
from patchbank.report.notes import build_notes, floor_notes, floors_of, method_notes
from patchbank.report.rows import sort_rows


def test_floors_are_those_with_the_same_post_processing() -> None:
    refined = {"postprocess": "pamr"}
    rows = sort_rows([*ROWS, make_row("alignseg+pamr", "hungarian", 20.0, **refined)])
    (said,) = [note for note in build_notes(rows) if note.startswith("Floors beside")]
    assert said == "Floors beside alignseg+pamr are without `pamr`: differences contain what that brings."
    assert any(note.startswith("alignseg+pamr does not beat image-kmeans-5") for note in build_notes(rows))
    rows = sort_rows([*rows, make_floor("kmeans+pamr", "hungarian", 30.0, **refined)])
    notes = build_notes(rows)
    assert not any(note.startswith("Floors beside") for note in notes)
    losses = [note for note in notes if "does not beat" in note and "under hungarian" in note]
    assert [loss.split(" (")[0] for loss in losses] == [
        "alignseg does not beat image-kmeans-5 under hungarian",
        "alignseg+pamr does not beat kmeans+pamr under hungarian",
    ]


def test_a_method_that_is_upsampled_bilinearly_has_floors_that_are() -> None:
    rows = [make_row("transfgu", "hungarian", 20.0, upsample="bilinear"), make_floor("kmeans", "hungarian", 30.0)]
    assert [floor.method for floor in floors_of(rows[0], rows)] == ["kmeans"]
    assert "Floors beside transfgu are without `bilinear`: differences contain what that brings." in build_notes(rows)
    rows.append(make_floor("kmeans+bilinear", "hungarian", 31.0, postprocess="bilinear"))
    assert [floor.method for floor in floors_of(rows[0], rows)] == ["kmeans+bilinear"]
    assert not any(note.startswith("Floors beside") for note in build_notes(rows))


def test_a_method_without_clusters_is_compared_whatever_split_they_are_fitted_on() -> None:
    rows = [make_row("a", "hungarian", 20.0, fit=None), make_floor("kmeans", "hungarian", 30.0, fit="val")]
    assert [floor.method for floor in floors_of(rows[0], rows)] == ["kmeans"]


def test_under_fit_val_heads_are_compared_with_floors_that_were_fitted_on_train_or_nowhere() -> None:
    followed = {"fit": "val"}
    rows = [
        make_row("stego", "hungarian", 20.0),
        make_row("alignseg", "hungarian", 25.0, **followed),
        make_floor("kmeans", "hungarian", 30.0, **followed),
        make_floor("image-kmeans-5", "hungarian", 30.0, **followed),
        make_floor("random-clusters", "hungarian", 3.0, fit=None),
    ]
    assert [floor.method for floor in floors_of(rows[0], rows)] == ["random-clusters"]
    assert [floor.method for floor in floors_of(rows[1], rows)] == ["kmeans", "image-kmeans-5", "random-clusters"]
    assert [note for note in build_notes(rows) if "fit: val" in note] == [
        "Clusters of alignseg, image-kmeans-5 and kmeans were fitted on the images they are scored on (fit: val), "
        "those of stego on the train split."
    ]
    inside: dict[str, Any] = {"k": None, "k_used": []}
    segments = {**inside, **followed, "seeds": {"training": [0], "kmeans": []}}
    rows = [
        make_row("stego", "per_image", 20.0, **inside),
        make_row("alignseg", "per_image", 25.0, **segments),
        make_floor("kmeans", "per_image", 30.0, **inside, **followed),
        make_floor("image-kmeans-5", "per_image", 30.0, **segments),
    ]
    assert [floor.method for floor in floors_of(rows[0], rows)] == ["image-kmeans-5"], "its segments are fitted on none"
    assert [floor.method for floor in floors_of(rows[1], rows)] == ["kmeans", "image-kmeans-5"]


def test_what_is_not_beaten_comes_first() -> None:
    rows = sort_rows([*ROWS, make_row("probe", "hungarian", 50.0, oracle="val", fit="val")])
    notes = build_notes(rows, drawn=["alignseg"])
    assert "does not beat" in notes[1]
    lost = [index for index, note in enumerate(notes) if "does not beat" in note]
    later = [i for i, note in enumerate(notes) if any(word in note for word in ("oracle", "Shared draws", "asked for"))]
    assert len(later) >= 3
    assert min(later) > max(lost)


def test_no_row_of_a_labelled_set_is_not_called_unlabelled() -> None:
    assert "no labels" in build_notes([], labelled=False)[0]
    assert "No protocol found a pixel" in build_notes([], labelled=True)[0]


def test_notes_name_every_floor_that_is_not_beaten() -> None:
    notes = floor_notes(sort_rows(ROWS))
    assert "alignseg does not beat image-kmeans-5 under hungarian (18.3 against 21.9; means of 15 and 5 runs)." in notes
    assert (
        "alignseg has a higher mean than kmeans under hungarian (18.3 against 17.0; means of 15 and 5 runs)." in notes
    )
    won = "alignseg has a higher mean than image-kmeans-5 under overcluster, K = 300, precision (55.6 against 50.0; "
    assert any(note.startswith(won) for note in notes)
    assert not any("better" in note or "grid-majority" in note for note in notes)
    assert len(notes) == 4  # a word of caution first
    assert "may be chance" in notes[0]


def test_equal_means_do_not_beat() -> None:
    notes = floor_notes([make_row("a", "hungarian", 20.0), make_floor("kmeans", "hungarian", 20.0)])
    assert any(note.startswith("a does not beat kmeans") for note in notes)


@pytest.mark.parametrize(
    "change", [{"k": 4}, {"variant": "iou"}, {"fit": "val"}, {"preprocessing": "full"}, {"protocol": "hungarian_iou"}]
)
def test_only_floors_of_the_same_kind_are_compared(change: dict[str, Any]) -> None:
    notes = floor_notes(
        [make_row("a", "hungarian", 20.0), make_floor("kmeans", **{"protocol": "hungarian", "mean": 30.0, **change})]
    )
    assert not any("does not beat" in note for note in notes)
    assert any("No floor of the same protocol" in note for note in notes)


def test_weak_floors_are_named_only_where_they_are_not_beaten() -> None:
    rows = [make_row("a", "hungarian", 20.0), make_floor("voronoi-5", "hungarian", 30.0)]
    assert any("does not beat voronoi-5" in note for note in floor_notes(rows))
    assert not floor_notes([rows[0], make_floor("voronoi-5", "hungarian", 10.0)])


def test_per_image_compares_at_the_number_of_segments_used() -> None:
    row = make_row("a", "per_image", 70.0, k=None, k_used=[], segments=3.2)
    floors = [make_floor(f"image-kmeans-{q}", "per_image", 80.0, k=None, k_used=[], segments=float(q)) for q in (4, 5)]
    notes = floor_notes([row, *floors])
    assert any("image-kmeans-4 under per_image" in n and "3.2 against 4.0 segments an image" in n for n in notes)
    assert not any("image-kmeans-5" in note for note in notes)
    assert any("image-kmeans-5" in note for note in floor_notes([row, floors[1]]))  # the only one there is


def test_notes_on_draws_seeds_caps_oracles_and_fit() -> None:
    rows = [
        *ROWS,
        make_row("probe", "hungarian", 50.0, oracle="val", fit="val", seeds={"training": [0], "kmeans": [0, 1]}),
    ]
    notes = build_notes(sort_rows(rows), drawn=["alignseg"])
    assert any(note.startswith("Shared draws: the training seeds 0-2 of alignseg") for note in notes)
    assert not any(note.startswith("Shared draws") for note in build_notes(rows))
    assert any("asked for K = 300 under `overcluster` and used 88" in note for note in notes)
    assert sum("asked for K" in note for note in notes) == 1
    assert any("probe used labels of the val split" in note for note in notes)
    both = build_notes([make_row("probe", "hungarian", 50.0, oracle="train, val")])
    said = "probe used labels of the train and the val split for a choice or for training (oracle: train, val)."
    assert said in both
    assert any("probe were fitted on the images they are scored on" in note for note in notes)
    assert any("probe ran with 1 training seed;" in note for note in notes)
    assert any("probe ran with 2 k-means seeds;" in note for note in notes)
    assert not any("alignseg ran with" in note for note in notes)


def interval(a: str, b: str, low: float, high: float, **changes: Any) -> Comparison:
    middle = (low + high) / 2
    entry = {"a": a, "b": b, "protocol": "hungarian", "variant": "", "k": 3, "difference": middle}
    entry |= {"low": low, "high": high, "n_images": 9, "runs": [15, 5]}
    return from_plain(Comparison, entry | changes)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.2, 2.4, "alignseg is better than kmeans under hungarian (18.3 against 17.0; means of 15 and 5 runs; 95 % "
         "interval of the difference +0.2 to +2.4)."),
        (-0.2, 2.8, "alignseg is not shown to beat kmeans under hungarian (18.3 against 17.0; means of 15 and 5 runs; "
         "95 % interval of the difference -0.2 to +2.8)."),
    ],
)  # fmt: skip
def test_better_needs_an_interval_without_zero(low: float, high: float, said: str) -> None:
    notes = floor_notes(sort_rows(ROWS), [interval("alignseg", "kmeans", low, high)])
    assert said in notes
    assert notes[0].startswith("Better means that the 95 % interval")
    other = floor_notes(sort_rows(ROWS), [interval("alignseg", "kmeans", low, high, protocol="hungarian_iou")])
    assert any(note.startswith("alignseg has a higher mean than kmeans") for note in other)


def test_a_weak_floor_is_named_where_beating_it_is_not_shown() -> None:
    rows = [make_row("a", "hungarian", 20.0), make_floor("voronoi-5", "hungarian", 10.0)]
    assert any("a is not shown to beat voronoi-5" in n for n in floor_notes(rows, [interval("a", "voronoi-5", -1, 21)]))
    assert not floor_notes(rows, [interval("a", "voronoi-5", 1, 21)])


def test_methods_are_compared_with_each_other() -> None:
    rows = [make_row("a", "hungarian", 20.0), make_row("b", "hungarian", 22.0), make_floor("kmeans", "hungarian", 1.0)]
    verbs = ((-3, -1, "is worse than"), (-3, 1, "is not shown to differ from"), (1, 3, "is better than"))
    for low, high, verb in verbs:
        (note,) = method_notes(rows, [interval("a", "b", low, high), interval("a", "kmeans", 18, 20)])
        assert note.startswith(f"a {verb} b under hungarian (20.0 against 22.0; means of 15 runs each; 95 %")
