"""Pictures of reports: labels to classes to pixels, layout, and the same bytes twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_factory import write_steps
from PIL import Image
from scipy import ndimage

from patchbank.datasets.manifest import Entry, Manifest
from patchbank.drawing.layout import MARGIN, TITLE, Cell, Grid, legend_entries
from patchbank.drawing.overlay import (
    IGNORED,
    UNMATCHED,
    class_colours,
    edges,
    nearest,
    number_positions,
    overlay,
    palette,
)
from patchbank.drawing.pictures import WIDTH, choose, shorten
from patchbank.errors import UserError
from patchbank.files import write_json, write_npz
from patchbank.predictions import PredictionReader, PredictionRecord, PredictionWriter
from patchbank.report.curves import draw_curves, moving_mean, read_steps
from patchbank.report.panel import PanelColumn, draw_panel, labels_of, panel_columns, score_caption

COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Three pictures 40 x 20: the left half class 0, the right half class 1, one ignored corner."""
    entries = []
    for index in range(3):
        image = np.full((20, 40, 3), 60 + 60 * index, dtype=np.uint8)
        mask = np.zeros((20, 40), dtype=np.uint8)
        mask[:, 20:] = 1
        mask[:5, :5] = 255
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / f"{index}-mask.png")
        entries.append(Entry(f"{index:016x}", f"{index}.png", f"{index}-mask.png", None, 40, 20))
    lut = [0, 1, 2, *([-1] * 252), 255]
    return Manifest("toy", tmp_path, ("sky", "road", "tree"), COLOURS, lut, {"val": tuple(entries), "train": ()})


def write_prediction(path: Path, variant: str, k: int, labels: np.ndarray, kind: str = "segments") -> Path:
    record = PredictionRecord("toy", "val", "m", kind, 0, "nearest", (64, 64))  # type: ignore[arg-type]
    images = [f"{index:016x}" for index in range(len(labels))]
    with PredictionWriter(path, record, images, {variant: k}, labels.shape[1:]) as writer:
        writer.write_labels(variant, 0, labels)
    return path


@pytest.fixture
def column(tmp_path: Path) -> PanelColumn:
    """Segments 0 (left) and 1 (right) on a 2 x 2 grid; clusters 2 and 0, which are classes 0 and 1; cluster 1 none."""
    labels = np.tile(np.array([[0, 1], [0, 1]]), (3, 1, 1))
    labels[2, 1, 1] = 2
    table = np.array([[2, 0, -1], [2, 0, -1], [2, 0, 1]], dtype=np.int32)
    path = write_prediction(tmp_path / "m.h5", "segments", 3, labels)
    return PanelColumn("method", path, "segments", table, (1, UNMATCHED, 0))


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int64)


def test_segments_become_clusters_become_classes(column: PanelColumn) -> None:
    with PredictionReader(column.prediction) as reader:
        np.testing.assert_array_equal(labels_of(column, reader, f"{0:016x}"), [[0, 1], [0, 1]])
        np.testing.assert_array_equal(labels_of(column, reader, f"{2:016x}"), [[0, 1], [0, UNMATCHED]])
        empty = np.full_like(column.table, -1)
        no_cluster = labels_of(dataclasses.replace(column, table=empty), reader, f"{0:016x}")
        assert (no_cluster == UNMATCHED).all()
        clusters = dataclasses.replace(column, assignment=())
        np.testing.assert_array_equal(labels_of(clusters, reader, f"{0:016x}"), [[2, 0], [2, 0]])
        segments = dataclasses.replace(clusters, table=None)
        np.testing.assert_array_equal(labels_of(segments, reader, f"{2:016x}"), [[0, 1], [0, 2]])
        with pytest.raises(UserError, match="has no image ffff"):
            labels_of(column, reader, "ffff")
        with pytest.raises(UserError, match=r"has cluster 2, the assignment names\s+2 clusters"):
            labels_of(dataclasses.replace(column, assignment=(1, 0)), reader, f"{0:016x}")


