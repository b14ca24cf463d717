"""Every broken or odd input is converted correctly or named in the one error; nothing crashes, hangs or is dropped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odd_files import GREY, RGB, png
from odd_inputs import LABELS, PIXELS, Case
from odd_trees import CASES

from patchbank.datasets import DatasetSpec, layouts, load_image, load_labels, make_spec, tree_fingerprint
from patchbank.datasets.scan import examine
from patchbank.errors import UserError

SECONDS = 20
PAGE = Path(__file__).parents[2] / "docs" / "input_files.md"


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    """A test that waits for a pipe fails."""

    def late(*arguments: object) -> None:
        raise AssertionError(f"hangs for more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def build(case: Case, root: Path) -> DatasetSpec:
    """The case's files, beside good pairs in both splits of a folder set."""
    good = {
        "images/{}/ok.png": png(PIXELS, 8, RGB),
        "masks/{}/ok.png": png(LABELS, 8, GREY),
    }
    files = {name.format(split): data for split in ("train", "val") for name, data in good.items()}
    for name, data in ((files if case.layout == "folder" else {}) | case.files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    if case.make is not None:
        case.make(root)
    return make_spec("odd", case.layout, root, classes=("a", "b") if case.masks else ())


@pytest.mark.parametrize("name", CASES)
def test_odd_input(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    spec = build(case, tmp_path)
    if not case.by:
        scan = examine(spec, workers=1)
        assert scan.manifest is not None
        entries = {path: entry for entry in scan.manifest.entries("val") for path in (entry.image, entry.mask)}
        assert case.name in entries
        entry = entries[case.name]
        if case.image is not None:
            seen = np.asarray(load_image(tmp_path / entry.image))
            np.testing.assert_array_equal(seen, case.image)
            assert (entry.width, entry.height) == (case.image.shape[1], case.image.shape[0])
        if case.labels is not None:
            assert entry.mask is not None
            np.testing.assert_array_equal(load_labels(tmp_path / entry.mask, scan.manifest.lut), case.labels)
        # the header alone says the same size
        assert examine(spec, workers=1, quick=True).summary.splits["val"].widest == max(
            e.width for e in scan.manifest.entries("val")
        )
        return
    with pytest.raises(UserError, match=case.says) as caught:
        examine(spec, workers=1)
    lines = caught.value.details or (str(caught.value),)
    assert any(case.name in line and re.search(case.says, line) for line in lines), lines
    assert not any("ok.png" in line.partition(":")[0] for line in lines)
    if case.by == "decode":
        examine(spec, workers=1, quick=True)
    else:
        with pytest.raises(UserError, match=case.says):
            examine(spec, workers=1, quick=True)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.by == "list"])
def test_the_fingerprint_of_odd_trees_does_not_crash(name: str, tmp_path: Path) -> None:
    spec = build(CASES[name], tmp_path)
    with contextlib.suppress(UserError):  # any other exception fails the test
        assert len(tree_fingerprint(spec)) == 16


def test_all_bad_images_at_once(tmp_path: Path) -> None:
    bad = {name: case for name, case in CASES.items() if case.by in ("header", "decode") and not case.masks}
    spec = build(Case(""), tmp_path)
    for number, case in enumerate(bad.values()):
        (data,) = case.files.values()
        (tmp_path / f"images/val/{number:03d}{Path(case.name).suffix}").write_bytes(data)
    with pytest.raises(UserError) as caught:
        examine(replace(spec, classes=(), colours=()), workers=1)
    assert len(bad) > 20
    assert [line[11:14] for line in caught.value.details] == [f"{number:03d}" for number in range(len(bad))]


def test_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # root may read everything: it becomes nobody for the scan, in a folder that nobody may enter, and nobody may not be
    # able to read the package: all of it that is needed is read before
    names = layouts.layout_names()
    monkeypatch.setattr(layouts, "layout_names", lambda: names)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spec = build(Case("", {"images/val/odd.png": png(PIXELS, 8, RGB)}, masks=False), root)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755)
        examine(spec, workers=1)
        (root / "images/val/odd.png").chmod(0)
        as_root = os.geteuid() == 0
        if as_root:
            os.seteuid(65534)
        try:
            with pytest.raises(UserError, match=r"images/val/odd\.png: cannot be read \(Permission denied\)"):
                examine(spec, workers=1)
        finally:
            if as_root:
                os.seteuid(0)


def test_the_page_has_a_row_for_every_case() -> None:
    rows = re.findall(
        r"^\| (.+?) \| (converted|refused).* \| (-|list|header|decode) \|$", PAGE.read_text(), re.MULTILINE
    )
    expected = {(case.row, "refused" if case.by else "converted", case.by or "-") for case in CASES.values()}
    assert set(rows) - {("file that may not be read", "refused", "list")} == expected
    assert len(CASES) >= 40
