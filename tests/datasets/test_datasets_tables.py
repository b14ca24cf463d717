"""Every class table against the counts and rows of the published maps: each raw value, in every variant."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from patchbank.datasets import load_table, make_spec, table_names
from patchbank.datasets.classes import TABLES
from patchbank.datasets.labels import UNKNOWN, apply_lut, build_lut, sequential_lut

ROWS = list(csv.DictReader((TABLES / "coco_raw_ids.csv").open(encoding="utf-8", newline="")))
IDS = [int(row["raw_id"]) for row in ROWS]
CANONICAL = [
    *("electronic", "appliance", "food", "furniture", "indoor", "kitchen", "accessory", "animal", "outdoor", "person"),
    *("sports", "vehicle", "ceiling", "floor", "food-stuff", "furniture-stuff", "raw-material", "textile", "wall"),
    *("window", "building", "ground", "plant", "sky", "solid", "structural", "water"),
]


def lut(table: str, layout: str = "coco") -> list[int]:
    return make_spec("x", layout, ".", table=table).lut()


def value(written: str) -> int:
    """An entry of the CSV as a look-up table has it."""
    return UNKNOWN if written == "" else 255 if int(written) < 0 else int(written)


def test_coco_rows_are_183_raw_ids_of_which_172_occur() -> None:
    assert [*range(182), 255] == IDS
    assert sum(row["in_png"] == "1" for row in ROWS) == 172
    assert len({row["coarse27"] for row in ROWS} - {"-1"}) == 27
    assert len({row["fine171"] for row in ROWS} - {"-1", ""}) == 171
    assert len({row["things80"] for row in ROWS} - {"-1", ""}) == 81


@pytest.mark.parametrize(("table", "column"), [("coco27", "coarse27"), ("coco171", "fine171"), ("coco80", "things80")])
def test_every_raw_coco_id_maps_as_published(table: str, column: str) -> None:
    found = lut(table)
    assert [found[raw] for raw in IDS] == [value(row[column]) for row in ROWS]
    assert set(found[182:255]) == {UNKNOWN}
    assert sorted({to for to in found if to not in (UNKNOWN, 255)}) == list(range(len(load_table(table).classes)))


def test_alphabetical_coco_is_the_canonical_one_sorted_by_name() -> None:
    order = sorted(CANONICAL)
    assert load_table("coco27").classes == tuple(CANONICAL)
    assert load_table("coco27_alphabetical").classes == tuple(order)
    found = lut("coco27_alphabetical")
    for row, raw in zip(ROWS, IDS, strict=True):
        coarse = value(row["coarse27"])
        assert found[raw] == (255 if coarse == 255 else order.index(CANONICAL[coarse])), row["name"]
    assert lut("coco27_alignseg_exact") == found


def test_coco_things_and_stuff_are_the_two_parts_of_the_27() -> None:
    things, stuff = load_table("coco27_things"), load_table("coco27_stuff")
    assert things.classes + stuff.classes == tuple(CANONICAL)
    assert (len(things.classes), len(stuff.classes)) == (12, 15)
    assert all(things.things)
    assert not any(stuff.things)
    for row, raw in zip(ROWS, IDS, strict=True):
        coarse = value(row["coarse27"])
        assert lut("coco27_things")[raw] == (coarse if coarse < 12 else 255), row["name"]
        assert lut("coco27_stuff")[raw] == (coarse - 12 if 12 <= coarse < 255 else 255), row["name"]


def test_alignsegs_pixel_maps_hold_category_ids() -> None:
    """Raw id + 1; 0 and 183 are ignored in the stuff maps, 0 and 200 in the panoptic ones."""
    stuff, thing = lut("coco27_stuff", "coco_stuff"), lut("coco27_things", "coco_thing")
    for row, raw in zip(ROWS[:-1], IDS[:-1], strict=True):
        coarse = value(row["coarse27"])
        assert stuff[raw + 1] == (coarse - 12 if coarse >= 12 else 255), row["name"]
        assert thing[raw + 1] == (coarse if coarse < 12 else 255), row["name"]
    assert {stuff[0], stuff[183], stuff[255], thing[0], thing[200], thing[255]} == {255}
    assert stuff[184] == UNKNOWN


def test_the_published_replacement_in_place_gets_nine_pairs_wrong_and_the_look_up_none() -> None:
    """Each pair of raw ids that occur, as an image of two pixels, replaced as the published code does it."""
    table = lut("coco27_alphabetical")
    occur = [raw for raw, row in zip(IDS, ROWS, strict=True) if row["in_png"] == "1"]
    wrong = set()
    for low in occur:
        for high in occur:
            image = np.array([[low, high]])
            for raw in np.unique(image):  # the values present, once, ascending
                image[image == raw] = table[raw]
            found = apply_lut(np.array([[low, high]]), sequential_lut(sorted({low, high}), table))
            assert found.tolist() == image.tolist()
            assert apply_lut(np.array([[low, high]]), table).tolist() == [[table[low], table[high]]]
            if found.tolist() != [[table[low], table[high]]]:
                wrong.add((low, high))
    named = {(low, high) for low, high in wrong if low < high}
    # person with bird, every vehicle with zebra: both become animals
    assert named == {(0, 15), *((vehicle, 23) for vehicle in range(1, 9))}
    assert len(named) == 9


CITYSCAPES = [
    *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel"),
    *("pole", "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car"),
    *("truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
]
TRAIN_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def test_every_cityscapes_id_maps_as_published() -> None:
    full, few = lut("cityscapes27", "cityscapes"), lut("cityscapes19", "cityscapes")
    assert load_table("cityscapes27").classes == tuple(CITYSCAPES)
    assert load_table("cityscapes19").classes == tuple(CITYSCAPES[raw - 7] for raw in TRAIN_IDS)
    for raw in range(34):
        assert full[raw] == (raw - 7 if raw >= 7 else 255), raw
        assert few[raw] == (TRAIN_IDS.index(raw) if raw in TRAIN_IDS else 255), raw
    assert set(full[34:255]) == set(few[34:255]) == {UNKNOWN}
    for table in (full, few):
        assert apply_lut(np.array([[-1, 255, 3]], np.int32), table).tolist() == [[255, 255, 255]]


def test_every_lip_id_maps_as_published() -> None:
    five = {1: {1, 2, 4, 13}, 2: {5, 6, 7, 10, 11, 12}, 3: {3, 14, 15}, 4: {9, 16, 17}, 5: {8, 18, 19}}
    sixteen = {**{raw: raw for raw in range(14)}, 14: 14, 15: 14, 16: 15, 17: 15, 18: 16, 19: 16}
    assert [len(load_table(f"lip{n}").classes) for n in (5, 16, 19)] == [6, 17, 20]
    for raw in range(20):
        assert lut("lip19", "lip")[raw] == raw
        assert lut("lip16", "lip")[raw] == sixteen[raw], raw
        assert lut("lip5", "lip")[raw] == next((part for part, raws in five.items() if raw in raws), 0), raw
    for name in ("lip5", "lip16", "lip19"):
        assert set(lut(name, "lip")[20:255]) == {UNKNOWN}


def test_potsdam_joins_six_to_three() -> None:
    assert lut("potsdam3", "potsdam")[:7] == [0, 1, 2, 2, 0, 1, UNKNOWN]


SIZES = {
    "voc": 21, "coco27": 27, "coco27_alphabetical": 27, "coco27_alignseg_exact": 27, "coco27_things": 12,
    "coco27_stuff": 15, "coco171": 171, "coco80": 81, "cityscapes27": 27, "cityscapes19": 19, "lip5": 6, "lip16": 17,
    "lip19": 20, "movi": 0, "potsdam3": 3, "msrc": 23, "camvid": 11, "demo": 12, "voc_animals": 7,
}  # fmt: skip
THINGS = {
    "voc": 20, "coco27": 12, "coco27_alphabetical": 12, "coco27_alignseg_exact": 12, "coco27_things": 12,
    "coco27_stuff": 0, "coco171": 80, "coco80": 80, "cityscapes27": 10, "cityscapes19": 8, "lip5": 5, "lip16": 16,
    "lip19": 19, "demo": 9,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SIZES))
def test_tables_are_complete(name: str) -> None:
    table = load_table(name)
    count = SIZES[name]
    assert len(table.classes) == len(set(table.classes)) == count
    assert len(set(table.colours)) == count
    assert all(0 <= channel <= 255 for colour in table.colours for channel in colour)
    assert table.how_to_get
    assert table.source
    assert table.licence
    found = build_lut(count, table.label_map, table.ignore)
    assert sorted({to for to in found if to not in (UNKNOWN, 255)}) == list(range(count))
    assert len(table.things) == (count if name in THINGS else 0)
    assert sum(table.things) == THINGS.get(name, 0)
    assert table.label_rule == ("sequential" if name == "coco27_alignseg_exact" else "lut")


def test_no_table_is_left_untested() -> None:
    assert table_names() == sorted(SIZES)


@pytest.mark.parametrize(
    ("table", "layout", "images", "published"),
    [
        ("voc", "voc", "all", {"train": 1464, "trainaug": 10582, "val": 1449}),
        ("coco27", "coco", "all", {"train": 118287, "val": 5000}),
        ("coco80", "coco", "annotated", {"train": 117266, "val": 4952}),
        ("coco27_stuff", "coco", "curated", {"train": 49629, "val": 2175}),
        ("cityscapes19", "cityscapes", "all", {"train": 2975, "val": 500}),
        ("lip16", "lip", "all", {"train": 30462, "val": 10000}),
        ("msrc", "voc", "all", {}),
    ],
)
def test_published_numbers_of_images(table: str, layout: str, images: str, published: dict[str, int]) -> None:
    spec = make_spec("x", layout, Path(), table=table, images=images)  # type: ignore[arg-type]
    assert spec.published == published