def test_panel_shows_truth_and_prediction_in_the_same_colours(
    tmp_path: Path, manifest: Manifest, column: PanelColumn
) -> None:
    out = tmp_path / "panel.png"
    draw_panel(manifest, [column], out)
    found = pixels_of(out)
    top, height = MARGIN + TITLE, WIDTH // 2
    image, truth, said = (found[top : top + height, MARGIN + place * (WIDTH + 12) :][:, :WIDTH] for place in range(3))
    assert (image == 60).all()
    row = height - 12  # below the numbers and the ignored corner
    np.testing.assert_array_equal(truth[row, 10], said[row, 10])
    np.testing.assert_array_equal(truth[row, WIDTH - 10], said[row, WIDTH - 10])
    assert truth[row, 10].argmax() == 0
    assert truth[row, WIDTH - 10].argmax() == 1
    assert (truth[:40, :40].min(axis=2) >= 200).all()  # the ignored corner is white and hatched
    assert len(np.unique(truth[:40, :40].reshape(-1, 3), axis=0)) == 2
    assert said[10, 10].argmax() == 0  # a prediction is shown where the truth is ignored, too


def test_panel_is_the_same_bytes_twice(tmp_path: Path, manifest: Manifest, column: PanelColumn) -> None:
    for name in "ab":
        draw_panel(manifest, [column], tmp_path / f"{name}.png", rows=2)
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert b"matplotlib" not in data
    assert "date" not in str(Image.open(tmp_path / "a.png").info).lower()


def test_panel_without_labels_has_no_truth(tmp_path: Path, manifest: Manifest, column: PanelColumn) -> None:
    entries = tuple(dataclasses.replace(entry, mask=None) for entry in manifest.entries("val"))
    unlabelled = dataclasses.replace(manifest, classes=(), colours=(), splits={"val": entries, "train": ()})
    draw_panel(unlabelled, [dataclasses.replace(column, assignment=())], tmp_path / "panel.png")
    draw_panel(manifest, [column], tmp_path / "labelled.png")
    width = Image.open(tmp_path / "panel.png").width
    assert width == 2 * MARGIN + 2 * WIDTH + 12
    assert Image.open(tmp_path / "labelled.png").width == width + WIDTH + 12


def test_columns_that_do_not_fit_are_refused(tmp_path: Path, manifest: Manifest, column: PanelColumn) -> None:
    with pytest.raises(UserError, match=r"has variants \['segments'\], not 'k9-s0'"):
        draw_panel(manifest, [dataclasses.replace(column, variant="k9-s0")], tmp_path / "p.png")
    wrong = dataclasses.replace(column, table=np.zeros((3, 2), dtype=np.int32))
    with pytest.raises(UserError, match=r"needs a cluster table \(3, 3\), received \(3, 2\)"):
        draw_panel(manifest, [wrong], tmp_path / "p.png")
    with pytest.raises(UserError, match=r"split 'val' has no image"):
        draw_panel(dataclasses.replace(manifest, splits={"val": ()}), [], tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_columns_follow_the_matching_of_the_scores(tmp_path: Path) -> None:
    labels = np.zeros((2, 2, 2), dtype=np.int64)
    segments = write_prediction(tmp_path / "s.h5", "segments", 2, labels)
    classes = write_prediction(tmp_path / "c.h5", "k3-s1", 3, labels, "classes")
    matching = {"training_seed": 4, "kmeans_seed": 1, "variant": "k3-s1", "assignment": [2, -1, 0]}
    write_json(tmp_path / "scores.json", {"rows": [], "matching": matching})
    write_json(tmp_path / "none.json", {"rows": [], "matching": None})
    tables = {"k3-s1": np.ones((2, 2), np.int32), "k20-s0": np.zeros((2, 2), np.int32)}
    write_npz(tmp_path / "t.npz", {**tables, "tables": np.array(["k20-s0", "k3-s1"]), "k_used": np.array([20, 3])})
    methods = [("a", "classes", 4), ("b", "segments", 4)]
    files = [classes, segments]
    for scores, assignment in (("scores.json", (2, -1, 0)), ("none.json", ())):
        first, second = panel_columns(methods, files, [tmp_path / scores] * 2, [tmp_path / "t.npz"])
        assert (first.title, first.variant, first.table, tuple(first.assignment)) == ("a", "k3-s1", None, assignment)
        assert (second.title, second.variant, tuple(second.assignment)) == ("b", "segments", assignment)
        np.testing.assert_array_equal(second.table, tables["k3-s1"])
    with pytest.raises(UserError, match=r"of training seed 4, the panel shows seed 0"):
        panel_columns([("a", "classes", 0)], [classes], [tmp_path / "scores.json"], [])


@given(st.integers(1, 200), st.integers(1, 12))
def test_images_are_spread_evenly(total: int, count: int) -> None:
    entries = [Entry(f"{index:016x}", "", None, None, 1, 1) for index in range(total)]
    places = [int(entry.id, 16) for entry in choose(entries, count)]
    assert len(places) == min(total, count)
    assert places == sorted(set(places))
    gaps = np.diff([-1 - places[0], *places, 2 * total - 1 - places[-1] + 1])
    assert gaps.max() - gaps.min() <= 2
    assert choose([], count) == []


def test_caption_scores_labelled_pixels_only() -> None:
    truth = np.array([[0, 0, 1, IGNORED]])
    assert score_caption(np.array([[0, 2, 1, 1]]), truth) == "accuracy 67 %, mIoU 75 %"
    assert score_caption(np.array([[UNMATCHED] * 4]), truth) == "accuracy 0 %, mIoU 0 %"
    assert score_caption(truth, np.full((1, 4), IGNORED)) == "no labelled pixel"


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5))
def test_nearest_repeats_whole_patches(height: int, width: int, factor: int) -> None:
    labels = np.arange(height * width).reshape(height, width)
    expected = labels.repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_array_equal(nearest(labels, height * factor, width * factor), expected)


