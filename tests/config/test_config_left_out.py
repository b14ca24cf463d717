"""Which rows of the plan may be left out, and what the plan makes of one that was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from plan_factory import Plan

from patchbank.config.plan.rows import INSTANCES
from patchbank.evaluation import crf
from patchbank.left_out import LeftOut, write_left_out


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path)


def test_rows_of_methods_are_never_left_out_and_every_other_is(plan: Plan) -> None:
    rows = ("alignseg", "kmeans", "alignseg+pamr", "single", "image-kmeans-5", "linear-probe")
    asked = [plan.stages.may_be_left_out(SimpleNamespace(dataset="demo", method=row)) for row in rows]
    assert asked == [False, False, True, True, True, True]
    counted = [
        plan.evaluation.may_be_left_out(SimpleNamespace(dataset=dataset, method="alignseg", at=at))
        for dataset, at in (("demo", ""), ("demo", "-at-full"), ("demo", INSTANCES), ("movi_c", INSTANCES))
    ]
    assert counted == [False, True, True, False]  # movi_c has no other protocol than the one of instances


def test_a_row_that_was_left_out_brings_no_floor(plan: Plan, tmp_path: Path) -> None:
    before = plan.rows.segment_counts("demo")
    write_left_out([tmp_path / "summary.json"], LeftOut("alignseg+flip", "", "no library."))
    count = plan.files.count
    plan.files.count = lambda dataset, method, seed, at: (  # type: ignore[method-assign]
        str(tmp_path / "summary.json") if method == "alignseg+flip" else count(dataset, method, seed, at)
    )
    assert before == [4, 5]
    assert plan.rows.segment_counts("demo") == [4, 5]
    plan.files.summary = {"alignseg": {"segments": 5, "used": 2.5}, "alignseg+flip": {"segments": 9, "used": 8.0}}
    assert plan.rows.segment_counts("demo") == [3, 5]


def test_the_crf_is_counted_again_once_its_library_is_there(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"methods": {"alignseg": {"postprocess": ["pamr", "crf"]}}}
    row = Plan(plan.files.folder, values).evaluation
    for there, said in ((True, ""), (False, crf.INSTALL)):
        monkeypatch.setattr(crf, "installed", lambda there=there: there)
        assert row.missing(SimpleNamespace(dataset="demo", method="alignseg+crf")) == said
        assert row.missing(SimpleNamespace(dataset="demo", method="alignseg+pamr")) == ""
