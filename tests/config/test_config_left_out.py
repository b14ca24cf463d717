"""Which rows of the plan may be left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from plan_factory import Plan

from patchbank.config.plan.rows import INSTANCES
from patchbank.refinement import crf


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


def test_the_crf_is_counted_again_once_its_library_is_there(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"methods": {"alignseg": {"postprocess": ["pamr", "crf"]}}}
    row = Plan(plan.files.folder, values).evaluation
    for there, said in ((True, ""), (False, crf.INSTALL)):
        monkeypatch.setattr(crf, "installed", lambda there=there: there)
        assert row.missing(SimpleNamespace(dataset="demo", method="alignseg+crf")) == said
        assert row.missing(SimpleNamespace(dataset="demo", method="alignseg+pamr")) == ""
