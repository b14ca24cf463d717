"""Files of several pages: each page a picture with a name, a content id, a mask and a place of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets import load_labels
from patchbank.datasets.geo import SCALE, TIEPOINT, read_geo
from patchbank.datasets.images import load_image, read_size
from patchbank.datasets.listing import state_of
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.pages import directories, located, page_hash, page_name, pages
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import make_spec
from patchbank.errors import UserError
from patchbank.inference.inputs import find_inputs

RANDOM = np.random.default_rng(3)
DEEP = RANDOM.integers(0, 4000, (4, 30, 40), dtype=np.uint16)
COLOUR = RANDOM.integers(0, 256, (3, 30, 40, 3), dtype=np.uint8)


def stack(path: Path, values: NDArray[Any], **options: Any) -> Path:
    colours = "rgb" if values.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(path, values, photometric=colours, metadata=None, **options)
    return path


def test_names_of_pages(tmp_path: Path) -> None:
    file = stack(tmp_path / "a.b.tif", DEEP)
    names = [tmp_path / f"a.b.p{number:03d}.tif" for number in (1, 2, 3, 4)]
    assert pages(file) == names
    assert [located(name) for name in names] == [(file, number) for number in (1, 2, 3, 4)]
    assert page_name(Path("x/scan"), 1234) == Path("x/scan.p1234")
    for other in ("a.b.p000.tif", "a.b.p0001.tif", "a.b.p1.tif", "b.p001.tif", "a.b.p001.png"):
        assert located(tmp_path / other) == (tmp_path / other, 0)
    single = stack(tmp_path / "single.tif", DEEP[0])
    assert pages(single) == [single]
    (tmp_path / "text.tif").write_bytes(b"II*\0 no directories here")
    assert pages(tmp_path / "text.tif") == [tmp_path / "text.tif"]
    assert state_of(names[0]) == state_of(file) != ""


def test_a_file_that_is_called_as_a_page_is_itself(tmp_path: Path) -> None:
    file = stack(tmp_path / "a.tif", COLOUR)
    other = stack(tmp_path / "a.p002.tif", COLOUR[0])
    assert located(other) == (other, 0)
    assert pages(file) == [file]  # neither is dropped: the stack is refused by its name
    with pytest.raises(UserError, match=r"a\.tif: holds 3 frames"):
        examine(make_spec("own", "folder", tmp_path), workers=1)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}])
def test_every_page_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    deep, colour = stack(tmp_path / "deep.tif", DEEP, **options), stack(tmp_path / "colour.tif", COLOUR, **options)
    for name, values in zip(pages(colour), COLOUR, strict=True):
        np.testing.assert_array_equal(np.asarray(load_image(name)), values)
        assert read_size(name, indexed=False) == (40, 30)
    for name, values in zip(pages(deep), DEEP, strict=True):
        stack(tmp_path / "one.tif", values)
        np.testing.assert_array_equal(np.asarray(load_image(name)), np.asarray(load_image(tmp_path / "one.tif")))
    with pytest.raises(UserError, match=r"deep\.p005\.tif: is page 5 of a file that has 4"):
        load_image(tmp_path / "deep.p005.tif")


def test_overviews_and_transparency_masks_are_no_pages() -> None:
    for old in (False, True):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            for page in DEEP[:2]:
                file.write(page)
                marked: dict[str, Any] = {"extratags": [(255, 3, 1, 2, True)]} if old else {"subfiletype": 1}
                file.write(page[::2, ::2], **marked)
                file.write(page > 9, subfiletype=4)
        assert directories(buffer) == [0, 3]


def test_a_chain_that_leads_back_ends() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, DEEP[0], metadata=None)
    data = bytearray(buffer.getvalue())
    start = int.from_bytes(data[4:8], "little")
    link = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    assert directories(io.BytesIO(bytes(data))) == [0]
    data[link : link + 4] = data[4:8]
    assert directories(io.BytesIO(bytes(data))) == []
    assert directories(io.BytesIO(bytes(data[: link - 3]))) == []


def test_a_page_keeps_its_id_when_others_come(tmp_path: Path) -> None:
    few, more = stack(tmp_path / "few.tif", COLOUR[1:]), stack(tmp_path / "more.tif", COLOUR)
    assert page_hash(few, 1) == page_hash(more, 2) != page_hash(more, 1)
    assert page_hash(few, 1, b"x") != page_hash(few, 1)


def test_masks_of_pages(tmp_path: Path) -> None:
    labels = RANDOM.integers(0, 2, (3, 30, 40), dtype=np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    stack(tmp_path / "images" / "a.tif", COLOUR)
    stack(tmp_path / "images" / "b.tif", COLOUR[::-1])
    stack(tmp_path / "masks" / "a.tif", labels)
    Image.fromarray(labels[0]).save(tmp_path / "masks" / "b.p002.png")
    memory = tmp_path.with_name(f"{tmp_path.name}-memory")
    spec = make_spec("own", "folder", tmp_path, classes=("sky", "sea"))
    found = examine(spec, workers=1, memory=memory)
    assert found == examine(spec, workers=1, memory=memory)  # pages are remembered
    assert found.manifest is not None
    found.manifest.save(tmp_path / "manifest.json")
    manifest = Manifest.load(tmp_path / "manifest.json")
    entries = {Path(entry.image).name: entry for entry in manifest.entries("val")}
    assert sorted(entries) == [f"{name}.p00{number}.tif" for name in "ab" for number in (1, 2, 3)]
    assert len({entry.id for entry in entries.values()}) == 6
    for number, values in enumerate(labels, 1):
        mask = entries[f"a.p00{number}.tif"].mask
        assert mask == f"masks/a.p00{number}.tif"
        np.testing.assert_array_equal(load_labels(tmp_path / mask, manifest.lut), values)
    assert [entries[f"b.p00{number}.tif"].mask is not None for number in (1, 2, 3)] == [False, True, False]
    (tmp_path / "masks" / "c.p001.png").write_bytes((tmp_path / "masks" / "b.p002.png").read_bytes())
    with pytest.raises(UserError, match=r"c\.p001\.png has no picture c\.p001\.\*"):
        examine(spec, workers=1)


def test_pages_as_inputs_of_segment(tmp_path: Path) -> None:
    file = stack(tmp_path / "a.tif", COLOUR)
    assert [one.name for one in find_inputs([file], tmp_path / "out")] == ["a.p001", "a.p002", "a.p003"]
    assert [one.name for one in find_inputs([tmp_path], tmp_path / "out")] == ["a.p001", "a.p002", "a.p003"]
    page = tmp_path / "a.p002.tif"
    assert [(one.path, one.name) for one in find_inputs([page], tmp_path / "out")] == [(page, "a.p002")]
    assert len(find_inputs([file, page], tmp_path / "out")) == 3
    with pytest.raises(UserError, match=r"b\.p001\.tif does not exist"):
        find_inputs([tmp_path / "b.p001.tif"], tmp_path / "out")


def test_a_page_has_its_own_place_on_the_map(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for east, page in enumerate(COLOUR):
            tags = [(SCALE, 12, 3, (2.0, 2.0, 0.0), True), (TIEPOINT, 12, 6, (0, 0, 0, 100.0 * east, 50.0, 0), True)]
            file.write(page, photometric="rgb", extratags=tags)
    found = [read_geo(page) for page in pages(tmp_path / "a.tif")]
    assert [None if geo is None else geo.affine for geo in found] == [(2, 0, 100 * x, 0, -2, 50) for x in range(3)]
