"""Files, errors, seeds, code fingerprints, predictions, the command line."""

from __future__ import annotations

import errno
import os
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save_file
from source_memory import forget_sources

from patchbank import fingerprint
from patchbank.cli import main
from patchbank.errors import SHOWN, UserError, raise_problems
from patchbank.files import (
    LONGEST,
    atomic_folder,
    atomic_path,
    cut_name,
    read_json,
    read_npz,
    short_name,
    write_json,
    write_npz,
)
from patchbank.predictions import PredictionReader, PredictionRecord, PredictionWriter
from patchbank.seeds import derive, generator


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_a_file_has_the_rights_that_the_user_gives_new_files(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        with atomic_path(tmp_path / "a.safetensors") as temporary:
            save_file({"x": torch.zeros(1)}, temporary)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("a.json", "a.safetensors"), mode
    )


def test_json_and_npz_survive_and_refuse_what_cannot_be_read_again(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5, "ü"]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, "ü"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    write_npz(tmp_path / "a.npz", {"x": np.arange(3)})
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz")["x"], [0, 1, 2])
    with pytest.raises(TypeError, match="plain dtypes"):
        write_npz(tmp_path / "b.npz", {"x": np.array([None])})
    np.savez(tmp_path / "pickled.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="cannot be read"):
        read_npz(tmp_path / "pickled.npz")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(tmp_path / "broken.json")


def test_problems_come_in_one_message_the_first_in_full() -> None:
    raise_problems("nothing", [])
    with pytest.raises(UserError) as caught:
        raise_problems("25 of 30 files", [f"file {i}" for i in range(25)], "Repair them.")
    text = str(caught.value)
    assert text.count("file ") == SHOWN
    assert "5 more" in text
    assert text.endswith("Repair them.")
    assert len(caught.value.details) == 25


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=4))
def test_seeds_depend_on_every_part_and_its_type(parts: list[int | str]) -> None:
    seed = derive(*parts)
    assert 0 <= seed < 2**63
    assert seed == derive(*parts)
    assert seed != derive(*parts, 0)
    assert derive(1) != derive("1")
    assert generator(*parts).integers(2**60) == generator(*parts).integers(2**60)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A little package in place of ours, for the fingerprint."""
    forget_sources()
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path / "patchbank")
    (tmp_path / "patchbank" / "heads").mkdir(parents=True)
    write = {
        "__init__.py": "",
        "heads/__init__.py": "",
        "heads/train.py": "from patchbank.heads.loss import loss\n\ndef train():\n    return loss()\n",
        "heads/loss.py": 'def loss():\n    """Doc."""\n    return 1  # one\n',
        "report.py": "import patchbank.heads.train\n",
    }
    for name, text in write.items():
        (tmp_path / "patchbank" / name).write_text(text)
    yield tmp_path / "patchbank"
    forget_sources()


def _prints() -> dict[str, str]:
    forget_sources()
    return {n: fingerprint.code_fingerprint(f"patchbank.{n}") for n in ("heads.train", "heads.loss", "report")}


def test_code_fingerprint_sees_meaning_at_any_depth_and_no_comments(library: Path) -> None:
    before = _prints()
    (library / "heads" / "loss.py").write_text('"""New page."""\n\n\ndef loss():\n    # why\n    return 1\n')
    assert _prints() == before
    (library / "heads" / "loss.py").write_text("def loss():\n    return 2\n")
    after = _prints()
    assert all(after[name] != before[name] for name in before)


def test_code_fingerprint_ignores_what_is_not_imported(library: Path) -> None:
    before = _prints()
    (library / "report.py").write_text("import patchbank.heads.train\nTITLE = 'new'\n")
    after = _prints()
    assert after["report"] != before["report"]
    assert after["heads.train"] == before["heads.train"]
    (library / "report.py").write_text(textwrap.dedent("def f():\n    from patchbank.heads import loss\n"))
    assert "patchbank.heads.loss" in fingerprint.reachable("patchbank.heads.train")


def test_what_was_parsed_is_remembered_by_the_bytes_of_a_source(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave: list[tuple[Any, ...]] = []
    monkeypatch.setattr(fingerprint.atexit, "register", lambda *call: leave.append(call))
    kept = tmp_path / "kept" / "sources.json"
    before = _prints()
    fingerprint.remember(kept)
    for function, *arguments in leave:
        function(*arguments)
    forget_sources()
    fingerprint.remember(kept, write=False)
    parse, parsed = fingerprint._parse, []
    monkeypatch.setattr(fingerprint, "_parse", lambda content: parsed.append(content) or parse(content))
    assert fingerprint.code_fingerprint("patchbank.report") == before["report"]
    assert parsed == []
    # a file beside them makes a name that they import a module, another source is parsed again
    (library / "heads" / "loss").mkdir()
    (library / "heads" / "loss" / "__init__.py").write_text("")
    (library / "heads" / "loss" / "loss.py").write_text("")
    fingerprint.reachable.cache_clear()
    fingerprint.module_file.cache_clear()
    fingerprint._is_module.cache_clear()
    fingerprint._read.cache_clear()
    assert "patchbank.heads.loss.loss" in fingerprint.reachable("patchbank.report")
    assert parsed == [b""]
    for text in ("{", "[]", '{"version": "another", "sources": {}}'):
        kept.write_text(text)
        forget_sources()
        fingerprint.remember(kept, write=False)
        assert not fingerprint._parsed


@settings(max_examples=30)
@given(hnp.arrays(np.float32, (3, 5, 2, 3), elements=st.floats(-1e5, 1e5, width=32)))
def test_stored_scores_keep_every_argmax(tmp_path_factory: pytest.TempPathFactory, scores: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("p") / "val.h5"
    record = PredictionRecord("toy", "val", "m", "segments", 0, "nearest", (28, 42))
    with PredictionWriter(path, record, ["a" * 16, "b" * 16, "c" * 16], {"segments": 5}, (2, 3)) as writer:
        writer.write_scores("segments", 0, scores)
    with PredictionReader(path) as reader:
        assert reader.record == record
        assert reader.grid == (2, 3)
        stored = reader.scores("segments", 0, 3)
        assert stored is not None
        assert (stored.max(1) == 0).all()
        labels = reader.labels("segments", 0, 3)
    taken = np.take_along_axis(scores, labels[:, None], 1)
    gap = scores.max(1, keepdims=True) - taken
    assert gap.max() <= np.finfo(np.float16).smallest_subnormal  # closer than float16 can tell apart


def test_labels_are_stored_above_64_clusters(tmp_path: Path) -> None:
    record = PredictionRecord("toy", "val", "m", "segments", 0, "nearest", (28, 28))
    labels = np.array([[[0, 99], [7, 7]], [[5, 5], [5, 5]]])
    with PredictionWriter(tmp_path / "v.h5", record, ["a" * 16, "b" * 16], {"segments": 100}, (2, 2)) as writer:
        writer.write_labels("segments", 0, labels)
    with PredictionReader(tmp_path / "v.h5") as reader:
        assert reader.scores("segments", 0, 2) is None
        np.testing.assert_array_equal(reader.labels("segments", 0, 2), labels)


@pytest.mark.parametrize("waiting", [1, 100, 1 << 20])
def test_rows_are_stored_where_they_belong_in_whatever_pieces_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    monkeypatch.setattr("patchbank.predictions.WAITING", waiting)
    record = PredictionRecord("toy", "val", "m", "classes", 0, "nearest", (28, 28))
    few = np.random.default_rng(0).normal(size=(9, 3, 2, 2)).astype(np.float16)
    many = np.random.default_rng(1).integers(0, 99, (9, 2, 2))
    with PredictionWriter(tmp_path / "v.h5", record, list("abcdefghi"), {"few": 3, "many": 99}, (2, 2)) as writer:
        for start, end in ((4, 5), (5, 7), (7, 7), (0, 3), (8, 9), (3, 4), (7, 8)):
            writer.write_scores("few", start, few[start:end])
            writer.write_labels("many", start, many[start:end])
    with PredictionReader(tmp_path / "v.h5") as reader:
        np.testing.assert_array_equal(reader.scores("few", 0, 9), few - few.max(1, keepdims=True))
        np.testing.assert_array_equal(reader.labels("many", 0, 9), many)


def test_a_broken_prediction_is_never_visible(tmp_path: Path) -> None:
    record = PredictionRecord("toy", "val", "m", "classes", 0, "nearest", (28, 28))
    with (
        pytest.raises(RuntimeError),
        PredictionWriter(tmp_path / "v.h5", record, ["a" * 16], {"k3-s0": 3}, (2, 2)) as writer,
    ):
        writer.write_labels("k3-s0", 0, np.zeros((1, 2, 2), dtype=int))
        raise RuntimeError("killed")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="run the predict stage first"):
        PredictionReader(tmp_path / "v.h5")


def test_a_disk_that_is_full_at_the_end_of_a_prediction_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = PredictionRecord("toy", "val", "m", "classes", 0, "nearest", (28, 28))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PredictionWriter, "_write", full)
    with (  # the error keeps the writer alive, so that nothing is removed by chance
        pytest.raises(OSError, match="No space left"),
        PredictionWriter(tmp_path / "v.h5", record, ["a" * 16], {"k3-s0": 3}, (2, 2)) as writer,
    ):
        writer.write_labels("k3-s0", 0, np.zeros((1, 2, 2), dtype=int))
    assert list(tmp_path.iterdir()) == []
    assert not writer._file


def test_command_line_says_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("patchbank: ")
    assert "does not exist" in said
    assert "Traceback" not in said
    with pytest.raises(SystemExit):
        main(["unknown"])
    assert shutil.which("patchbank")


NAMES = ("a" * 255, "ä" * 127, "é" * 100 + "x", "日" * 85, "\U0001f30a" * 63)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_letters_are_written_up_to_255_bytes(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / name, 1)
    assert read_json(tmp_path / name) == 1
    with atomic_folder(tmp_path / "folders" / name) as folder:
        (folder / "inside").write_text("")
    assert (tmp_path / "folders" / name / "inside").is_file()


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1), st.integers(0, 80))
def test_a_name_is_cut_between_letters(name: str, most: int) -> None:
    cut = cut_name(name, most)
    assert name.startswith(cut)
    assert len(cut.encode()) <= most
    longer = name[: len(cut) + 1]
    assert longer == cut or len(longer.encode()) > most


@given(st.lists(st.text("aé日\U0001f30a", min_size=60, max_size=300), min_size=2, max_size=20, unique=True))
def test_long_names_fit_and_do_not_collide(names: list[str]) -> None:
    short = [short_name(name, ".png") for name in names]
    assert len(set(short)) == len(names)
    for name, made in zip(names, short, strict=True):
        assert len(f"{made}.png".encode()) <= LONGEST
        assert made == name or len(f"{name}.png".encode()) > LONGEST