def test_nearest_takes_the_patch_under_the_centre_of_a_pixel() -> None:
    np.testing.assert_array_equal(nearest(np.arange(4)[None], 1, 2), [[1, 3]])
    np.testing.assert_array_equal(nearest(np.arange(2)[:, None], 3, 1), [[0], [1], [1]])


def test_overlay_weighs_colour_and_image() -> None:
    image = np.full((30, 30, 3), 100, dtype=np.uint8)
    labels = np.zeros((30, 30), dtype=np.int64)
    flat = overlay(image, labels, np.array([[200, 0, 0]], dtype=np.uint8))
    assert (flat == np.round([0.6 * 200 + 0.4 * 85, 34, 34])).all()
    for code in (UNMATCHED, IGNORED):
        special = overlay(image, np.full_like(labels, code), np.array([[200, 0, 0]], dtype=np.uint8))
        assert len(np.unique(special.reshape(-1, 3), axis=0)) == 2  # two tones: hatched
        assert (special[..., 0] == special[..., 1]).all()  # grey, not a class


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 150), st.integers(1, 6), st.integers(0, 4), st.integers(0, 99))
def test_an_overlay_is_that_of_every_pixel_by_itself(height: int, width: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels, colours = random.integers(IGNORED, count + 3, (height, width)), palette(count)
    drawn, edge = overlay(image, labels, colours), edges(labels)
    for y, x in np.ndindex(height, width):
        grey = 0.85 * float(image[y, x].astype(np.float64) @ [0.299, 0.587, 0.114])
        value = 0.6 * (colours[labels[y, x] % count].astype(np.float64) if count else np.zeros(3)) + (1 - 0.6) * grey
        if labels[y, x] == UNMATCHED:
            value = np.full(3, 0.8 * (95 if (y + x) % 10 < 3 else 165) + 0.2 * grey)
        elif labels[y, x] == IGNORED:
            value = np.full(3, 205.0 if (y - x) % 10 < 3 else 255.0)
        exact = value * (0.35 if edge[y, x] else 1)
        assert np.abs(drawn[y, x] - exact).max() <= 0.5 + 1e-9


def test_edges_and_numbers() -> None:
    labels = np.zeros((20, 40), dtype=np.int64)
    labels[:, 30:] = 4
    labels[0, 0] = 7  # too small for a number
    assert set(np.flatnonzero(edges(labels)[10])) == {29}
    places = {value: (row, column) for value, row, column in number_positions(labels)}
    assert set(places) == {0, 4}
    assert labels[places[4]] == 4
    assert 32 <= places[4][1] <= 37  # the middle of the region
    assert not number_positions(np.full((5, 5), UNMATCHED))


@settings(deadline=None, max_examples=15)
@given(st.integers(18, 40), st.integers(18, 60), st.integers(0, 99))
def test_a_number_stands_farthest_from_every_pixel_outside_its_region(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = nearest(random.integers(-1, 3, (4, 5)), height, width)
    seen = number_positions(labels)
    for value in range(3):
        regions, count = ndimage.label(labels == value)
        large = [n for n in range(1, count + 1) if (regions == n).sum() >= 0.03 * labels.size]
        expected = []
        for region in large:
            outside = np.argwhere(np.pad(regions, 1) != region) - 1
            inside = np.argwhere(regions == region)
            distances = np.sqrt(((inside[:, None] - outside[None]) ** 2).sum(-1)).min(1)
            expected.append((value, *inside[distances.argmax()].tolist()))
        assert [place for place in seen if place[0] == value] == expected


def test_own_colours_are_used_where_they_tell_classes_apart() -> None:
    np.testing.assert_array_equal(class_colours(COLOURS, 3), COLOURS)
    for bad in ((), COLOURS[:2], (COLOURS[0],) * 3):
        np.testing.assert_array_equal(class_colours(bad, 3), palette(3))
    for count in (0, 8, 20, 40):
        colours = palette(count)
        assert colours.shape == (count, 3)
        assert len({tuple(colour) for colour in colours.tolist()}) == count


def test_legend_lists_what_occurs() -> None:
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    rows = [[Cell(picture, "", np.array([[0, 2], [IGNORED, 0]])), Cell(picture, "", np.array([[1, 1]]), False)]]
    grid = Grid(["truth", "clusters"], rows, 10, ["a", "b", "c"], palette(3))
    assert [text for _, text in legend_entries(grid)] == ["0 a", "2 c", "not scored (ignored in the truth)"]


def test_long_names_keep_both_ends() -> None:
    name = shorten("a" * 100 + ".jpg")
    assert len(name) <= 44
    assert name.startswith("aaa")
    assert name.endswith("a.jpg")
    assert shorten("x.jpg") == "x.jpg"


def test_curves_are_the_same_bytes_twice_and_change_with_the_data(tmp_path: Path) -> None:
    steps = {seed: write_steps(tmp_path / f"{seed}.csv", 90, seed) for seed in (2, 0)}
    draw_curves(steps, tmp_path / "a.png")
    draw_curves(dict(sorted(steps.items())), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw_curves({0: steps[0]}, tmp_path / "c.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()
    colours = {tuple(c) for c in pixels_of(tmp_path / "a.png").reshape(-1, 3).tolist()}
    assert {(0, 114, 178), (213, 94, 0)} <= colours  # both seeds, in colours that can be told apart


def test_broken_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training log"):
        draw_curves({}, tmp_path / "a.png")
    with pytest.raises(UserError, match="does not exist"):
        read_steps(tmp_path / "none.csv")
    empty = write_steps(tmp_path / "empty.csv", 0)
    with pytest.raises(UserError, match="0 rows"):
        read_steps(empty)
    (tmp_path / "words.csv").write_text("step,lr\n0,fast\n")
    with pytest.raises(UserError, match="no number"):
        read_steps(tmp_path / "words.csv")
    (tmp_path / "gap.csv").write_text("step,loss_x\n0,1\n1,\n")
    assert np.isnan(read_steps(tmp_path / "gap.csv")["loss_x"][1])
    draw_curves({0: tmp_path / "gap.csv"}, tmp_path / "gap.png")


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(1, 40))
def test_moving_mean_is_a_mean_of_neighbours(values: list[float], window: int) -> None:
    half = window // 2
    expected = [np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    np.testing.assert_allclose(moving_mean(np.array(values), window), expected, atol=1e-9)
