"""Rows that cannot be made are left out with a reason, pass it on, and stop nothing; every other error stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bank_factory import extract_all, make_images
from count_factory import make_set as make_masks
from count_factory import write_predictions
from jobs import predict_job, train_job
from page_factory import METHODS, make_run, make_set
from PIL import Image
from snakemake.iocontainers import Namedlist

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.errors import UserError
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.refine import MOST, refined_ids
from patchbank.files import read_json, write_json, write_npz, write_text
from patchbank.left_out import CannotBeMade, LeftOut, first_left_out, left_out_at, write_left_out
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.linear_probe.settings import resolve
from patchbank.refinement.crf import DenseCRF
from patchbank.refinement.pamr import pamr_winners
from patchbank.report.page.build import write_page
from patchbank.report.page.index import write_index
from patchbank.report.panel import panel_columns
from patchbank.report.rows import read_left_out, read_rows
from patchbank.report.summary import read_reports, summary_markdown
from patchbank.report.write import write_report
from patchbank.scripting import stage

SHARED = {"k": [3], "kmeans_seeds": [0]}
PROBE = LeftOut("linear-probe", "", "no patch has a label.")


def test_what_is_left_out_is_told_from_every_other_file(tmp_path: Path) -> None:
    names = ["scores.json", "checkpoint.safetensors", "val.h5", "counts.npz", "steps.csv"]
    write_left_out([tmp_path / name for name in [*names, "runs"]], PROBE)
    assert [left_out_at(tmp_path / name) for name in names] == [PROBE] * 5
    assert list((tmp_path / "runs").iterdir()) == []
    write_json(tmp_path / "rows.json", {"left_out": [], "rows": 1})
    write_npz(tmp_path / "arrays.npz", {"left_out": np.zeros(3)})
    write_text(tmp_path / "empty.csv", "")
    others = [tmp_path / name for name in ("rows.json", "arrays.npz", "empty.csv", "runs", "missing.json")]
    assert [left_out_at(path) for path in others] == [None] * 5
    assert first_left_out([*others, tmp_path / "val.h5"]) == PROBE
    assert first_left_out(others) is None


def job(folder: Path, optional: bool, at: str = "", **inputs: list[str]) -> Any:
    """What Snakemake gives to a script of a row."""
    files = Namedlist([path for paths in inputs.values() for path in paths])
    start = 0
    for name, paths in inputs.items():
        files._set_name(name, start, end=start + len(paths))
        start += len(paths)
    return SimpleNamespace(
        log=Namedlist([str(folder / "log")]),
        threads=1,
        resources=Namedlist(fromdict={"mem_mb": 2000}),
        params=Namedlist(fromdict={"optional": optional}),
        wildcards=Namedlist(fromdict={"dataset": "toy", "method": "floor", "at": at}),
        input=files,
        output=Namedlist([str(folder / "out.json"), str(folder / "out.npz")]),
    )


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """`stage` takes over the root logger of its process."""
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    yield
    root.handlers[:] = kept
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("quiet_logs")
def test_a_stage_leaves_out_an_optional_row_and_says_so_in_its_log(tmp_path: Path) -> None:
    with stage(job(tmp_path, True, at="-at-full")):
        raise CannotBeMade("there are 3 points.")
    entry = LeftOut("floor", "full", "there are 3 points.")
    assert [left_out_at(tmp_path / name) for name in ("out.json", "out.npz")] == [entry] * 2
    assert "left out: floor at full: there are 3 points." in (tmp_path / "log").read_text()


@pytest.mark.usefixtures("quiet_logs")
@pytest.mark.parametrize(
    ("optional", "error"),
    [(False, CannotBeMade("no points")), (True, UserError("a damaged bank")), (True, ValueError("a defect"))],
)
def test_a_row_that_was_asked_for_and_every_other_error_stop(tmp_path: Path, optional: bool, error: Exception) -> None:
    with pytest.raises(SystemExit) as ended, stage(job(tmp_path, optional)):
        raise error
    assert ended.value.code == 1
    assert not (tmp_path / "out.json").exists()
    text = (tmp_path / "log").read_text()
    assert str(error) in text
    assert ("Traceback" in text) == isinstance(error, ValueError)


@pytest.mark.usefixtures("quiet_logs")
def test_what_the_disk_refuses_is_no_defect(tmp_path: Path) -> None:
    with pytest.raises(SystemExit), stage(job(tmp_path, True)):
        write_json(tmp_path / "log" / "out.json", 1)  # a file in the place of a folder
    text = (tmp_path / "log").read_text()
    assert f"{tmp_path / 'log'} cannot be read or written" in text
    assert "Traceback" not in text
    with pytest.raises(SystemExit), stage(job(tmp_path, True)):
        (tmp_path / "missing").read_text()
    assert "Traceback" in (tmp_path / "log").read_text()


@pytest.mark.usefixtures("quiet_logs")
def test_later_stages_pass_it_on_and_do_no_work(tmp_path: Path) -> None:
    write_left_out([tmp_path / "seed1.npz"], PROBE)
    write_json(tmp_path / "seed0.npz", {"counts": 1})
    counts = [str(tmp_path / name) for name in ("seed0.npz", "seed1.npz")]
    with pytest.raises(SystemExit) as ended, stage(job(tmp_path, True, counts=counts)):
        raise AssertionError("the stage worked")
    assert ended.value.code == 0
    assert left_out_at(tmp_path / "out.npz") == LeftOut("floor", "", PROBE.reason)


@pytest.mark.usefixtures("quiet_logs")
def test_a_row_without_instances_keeps_its_other_protocols(tmp_path: Path) -> None:
    write_left_out([tmp_path / "i.npz"], PROBE)
    write_json(tmp_path / "c.npz", {"counts": 1})
    worked = []
    with stage(job(tmp_path, True, counts=[str(tmp_path / "c.npz")], instances=[str(tmp_path / "i.npz")])):
        worked.append(True)
    assert worked


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left_out")
    make_images(folder, 4)
    for split in ("train", "val"):
        extract_all(folder, ExtractSettings("whole", {"size": 32}), split)
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    return folder


def masked(world: Path, folder: Path, value: int | None) -> Path:
    """The manifest of copies of the masks that hold one value throughout; None: of pictures without masks."""
    content = read_json(world / "manifest.json")
    for entry in (entry for entries in content["splits"].values() for entry in entries):
        if value is not None:
            Image.new("L", (entry["width"], entry["height"]), value).save(folder / f"{entry['id']}.png")
        entry["mask"] = None if value is None else str(folder / f"{entry['id']}.png")
    write_json(folder / "manifest.json", content)
    return folder / "manifest.json"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (255, "no patch of split 'train' of toy has a label"),
        (None, "no patch of split 'train' of toy has a label"),
        (1, "every labelled patch of split 'train' of toy is 'class 1'"),
    ],
)
def test_a_probe_needs_two_classes(world: Path, tmp_path: Path, value: int | None, said: str) -> None:
    with pytest.raises(CannotBeMade, match=said):
        run_train(
            train_job(
                "linear_probe",
                tmp_path,
                banks={"whole": world / "whole.json"},
                statistics=world / "statistics.npz",
                settings=resolve({}, SHARED),
                manifest=masked(world, tmp_path, value),
            )
        )


def predict(world: Path, folder: str, out: Path, settings: dict[str, Any], manifest: Path | None = None) -> None:
    given: dict[str, Any] = {"banks": {"whole": world / "val-whole.json"}, "statistics": world / "statistics.npz"}
    run_predict(predict_job(folder, out, settings=settings, manifest=manifest, **given))


@pytest.mark.parametrize("value", [255, None])
def test_the_majority_needs_a_labelled_pixel(world: Path, tmp_path: Path, value: int | None) -> None:
    manifest = masked(world, tmp_path, value)
    with pytest.raises(CannotBeMade, match="no pixel of split 'val' of toy is labelled"):
        predict(world, "grid_majority", tmp_path / "p.h5", SHARED, manifest)
    assert not (tmp_path / "p.h5").exists()


def test_a_floor_needs_as_many_patches_as_segments(world: Path, tmp_path: Path) -> None:
    settings = {"floor": "image-kmeans", "q": 5, "centre": "mean", "kmeans": {"niter": 2, "nredo": 1}}
    with pytest.raises(CannotBeMade, match="an image has 4 patches, fewer than the 5 segments asked for"):
        predict(world, "floors", tmp_path / "p.h5", settings)
    predict(world, "floors", tmp_path / "p.h5", settings | {"q": 4})


def test_post_processing_needs_its_library_and_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_masks(tmp_path, 3)
    for entry in manifest.entries("val"):
        Image.new("RGB", (entry.width, entry.height)).save(tmp_path / entry.image)
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5}, "nearest")
    arguments = (tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", 2)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "pydensecrf.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "none"))
    with pytest.raises(CannotBeMade, match=r"needs pydensecrf2: pip install 'patchbank\[crf\]'"):
        count_predictions(*arguments, postprocess="crf")
    monkeypatch.setattr(DenseCRF, "__init__", partialmethod(DenseCRF.__init__, limit=0.5))  # of an image, no import
    (tmp_path / "none" / "pydensecrf.py").write_text("import time; time.sleep(1)")
    with pytest.raises(CannotBeMade, match="needs pydensecrf2"):
        count_predictions(*arguments, postprocess="crf")
    assert not (tmp_path / "c.npz").exists()


def test_post_processing_is_bounded_in_pixels() -> None:
    grid = np.array([[0, 1], [1, 0]])
    with pytest.raises(CannotBeMade, match="refined at 3200000x320 pixels"):
        refined_ids(grid, Image.new("RGB", (10_000, 1)), (320, 3_200_000), pamr_winners)
    assert 320 * 3_200_000 > MOST >= 8192**2
    assert refined_ids(grid, Image.new("RGB", (8, 8)), (16, 16), pamr_winners).shape == (16, 16)


def test_instances_that_no_image_has_are_left_out(tmp_path: Path) -> None:
    manifest = make_masks(tmp_path, 2, masks=False)
    write_predictions(tmp_path / "p.h5", manifest, {"k5-s0": 5}, "nearest")
    with pytest.raises(CannotBeMade, match="no instance maps in split 'val'"):
        count_predictions(tmp_path / "p.h5", manifest, tmp_path / "c.npz", "full", 1, labels="instance")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run whose floor `image-kmeans-4` was then left out, with what its page is made from."""
    folder = tmp_path_factory.mktemp("results")
    make_set(folder)
    out = make_run(folder, folder / "results")
    floor = LeftOut("image-kmeans-4", "", "k-means with 4 clusters needs at least 4 points, got 1.")
    run = out / "image-kmeans-4"
    write_left_out([run / "scores.json", *(run / "seed0" / n for n in ("val.h5", "clusters.npz", "counts.npz"))], floor)
    write_left_out([run / "scores-at-full.json"], LeftOut("image-kmeans-4", "full", floor.reason))
    for row in ("kmeans", "alignseg"):
        write_left_out([out / row / "scores-at-full.json"], LeftOut(row, "full", "too large."))
    return folder, out


