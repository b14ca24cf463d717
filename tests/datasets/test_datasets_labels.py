"""Label maps and class tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbank.datasets import load_table, make_spec, table_names
from patchbank.datasets.labels import (
    apply_lut,
    build_lut,
    default_colours,
    parse_values,
    ranges,
    sequential_lut,
    unknown_values,
)
from patchbank.errors import UserError

MAPS = st.integers(1, 254).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.dictionaries(st.integers(0, 600), st.one_of(st.integers(0, n - 1), st.just(255)), min_size=1),
    )
)


@given(MAPS, st.data())
def test_lut_maps_each_pixel_by_itself(case: tuple[int, dict[int, int]], data: st.DataObject) -> None:
    classes, label_map = case
    expected = {255: 255} | label_map
    raw = np.array(data.draw(st.lists(st.sampled_from(sorted(expected)), min_size=1, max_size=30)), np.uint16)
    mapped = apply_lut(raw.reshape(1, -1), build_lut(classes, label_map))
    assert mapped.dtype == np.uint8
    assert mapped[0].tolist() == [expected[int(value)] for value in raw]


@given(MAPS, st.lists(st.integers(0, 700), min_size=1, max_size=20))
def test_unknown_values_are_exactly_those_outside_the_map(case: tuple[int, dict[int, int]], values: list[int]) -> None:
    classes, label_map = case
    lut = build_lut(classes, label_map)
    outside = sorted({v for v in values if v not in label_map and v != 255})
    raw = np.array(values, np.uint16)
    assert unknown_values(raw, lut) == outside
    if outside:
        with pytest.raises(ValueError, match=rf"{outside[0]}\b.*not in the label map"):
            apply_lut(raw, lut)


def test_default_map_is_the_identity_with_ignored_values() -> None:
    lut = build_lut(11, None, (11,))
    assert lut[:13] == [*range(11), 255, -1]
    assert lut[255] == 255
    assert build_lut(3, None, (0,))[:4] == [255, 1, 2, -1]


@pytest.mark.parametrize(
    ("classes", "label_map", "ignore", "says"),
    [
        (256, None, (), "too many"),
        (3, {0: 3}, (), "0 -> 3"),
        (3, {0: -1}, (), "0 -> -1"),
        (3, {-1: 0}, (), "raw value -1"),
        (3, {4: 1}, (4,), "both in label_map"),
        (3, None, (70000,), "70000"),
    ],
)
def test_impossible_maps_are_refused(
    classes: int, label_map: dict[int, int] | None, ignore: tuple[int, ...], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        build_lut(classes, label_map, ignore)


@given(st.sets(st.integers(0, 60)))
def test_values_are_read_as_ranges_are_written(values: set[int]) -> None:
    assert parse_values(ranges(sorted(values)).split(", ") if values else []) == sorted(values)


@pytest.mark.parametrize("written", ["a", "5-3", "1.5", True, None, "--1", {"a": 1}])
def test_what_is_no_value_is_refused(written: object) -> None:
    with pytest.raises(UserError, match="neither a raw value"):
        parse_values(written)


def test_maps_take_ranges_and_class_names() -> None:
    written = {"0-2": 0, 7: "b", "9": 255}
    spec = make_spec("m", "folder", "x", classes=("a", "b"), label_map=written, ignore=["20-21", -1])
    assert [raw for raw, to in enumerate(spec.lut()) if to == 0] == [0, 1, 2]
    assert (spec.lut()[7], spec.lut()[9], spec.lut()[20], spec.lut()[21], spec.lut()[3]) == (1, 255, 255, 255, -1)


def test_an_ignored_value_wins_over_the_tables_own_map() -> None:
    assert make_spec("l", "lip", "x", table="lip5", ignore=[0]).lut()[:2] == [255, 1]


def test_an_own_map_wins_over_the_tables_ignored_values_and_rule() -> None:
    spec = make_spec("c", "cityscapes", "x", table="cityscapes19", label_map={3: "road", "4-5": 255})
    assert spec.lut()[2:8] == [255, 0, 255, 255, 255, -1]
    own = make_spec("c", "coco", "x", table="coco27_alignseg_exact", label_map={0: "person"})
    assert own.label_rule == "lut"


def test_minus_one_is_ignored_and_other_negative_values_are_unknown() -> None:
    lut = build_lut(3)
    assert apply_lut(np.array([[-1, 2]], np.int16), lut).tolist() == [[255, 2]]
    with pytest.raises(ValueError, match="value -2 is not in the label map"):
        apply_lut(np.array([[-2, -1]], np.int16), lut)


@given(MAPS, st.data())
def test_sequential_replacement_in_place(case: tuple[int, dict[int, int]], data: st.DataObject) -> None:
    classes, label_map = case
    lut = build_lut(classes, label_map)
    values = data.draw(st.lists(st.sampled_from(sorted(label_map)), min_size=1, max_size=30))
    mask = np.array(values)
    for value in np.unique(mask):
        mask[mask == value] = lut[value]
    table = sequential_lut(sorted(set(values)), lut)
    assert [table[value] for value in values] == mask.tolist()


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_exactly_the_values(values: set[int]) -> None:
    read: list[int] = []
    for part in ranges(sorted(values)).split(", ") if values else []:
        ends = [int(end) for end in part.split("-")]
        read.extend(range(ends[0], ends[-1] + 1))
    assert read == sorted(values)


def voc_colour(index: int) -> tuple[int, int, int]:
    """The palette rule of the VOC development kit: bit i of the index goes to channel i % 3, highest bit first."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]


def test_voc_table_has_the_official_palette_and_order() -> None:
    table = load_table("voc")
    assert table.colours == tuple(voc_colour(i) for i in range(len(table.classes)))
    assert (table.classes[0], table.classes[8], table.classes[20]) == ("background", "cat", "tvmonitor")


def test_camvid_void_is_ignored() -> None:
    assert make_spec("c", "folder", "x", table="camvid").lut()[10:13] == [10, 255, -1]


def test_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'vox'; known: camvid, cityscapes19, .*voc"):
        load_table("vox")
    assert table_names() == sorted(table_names())


@pytest.mark.parametrize("count", [2, 21, 60])
def test_default_colours_differ(count: int) -> None:
    colours = np.array(default_colours(count), int)
    distance = abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(count, dtype=int)
    assert distance.min() >= 8


def test_spec_values_of_the_user_win_over_the_table() -> None:
    spec = make_spec("mine", "folder", "x", table="voc", classes=("a", "b"), label_map={7: 1, 3: 0}, ignore=(9,))
    assert spec.classes == ("a", "b")
    assert len(spec.colours) == 2
    assert [raw for raw, to in enumerate(spec.lut()) if to == 1] == [7]
    assert spec.lut()[9] == 255


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"classes": ("a", "a")}, "more than once: a"),
        ({"classes": ("a", "b"), "colours": [(0, 0, 0)]}, "1 colours for 2 classes"),
        ({"classes": ("a",), "colours": [(0, 0, 256)]}, r"\[0, 0, 256\]"),
        ({"classes": ("a",), "label_map": {0: 5}}, "mine: label_map: 0 -> 5"),
        ({"classes": ("a",), "label_map": {0: "b"}}, "mine: label_map: 0 -> 'b', but the classes are a"),
        ({"classes": ("a", "b"), "label_map": {"0-4": 0, 3: 1}}, "raw value 3 is mapped to 0 and to 1"),
        ({"classes": ("a",), "ignore": ["7-5"]}, "mine: '7-5' is neither"),
    ],
)
def test_contradicting_spec_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_spec("mine", "folder", "x", **values)  # type: ignore[arg-type]
