"""`patchbank compare`: two runs side by side."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from page_factory import CLASSES, METHODS, make_run, make_set

from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.evaluation.counts import CountsFile, save_counts
from patchbank.files import read_json, write_json
from patchbank.report.page.scores import stored_scores
from patchbank.report.two_runs import compare_runs, comparison_text


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compare")
    make_set(folder)
    return make_run(folder, folder / "one"), make_run(folder, folder / "two", seed=1)


def test_differences_are_those_of_the_reports(runs: tuple[Path, Path]) -> None:
    a, b = (read_json(run / "report.json") for run in runs)
    found = compare_runs(*runs)
    assert len(found["scores"]) == len(a["rows"])
    for row, before, after in zip(found["scores"], a["rows"], b["rows"], strict=True):
        assert (row["method"], row["protocol"]) == (before["method"], before["protocol"])
        assert row["difference"] == after["miou"]["mean"] - before["miou"]["mean"]
    for method in METHODS:
        assert sorted(entry["class"] for entry in found["classes"][method]) == sorted(CLASSES)
        for kind in ("classes", "images"):
            sizes = [abs(entry["difference"]) for entry in found[kind][method]]
            assert sizes == sorted(sizes, reverse=True)
            assert sizes[0] > 0
    first, second = (stored_scores(run, "alignseg") for run in runs)
    assert first is not None
    assert second is not None
    largest = found["images"]["alignseg"][0]
    assert largest["difference"] == second.of(largest["id"])["matched"] - first.of(largest["id"])["matched"]
    changes = np.abs(second.scores["matched"] - first.scores["matched"])
    assert abs(largest["difference"]) == pytest.approx(changes.max())
    assert found["only_a"] == found["only_b"] == []


def test_intervals_are_those_of_the_compare_stage_and_turn_with_the_runs(runs: tuple[Path, Path]) -> None:
    there, back = compare_runs(*runs)["scores"], compare_runs(runs[1], runs[0])["scores"]
    for row, other in zip(there, back, strict=True):
        assert row["low"] <= row["difference"] + 1e-9
        assert row["high"] >= row["difference"] - 1e-9
        assert (row["low"], row["high"]) == pytest.approx((-other["high"], -other["low"]))
    assert any(row["low"] < row["high"] for row in there)


def test_a_run_against_itself_changes_nothing(runs: tuple[Path, Path]) -> None:
    found = compare_runs(runs[0], runs[0])
    assert {row[name] for row in found["scores"] for name in ("difference", "low", "high")} == {0.0}
    assert {entry["difference"] for entry in found["images"]["kmeans"]} == {0.0}


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ((False, False), "Nothing to compare: A and B have no scores."),
        ((True, False), "Nothing to compare: B has no scores."),
        (
            (True, True),
            "Nothing to compare: no row of A stands in B (rows belong together by method, protocol, variant, ",
        ),
    ],
)
def test_runs_without_a_row_in_common_say_so(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: tuple[bool, bool], said: str
) -> None:
    for name, run, keeps in zip("ab", runs, kept, strict=True):
        report = read_json(run / "report.json")
        rows = [{**row, "preprocessing": f"at {name}"} for row in report["rows"]] if keeps else []
        write_json(tmp_path / name / "report.json", {**report, "rows": rows})
        shutil.copy(run / "manifest.json", tmp_path / name)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert said in capsys.readouterr().out


def test_the_command_prints_text_and_json(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, runs)]) == 0
    text = capsys.readouterr().out
    assert text == comparison_text(compare_runs(*runs))
    assert "overcluster, K = 5, precision" in text
    assert "Images of alignseg" in text
    assert "images/val/001.png" in text
    assert main(["compare", *map(str, runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == compare_runs(*runs)


def test_rows_of_post_processing_have_the_tables_of_their_source(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name, run in zip("ab", runs, strict=True):
        copy = tmp_path / name
        shutil.copytree(run, copy)
        shutil.copytree(copy / "alignseg", copy / "alignseg+pamr", ignore=shutil.ignore_patterns("clusters.npz"))
        report = read_json(copy / "report.json")
        more = [{**row, "method": "alignseg+pamr"} for row in report["rows"] if row["method"] == "alignseg"]
        write_json(copy / "report.json", {**report, "rows": [*report["rows"], *more]})
    found = compare_runs(tmp_path / "a", tmp_path / "b")
    assert found["images"]["alignseg+pamr"] == found["images"]["alignseg"]
    refined = [row for row in found["scores"] if row["method"] == "alignseg+pamr"]
    plain = [row for row in found["scores"] if row["method"] == "alignseg"]
    assert [(row["protocol"], row["low"], row["high"]) for row in refined] == [
        (row["protocol"], row["low"], row["high"]) for row in plain
    ]
    assert all(row["low"] is not None for row in refined)


def test_rows_that_one_run_lacks_are_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    report = read_json(other / "report.json")
    report["rows"] = [row for row in report["rows"] if row["method"] != "kmeans"]
    write_json(other / "report.json", report)
    (other / "alignseg" / "seed0" / "counts.npz").unlink()
    found = compare_runs(runs[0], other)
    assert {row["method"] for row in found["only_a"]} == {"kmeans"}
    assert "kmeans" not in found["images"]
    assert [note.split(":")[0] for note in found["notes"]] == ["No intervals for alignseg", "No images of alignseg"]
    assert all("counts.npz does not exist" in note for note in found["notes"])
    assert {row["low"] is None for row in found["scores"] if row["method"] == "alignseg"} == {True}
    text = comparison_text(found)
    assert "Only in A: kmeans (per_image)" in text
    assert "Images of alignseg" not in text


def test_runs_of_other_images_have_differences_without_intervals(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    path = other / "kmeans" / "seed0" / "counts.npz"
    file = CountsFile(path)
    images = ("f" * 16, *file.images[1:])
    save_counts(path, {name: dataclasses.replace(file[name], images=images) for name in file})
    found = compare_runs(runs[0], other)
    assert "No intervals for kmeans: the runs were scored on different images." in found["notes"]
    assert {row["low"] is None for row in found["scores"]} == {True, False}
    assert len(found["images"]["kmeans"]) == len(images) - 1
    assert any(note.startswith(f"kmeans: {len(images) - 1} images are in both runs") for note in found["notes"])


def test_runs_that_cannot_be_compared_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder without bank\.json and report\.json, not a finished run"):
        compare_runs(runs[0], tmp_path)
    write_json(tmp_path / "report.json", {**read_json(runs[0] / "report.json"), "dataset": "other"})
    with pytest.raises(UserError, match=r"differ in dataset \(toy and other\)"):
        compare_runs(runs[0], tmp_path)
    assert main(["compare", str(runs[0]), str(tmp_path)]) == 1
