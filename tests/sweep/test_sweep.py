"""Sweeps: criteria judged by scores, hand-computed and against scipy, and what is said of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pixel_counts import make_counts
from scipy.stats import spearmanr

from patchbank.criteria.measure import NAMES
from patchbank.evaluation.counts import save_counts
from patchbank.evaluation.score import Scoring
from patchbank.files import write_json
from patchbank.left_out import LeftOut, write_left_out
from patchbank.methods import contract
from patchbank.methods.contract import Method
from patchbank.sweep.judge import Swept, judge, rank_correlation
from patchbank.sweep.text import TITLES, judged_table, markdown, score_table, sentences
from patchbank.sweep.write import write_sweep

CLASSES = ("a", "b", "c")
SCORING = Scoring("toy", ("hungarian", "per_image"), "full", "train", k=3)
METHOD = Method("kmeans", "kmeans", {}, (0, 1), contract.traits("kmeans"))
WRONG = {"v-b1": 0.8, "v-b2": 0.1, "v-b3": 0.3, "v-last": 0.5}
"""Share of the pixels that are wrong at each encoder."""


@given(
    arrays(np.float64, 5, elements=st.integers(0, 3).map(float)),
    arrays(np.float64, (3, 5), elements=st.integers(0, 3).map(float)),
)
def test_rank_correlations_are_scipys(values: np.ndarray, others: np.ndarray) -> None:
    found = rank_correlation(values, others)
    for one, line in zip(found, others, strict=True):
        if len(set(values)) == 1 or len(set(line)) == 1:
            assert np.isnan(one)
        else:
            assert one == pytest.approx(spearmanr(values, line).statistic, abs=1e-12)


def counts(path: Path, wrong: float, seed: int, images: int) -> None:
    """Three clusters, one for each class, that miss a share of the pixels."""
    rng = np.random.default_rng(seed)
    pixels = []
    for _ in range(images):
        truth = rng.integers(0, 3, 300)
        missed = rng.random(300) < wrong
        pixels.append((np.where(missed, rng.integers(0, 3, 300), truth), truth))
    path.parent.mkdir(parents=True)
    save_counts(path, {"k3-s0": make_counts(pixels, 3, 3)})


def make_sweep(folder: Path, images: int = 12, **criteria: list[float | None]) -> list[Swept]:
    """Encoders whose scores follow `WRONG`, with these values of criteria; the others are not known."""
    swept = []
    for place, (name, wrong) in enumerate(WRONG.items()):
        row = folder / name / "rows" / "kmeans.json"
        for seed in METHOD.seeds:
            counts(row.with_suffix("") / f"seed{seed}" / "counts.npz", wrong, seed, images)
        write_json(row, {"rows": []})
        values = {**dict.fromkeys(NAMES), **{key: of[place] for key, of in criteria.items()}}
        write_json(folder / name / "criteria.json", {"criteria": values})
        swept.append(Swept(name, folder / name / "criteria.json", {"kmeans": row}))
    return swept


def test_criteria_are_judged_by_the_scores(tmp_path: Path) -> None:
    swept = make_sweep(tmp_path, halves=[0.1, 0.9, 0.7, 0.4], seeds=[0.9, 0.1, 0.3, 0.6], used=[0.1, None, 0.2, 0.3])
    found = judge(swept, [METHOD], CLASSES, SCORING, "hungarian")
    json.dumps(found, allow_nan=False)
    assert found["criteria"] == ["seeds", "halves", "used"]
    assert found["choices"] == {"seeds": "v-b1", "halves": "v-b2", "used": "v-last"}
    assert found["best"] == {"kmeans": "v-b2"}
    by = {one["criterion"]: one for one in found["judged"]}
    assert by["halves"]["spearman"] == pytest.approx(1)
    assert by["halves"]["range"] == pytest.approx([1, 1])  # no resample of the images orders otherwise
    assert by["halves"]["behind"] == {"value": 0, "low": None, "high": None}  # its choice is the best: no interval
    assert by["seeds"]["spearman"] == pytest.approx(-1)
    assert by["used"]["spearman"] == pytest.approx(0.5)
    scores = {encoder["name"]: encoder["scores"]["kmeans"] for encoder in found["encoders"]}
    behind = by["seeds"]["behind"]
    assert behind["value"] == pytest.approx(scores["v-b2"]["value"] - scores["v-b1"]["value"])
    assert behind["low"] < behind["value"] < behind["high"]
    assert scores["v-b2"]["low"] < scores["v-b2"]["value"] < scores["v-b2"]["high"]
    said = list(sentences({**found, "dataset": "toy", "protocol": "hungarian"}))
    assert said[0].startswith("Under `kmeans` the best encoder is `v-b2` (")
    assert said[0].endswith("stability over halves of the images would have chosen it.")
    assert "choice of stability over halves of the images, `v-b2`, loses least: 0.0 points" in said[1]


def test_a_choice_that_has_no_such_row_is_behind_by_nothing_that_is_known(tmp_path: Path) -> None:
    swept = make_sweep(tmp_path, halves=[0.9, 0.5, 0.7, 0.4], seeds=[0.1, 0.9, 0.3, 0.6])
    write_left_out([swept[0].rows["kmeans"]], LeftOut("kmeans", "", "no room"))
    found = judge(swept, [METHOD], CLASSES, SCORING, "hungarian")
    by = {one["criterion"]: one for one in found["judged"]}
    assert found["choices"]["halves"] == "v-b1"
    assert by["halves"]["behind"] is None
    assert by["halves"]["spearman"] is not None
    content = {**found, "dataset": "toy", "protocol": "hungarian"}
    assert "`v-b2`, loses least: 0.0 points" in list(sentences(content))[-1]
    alone = {**content, "choices": {"halves": "v-b1"}, "judged": [by["halves"]], "criteria": ["halves"]}
    assert len(list(sentences(alone))) == 1


def test_rows_that_use_labels_are_marked_and_named_where_rows_are_averaged(tmp_path: Path) -> None:
    swept = make_sweep(tmp_path, halves=[1, 2, 3, 4])
    ceiling = replace(METHOD, traits=contract.traits("linear_probe"))
    chosen = replace(METHOD, oracle="val")
    for method, mark in ((ceiling, "(ceiling, oracle: train)"), (chosen, "(oracle: val)")):
        found = judge(swept, [method], CLASSES, SCORING, "hungarian")
        assert found["marks"]["kmeans"] == {"ceiling": method is ceiling, "oracle": mark.rstrip(")").split(": ")[1]}
        first, second = sentences({**found, "dataset": "toy", "protocol": "hungarian"})
        assert first.startswith(f"Under `kmeans` {mark} the best")
        assert second.startswith("Over the one row (labels are used by `kmeans`) the choice of ")
        assert score_table(found)[0][1] == f"kmeans {mark}"
        assert judged_table(found)[0][2:] == [f"kmeans {mark}: {title}" for title in TITLES]
    found = judge(swept, [METHOD], CLASSES, SCORING, "hungarian")
    assert found["marks"] == {"kmeans": {"ceiling": False, "oracle": None}}
    assert score_table(found)[0][1] == "kmeans"


def test_scores_are_those_of_the_protocol_on_all_images(tmp_path: Path) -> None:
    from patchbank.evaluation.score import context_of, score_method

    swept = make_sweep(tmp_path, halves=[1, 2, 3, 4])
    for protocol in SCORING.protocols:
        found = judge(swept, [METHOD], CLASSES, SCORING, protocol)
        for encoder, one in zip(found["encoders"], swept, strict=True):
            files = {seed: one.rows["kmeans"].with_suffix("") / f"seed{seed}" / "counts.npz" for seed in (0, 1)}
            rows = score_method(files, None, context_of(METHOD, CLASSES, SCORING))["rows"]
            expected = next(row["miou"]["mean"] for row in rows if row["protocol"] == protocol)
            assert encoder["scores"]["kmeans"]["value"] == pytest.approx(expected)


def test_rows_that_were_left_out_and_few_images(tmp_path: Path) -> None:
    swept = make_sweep(tmp_path, images=3, halves=[1, 2, 3, 4])
    write_left_out([swept[1].rows["kmeans"]], LeftOut("kmeans", "", "there is no reason."))
    found = judge(swept, [METHOD], CLASSES, SCORING, "hungarian")
    assert found["encoders"][1]["scores"]["kmeans"] is None
    assert found["best"] == {"kmeans": "v-b3"}
    assert found["left_out"] == [{"row": "v-b2: kmeans", "at": "", "reason": "there is no reason."}]
    assert found["encoders"][0]["scores"]["kmeans"]["low"] is None
    judged = found["judged"][0]
    assert judged["spearman"] == pytest.approx(0.5)
    assert judged["range"] is judged["behind"]["low"] is None
    page = list(markdown({**found, "dataset": "toy", "protocol": "hungarian"}))
    assert "- v-b2: kmeans: there is no reason." in page
    for write in swept:
        write_left_out([write.rows["kmeans"]], LeftOut("kmeans", "", "there is no reason."))
    assert judge(swept, [METHOD], CLASSES, SCORING, "hungarian")["rows"] == []


def test_a_set_without_labels_has_a_choice(tmp_path: Path) -> None:
    swept = [replace(one, rows={}) for one in make_sweep(tmp_path, halves=[1, 3, 2, 0], seeds=[1, 4, 0, 0])]
    found: dict[str, Any] = judge(swept, [], (), SCORING, "hungarian")
    assert found["judged"] == found["rows"] == []
    (said,) = sentences(found)
    assert said.endswith("choose `v-b2` (stability over k-means seeds, stability over halves of the images).")
    text = "\n".join(markdown({**found, "dataset": "toy", "protocol": "hungarian"}))
    assert "Criteria see tokens alone" in text
    assert not {"mIoU", "Spearman"} & set(re.findall(r"\w+", text))
    assert list(sentences({**found, "choices": {}})) == ["There are too few images for any criterion."]


def test_files_of_a_sweep(tmp_path: Path) -> None:
    swept = make_sweep(tmp_path, halves=[0.1, 0.9, 0.7, 0.4])
    write_sweep(swept, [METHOD], CLASSES, SCORING, "hungarian", tmp_path / "sweep.json")
    first = [(tmp_path / f"sweep.{end}").read_bytes() for end in ("json", "md", "html")]
    write_sweep(swept, [METHOD], CLASSES, SCORING, "hungarian", tmp_path / "sweep.json")
    assert first == [(tmp_path / f"sweep.{end}").read_bytes() for end in ("json", "md", "html")]
    text = (tmp_path / "sweep.md").read_text()
    assert "Scores are mIoU under `hungarian` in percent" in text
    assert TITLES[0] == "Spearman (range over resampled images)"
    assert "its range over resampled images, which is no interval of confidence: it leans towards 0" in text
    assert "| stability over halves of the images | v-b2 | 1.00 (1.00 to 1.00) | 0.0 |" in text
    lines = text.splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {4, 5}
    page = (tmp_path / "sweep.html").read_text()
    assert "<svg" in page
    assert page.count("<table") == 2