def test_rows_that_were_left_out_have_no_scores_and_no_column(results: tuple[Path, Path]) -> None:
    _, out = results
    scores = [out / method / "scores.json" for method in METHODS]
    assert {row.method for row in read_rows(scores)} == {"alignseg", "kmeans"}
    assert [entry.row for entry in read_left_out(scores)] == ["image-kmeans-4"]
    content = read_json(scores[0])
    write_json(scores[0], content | {"missing": [{"row": "objects", "at": "", "reason": "no instance maps."}]})
    assert [entry.row for entry in read_left_out(scores)] == ["image-kmeans-4", "objects"]
    write_json(scores[0], content)
    columns = panel_columns(
        [(method, kind, 0) for method, kind in METHODS.items()],
        [out / method / "seed0" / "val.h5" for method in METHODS],
        scores,
        [out / method / "seed0" / "clusters.npz" for method, kind in METHODS.items() if kind == "segments"],
    )
    assert [column.title for column in columns] == ["alignseg", "kmeans"]


def test_report_page_and_summary_say_what_was_left_out(results: tuple[Path, Path], tmp_path: Path) -> None:
    from page_factory import page_source

    from patchbank.report.build import ReportContext, build_report
    from patchbank.report.content import BackboneContext

    folder, out = results
    context = ReportContext(
        dataset="toy",
        classes=read_json(out / "manifest.json")["classes"],
        images={"train": 7, "eval": 7},
        backbone=BackboneContext("tiny", "vit_tiny_patch16_224", 1, False, (64, 64), "float32", "ab" * 32),
        fit="train",
        preprocessing="squash_448_100",
        config="0123abcd",
    )
    names = ("scores.json", "scores-at-full.json")
    scores, elsewhere = ([out / method / name for method in METHODS] for name in names)
    few = {"row": "paired differences", "at": "", "reason": "too few images."}
    write_json(tmp_path / "comparisons.json", {"comparisons": [], "left_out": [few], "resamples": 10})
    report = build_report(scores, context, tmp_path / "comparisons.json", elsewhere)
    assert {row.method for row in report.rows} == {"alignseg", "kmeans"}
    # of a row that is not there at all, further preprocessing is not told again
    assert [(entry.row, entry.at) for entry in report.left_out] == [
        ("image-kmeans-4", ""),
        ("alignseg", "full"),
        ("kmeans", "full"),
        ("paired differences", ""),
    ]
    sentences = [
        "image-kmeans-4: k-means with 4 clusters needs at least 4 points, got 1.",
        "alignseg and kmeans at full: too large.",
        "paired differences: too few images.",
    ]
    write_report(report, [], out / "report.json", tmp_path / "report.md")
    assert "## Left out\n\n" + "\n".join(f"- {line}" for line in sentences) in (tmp_path / "report.md").read_text()
    source = page_source(folder, out)
    write_page(source, out)
    page = (out / "index.html").read_text()
    reports = read_reports([out / "report.json"])
    write_index(reports, tmp_path / "index.html")
    index = (tmp_path / "index.html").read_text()
    for line in sentences:
        assert f"<li>{line}</li>" in page
        assert f"<li>toy: {line}</li>" in index
        assert f"- toy: {line}" in summary_markdown(reports)
    assert '<a href="#left_out">Left out</a>' in page
