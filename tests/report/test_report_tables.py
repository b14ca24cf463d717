"""Reports: rows, notes, Markdown and summary, from small score files with made-up numbers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_factory import CLASSES, CONTEXT, ROWS, make_floor, make_row, scores_file

from patchbank.datasets.manifest import Entry, Manifest
from patchbank.errors import UserError
from patchbank.files import write_json
from patchbank.plain import to_plain
from patchbank.report.build import build_report, context_from
from patchbank.report.content import BackboneContext
from patchbank.report.markdown import Figure, report_markdown, table
from patchbank.report.protocols import MEANING
from patchbank.report.provenance import git_state, processor
from patchbank.report.rows import Facts, Row, Spread, sort_rows
from patchbank.report.summary import build_summary, read_reports, summary_markdown
from patchbank.report.text import against, k_text, numbers, score_text, seeds_text
from patchbank.report.write import write_report


def test_rows_come_sorted_whatever_the_order_of_files(tmp_path: Path) -> None:
    one, two = scores_file(tmp_path, ROWS[:3], "a.json"), scores_file(tmp_path, ROWS[2:], "b.json")
    report = build_report([one, two], CONTEXT)
    assert json.dumps(to_plain(report)) == json.dumps(to_plain(build_report([two, one], CONTEXT)))
    assert [(r.method, r.protocol) for r in report.rows] == [
        ("alignseg", "hungarian"),
        ("alignseg", "overcluster"),
        ("image-kmeans-5", "hungarian"),  # in both files, once here
        ("kmeans", "hungarian"),
        ("image-kmeans-5", "overcluster"),
        ("grid-majority", "hungarian"),
    ]


@given(st.permutations(ROWS))
def test_sorting_does_not_depend_on_the_input_order(rows: list[Row]) -> None:
    assert sort_rows(rows) == sort_rows(ROWS)


def test_sort_keys_are_protocol_k_and_variant() -> None:
    wanted = [
        ("per_image", None, ""),
        ("per_image", None, "without_first"),
        ("hungarian", 3, ""),
        ("hungarian_iou", 3, ""),
        ("overcluster", 300, "precision"),
        ("overcluster", 300, "iou"),
        ("overcluster", 500, "precision"),
        ("zeta", 3, ""),
    ]
    rows = [make_row("m", p, 1.0, k=k, variant=v) for p, k, v in reversed(wanted)]
    assert [(r.protocol, r.k, r.variant) for r in sort_rows(rows)] == wanted


def test_missing_fields_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    row = to_plain(ROWS[0])
    bad = [{key: value for key, value in row.items() if key != lost} for lost in ("miou", "seeds")]
    for name, rows in (("a", bad), ("b", [row, row | {"colour": 1}])):
        write_json(tmp_path / f"{name}.json", {"rows": rows})
    said = r"(?s)a.json: row 0 has no miou.*row 1 has no seeds.*b.json: row 1 has colour, which this version does not"
    with pytest.raises(UserError, match=said):
        build_report([tmp_path / "a.json", tmp_path / "b.json"], CONTEXT)
    write_json(tmp_path / "list.json", [1])
    with pytest.raises(UserError, match=r"list.json holds no list of rows"):
        build_report([tmp_path / "list.json"], CONTEXT)


def test_scores_of_another_class_list_are_refused(tmp_path: Path) -> None:
    path = scores_file(tmp_path, [make_row("m", "hungarian", 1.0, per_class=[1.0])])
    with pytest.raises(UserError, match=r"toy has 3 classes.*\n.*scores of 1 classes"):
        build_report([path], CONTEXT)


def test_markdown_holds_every_row_under_its_protocol(tmp_path: Path) -> None:
    report = build_report([scores_file(tmp_path, ROWS)], CONTEXT)
    text = report_markdown(report, [Figure("Panel", "Look.", tmp_path / "a b" / "panel.png")], tmp_path)
    assert text.count("### `") == 2
    hungarian = text[text.index("### `hungarian`") : text.index("### `overcluster`")]
    assert MEANING["hungarian"] in hungarian
    lines = [line for line in hungarian.splitlines() if line.startswith("| ")]
    assert lines[0] == "| method | mIoU ± std (n) | accuracy | segments | K (used) | seeds | floor or ceiling |"
    assert lines[2:] == [
        "| alignseg | 18.3 ± 2.4 (15) | 28.3 | 4.6 | 3 | 3 × 5 |  |",
        "| image-kmeans-5 | 21.9 ± 1.0 (5) | 31.9 | 5.0 | 3 | – × 5 | floor |",
        "| kmeans | 17.0 ± 1.0 (5) | 27.0 | 5.0 | 3 | – × 5 | floor |",
        "| grid-majority | 95.0 ± 2.4 (15) | 105.0 | 4.6 | 3 | 3 × 5 | ceiling |",
    ]
    assert "300 (88 used)" in text
    assert "| 1 pole\\|sign | – | – | – | – |" in text
    assert "Strongest floor: image-kmeans-5, which it does not beat (18.3 against 21.9)" in text
    assert "![Panel](a%20b/panel.png)" in text
    for value in ("`" + "ab" * 32 + "`", "0123abcd", "tuned for saliency", "448 × 448", "block 8"):
        assert value in text


def test_the_version_of_the_crf_stands_where_a_row_used_it(tmp_path: Path) -> None:
    for option, shown in (("pamr", False), ("crf", True)):
        context = dataclasses.replace(CONTEXT, facts={"a": Facts(postprocess=option)})
        report = build_report([scores_file(tmp_path, [make_row("a", "hungarian", 30.0)])], context)
        report.provenance["machine"]["pydensecrf2"] = "1.1"
        assert ("| pydensecrf2 | 1.1 |" in report_markdown(report)) == shown


def test_headline_tells_when_the_floor_is_beaten(tmp_path: Path) -> None:
    rows = [make_row("a", "hungarian", 30.0), make_floor("kmeans", "hungarian", 20.0)]
    text = report_markdown(build_report([scores_file(tmp_path, rows)], CONTEXT))
    assert "Strongest floor: kmeans, below its mean (30.0 against 20.0)" in text


def test_rows_that_differ_from_the_report_say_so(tmp_path: Path) -> None:
    rows = [make_row("a", "hungarian", 30.0, preprocessing="full", note="own word")]
    text = report_markdown(build_report([scores_file(tmp_path, rows)], CONTEXT))
    assert "own word; preprocessing: full |" in text


def test_unlabelled_set_gives_a_sensible_report(tmp_path: Path) -> None:
    context = dataclasses.replace(CONTEXT, dataset="own", classes=(), labelled=False)
    report = build_report([scores_file(tmp_path, [])], context)
    assert report.rows == ()
    assert report == build_report([], context)
    write_report(report, [tmp_path / "panel.png"], tmp_path / "own/report.json", tmp_path / "own/report.md")
    text = (tmp_path / "own/report.md").read_text()
    assert "No labels, no scores" in text
    assert "![Panel](../panel.png)" in text
    assert "name no class" in text
    assert "## Provenance" in text
    assert "## Scores" not in text
    assert "squash" not in text
    reports = read_reports([tmp_path / "own/report.json"])
    assert reports == [report]
    assert "| [own](own/report.md) | 64 | 32 | 0 | tiny | 8 | – (no labels) |" in summary_markdown(reports)


def test_report_files_are_the_same_bytes_twice_and_hold_no_time(tmp_path: Path) -> None:
    scores = scores_file(tmp_path, ROWS)
    names = [(tmp_path / f"{run}.json", tmp_path / f"{run}.md") for run in "ab"]
    for json_path, markdown_path in names:
        curves = tmp_path / "alignseg" / "curves.png"
        write_report(build_report([scores], CONTEXT), [curves], json_path, markdown_path)
    assert names[0][0].read_bytes() == names[1][0].read_bytes()
    assert names[0][1].read_bytes() == names[1][1].read_bytes()
    assert "## Training curves of alignseg" in names[0][1].read_text()
    report = json.loads(names[0][0].read_text())
    assert set(report["provenance"]) == {"package", "git", "config", "seeds", "machine"}
    assert set(report) == {
        *("dataset", "classes", "images", "backbone", "fit", "elsewhere", "labelled", "left_out"),
        *("preprocessing", "rows", "comparisons", "published", "data", "notes", "provenance"),
    }


def test_summary_keeps_protocols_apart_and_datasets_sorted(tmp_path: Path) -> None:
    paths = []
    for name in ("zoo", "air"):
        path = tmp_path / name / "report.json"
        scores = scores_file(tmp_path, ROWS)
        write_json(path, to_plain(build_report([scores], dataclasses.replace(CONTEXT, dataset=name))))
        paths.append(path)
    reports = read_reports(paths)
    summary = build_summary(reports)
    assert summary == build_summary(read_reports(paths[::-1]))
    assert [entry["dataset"] for entry in summary["datasets"]] == ["air", "zoo"]
    assert len(summary["rows"]) == 2 * len(ROWS)
    assert all(row["miou"]["n"] and row["backbone"] == "tiny" for row in summary["rows"])
    text = summary_markdown(reports)
    hungarian = text[text.index("### `hungarian`") : text.index("### `overcluster`")]
    for name, method in itertools.product(("air", "zoo"), ("alignseg", "kmeans", "image-kmeans-5")):
        assert f"| {name} | {method} |" in hungarian
    assert "300" not in hungarian
    assert "No dataset is enabled" in summary_markdown([])


def test_words_for_numbers() -> None:
    assert score_text(None) == "–"
    assert score_text(Spread(18.34, None, 1)) == "18.3 (1)"
    assert against(18.31, 18.34) == "18.31 against 18.34"
    assert against(18.3, 18.3) == "18.3 against 18.3"
    assert numbers([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7, 8"
    assert k_text(make_row("m", "overcluster", 1.0, k=500, k_used=[88, 90])) == "500 (88, 90 used)"
    assert seeds_text(make_row("m", "per_image", 1.0, seeds={"training": [], "kmeans": []})) == "–"
    assert table(["method", "x"], [["a|b", "1\n2"]]) == "| method | x |\n| --- | --: |\n| a\\|b | 1 2 |"


def test_git_state_knows_commit_and_changes(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "changed": None}
    (tmp_path / "__init__.py").write_text("")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "x", "--no-verify"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert state["changed"] is False
    (tmp_path / "__init__.py").write_text("x = 1\n")
    assert git_state(tmp_path) == {"commit": state["commit"], "changed": True}
    (tmp_path / "wheel").mkdir()  # a package installed inside somebody else's repository is no part of it
    (tmp_path / "wheel" / "__init__.py").write_text("")
    assert git_state(tmp_path / "wheel")["commit"] is None


def test_processor_is_read_from_the_kernel_where_it_tells(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Fast Chip 9\n")
    assert processor(info) == "Fast Chip 9"
    assert processor(tmp_path / "none")


def test_context_says_what_the_bank_really_used(tmp_path: Path) -> None:
    entries = tuple(Entry(f"{index:016x}", f"{index}.png", None, None, 8, 8) for index in range(3))
    splits = {"trainaug": entries, "val": entries[:2]}
    Manifest("toy", tmp_path, CLASSES, ((0, 0, 0),) * 3, [0, 1, 2], splits, "trainaug").save(tmp_path / "manifest.json")
    backbone = {"name": "tiny", "model": "vit_tiny_patch14", "block": 11, "norm": False, "sha256": "cd" * 32}
    record = {"format": 1, "backbone": backbone, "recipe": {"size": [322, 322]}, "precision": "bfloat16"}
    write_json(tmp_path / "bank.json", {**record, "ids": [], "shards": 1})
    config = {"fit": "val", "preprocessing": "full", "seeds": [7], "kmeans_seeds": [0, 1], "other": 1}
    context = context_from(tmp_path / "manifest.json", tmp_path, "a note", config, "beef", 2)
    report = build_report([], context)
    used = ("tiny", "vit_tiny_patch14", 11, False, (322, 322), "bfloat16")
    assert report.backbone == BackboneContext(*used, weights_sha256="cd" * 32, note="a note")
    assert report.images == {"train": 3, "eval": 2}
    assert report.provenance["seeds"] == {"training": [7], "kmeans": [0, 1]}
    assert report.provenance["machine"]["threads"] == 2
    assert (report.fit, report.preprocessing, report.provenance["config"]) == ("val", "full", "beef")
