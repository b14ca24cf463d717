"""Ablations: rows from the configuration, one row from banks to scores, the table with floors and intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bank_factory import extract_all, make_images
from sklearn.metrics import adjusted_rand_score

from patchbank.ablation import run
from patchbank.ablation.run import Inputs, run_row, stability
from patchbank.ablation.table import TableRow, floors_at, write_table
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings
from patchbank.config.folders import PROJECT
from patchbank.config.load import checked, default_config, read_config
from patchbank.config.schema import merge
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.evaluation.score import Scoring
from patchbank.evaluation.truth_file import Asked, make_truth
from patchbank.files import read_json, write_json, write_npz
from patchbank.left_out import CannotBeMade
from patchbank.segments.settings import SegmentClusterSettings

FILE = PROJECT / "workflow" / "settings" / "ablate_alignseg.yaml"
SCORING = Scoring("toy", ("per_image", "hungarian", "overcluster"), "squash_448_100", "train", k=3)
CLUSTERING = SegmentClusterSettings(
    k=(3, 6),
    kmeans_seeds=(0, 1),
    projection=ProjectionSettings(centre="none", pca=0, whiten=False, normalise=False),
    kmeans=KMeansSettings(niter=5, nredo=1),
)


def test_the_shipped_ablation_varies_one_factor_at_a_time() -> None:
    config = read_config([FILE])
    ablation = config.ablation("alignseg")
    plain = config.ablation_row(ablation, "msrc", "plain").settings
    for name in ablation.rows:
        changed = {
            key
            for key, value in config.ablation_row(ablation, "msrc", name).settings.items()
            if value != plain[key] and key != "crops"
        }
        searched = str(ablation.rows[name]["factor"]).startswith("search")
        # more layers come with a rule for what they read, more epochs with a slower decay, last-block needs crops of it
        assert searched or len(changed) <= 2, (name, changed)
        assert changed or name == "plain" or config.ablation_set(ablation, "msrc", name) == "msrc_last"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": {"a": {"factor": "x", "settings": {"queries": 1}}}}, "queries is 1"),
        ({"rows": {"a": {"factor": "x", "suffix": "_gone"}}}, "demo_gone"),
        ({"method": "nothing"}, "'nothing' is not one of the methods"),
        ({"rows": {"a": {"factor": "x", "colour": 1}}}, "colour: unknown key"),
    ],
)
def test_a_wrong_ablation_is_refused_before_anything_runs(changes: dict[str, Any], said: str) -> None:
    entry = {"method": "alignseg", "datasets": ["demo"], "rows": {"a": {"factor": "x"}}, **changes}
    values = yaml.safe_load((PROJECT / "config.yaml").read_text())
    with pytest.raises(UserError, match=said):
        checked(merge(values, {"ablations": {"mine": entry}}))


def test_floors_stand_at_the_segments_used_rounded_up() -> None:
    assert floors_at([4.2, 4.9, 1.0, 7.0], ["image-kmeans"]) == ["image-kmeans-2", "image-kmeans-5", "image-kmeans-7"]


def test_stability_is_the_rand_index_of_two_seeds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables = {f"k3-s{s}": rng.integers(-1, 3, (20, 4)).astype(np.int32) for s in range(3)}
    used = rng.random((20, 4)) < 0.7
    tables = {name: np.where(used, np.abs(table), -1).astype(np.int32) for name, table in tables.items()}
    write_npz(tmp_path / "clusters.npz", {**tables, "tables": np.array(list(tables))})
    labels = [table[used] for table in tables.values()]
    expected = np.mean([adjusted_rand_score(labels[a], labels[b]) for a, b in ((0, 1), (0, 2), (1, 2))])
    assert stability(tmp_path / "clusters.npz", 3) == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    make_images(folder, 8)
    whole = ExtractSettings("whole", {"size": 64})
    extract_all(folder, whole)
    extract_all(folder, whole, "val")
    extract_all(folder, ExtractSettings("multicrop", {"size": 64, "draws": 2}))
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    asked = Asked("squash_448_100", "class", (64, 64))
    make_truth(Manifest.load(folder / "manifest.json"), "val", asked, folder / "truth.npz", workers=1)
    return folder


def inputs(world: Path) -> Inputs:
    return Inputs(
        world / "manifest.json",
        world / "statistics.npz",
        world / "truth.npz",
        {"multicrop": world / "multicrop.json"},
        {"whole": world / "whole.json"},
        {"whole": world / "val-whole.json"},
        ("train", "val"),
    )


def test_a_method_of_classes_is_a_row_too(world: Path, tmp_path: Path) -> None:
    """Its patches' classes are compared between k-means seeds; nothing is clustered, and labels go where they may."""
    rows = {"plain": {"factor": "x", "settings": {"sample": 100}}}
    changes = {
        "methods": {"kmeans": {"seeds": [0]}},
        "kmeans_seeds": [0, 1],
        "clustering": {"k": 3, "overcluster": [6]},
    }
    ablations = {
        name: {"method": name, "datasets": ["demo"], "rows": {"plain": row}}
        for name, row in (("kmeans", rows["plain"]), ("linear-probe", {"factor": "x"}))
    }
    config = read_config(changes=changes | {"methods": {"kmeans": {}, "linear-probe": {}}, "ablations": ablations})
    given = replace(inputs(world), training={"whole": world / "whole.json"}, fit={})
    results = {}
    for name in ablations:
        method = config.ablation_row(config.ablation(name), "demo", "plain")
        run_row(method, given, CLUSTERING, SCORING, tmp_path / name, tmp_path / f"{name}.json", threads=1)
        results[name] = read_json(tmp_path / f"{name}.json")
        assert not list(tmp_path.rglob("clusters.npz"))
    assert -1 <= results["kmeans"]["stability"] < 1
    assert results["linear-probe"]["stability"] is None
    assert {row["protocol"] for row in results["linear-probe"]["rows"]} == set(SCORING.protocols)
    assert all(row["oracle"] == "train" for row in results["linear-probe"]["rows"])
    place, table = tmp_path / "linear-probe", tmp_path / "table.json"
    listed = [TableRow(method, factor, tmp_path / "linear-probe.json", place) for factor in ("x", "")]
    for row in listed:
        write_table(
            {"demo": [row]}, {"demo": ("a", "b", "c")}, {"demo": SCORING}, "plain", table, tmp_path / "table.md"
        )
        assert [one["oracle"] for one in read_json(table)["demo"]["rows"]] == ["train"]
        assert f"{'`plain`' if row.factor else 'plain'} (oracle: train) |" in (tmp_path / "table.md").read_text()


def test_without_a_mask_nothing_is_trained(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = read_json(world / "manifest.json")
    for entry in content["splits"]["val"]:
        entry["mask"] = None
    write_json(tmp_path / "bare.json", content)
    given = replace(inputs(world), manifest=tmp_path / "bare.json")
    monkeypatch.setattr(run, "run_train", lambda _: pytest.fail("trained"))
    method = default_config().method("demo", "alignseg")
    with pytest.raises(CannotBeMade, match=r"no pixel of split 'val' of toy is labelled.* ablations and sweeps"):
        run_row(method, given, CLUSTERING, SCORING, tmp_path / "row", tmp_path / "row.json", threads=1)


def test_a_floor_at_no_number_of_segments_keeps_its_name() -> None:
    assert floors_at([4.2], ["single", "voronoi"]) == ["single", "voronoi-5"]


def test_rows_become_a_table_with_their_floor_and_intervals(world: Path, tmp_path: Path) -> None:
    config = read_config(changes={"seeds": [0, 1]})
    small = {"queries": 3, "epochs": 1, "batch_size": 4, "hidden": 16}
    entry = {"factor": "x", "settings": small}
    rows = {"plain": entry, "other": {"factor": "metric", "settings": {**small, "metric": "discriminant", "refine": 1}}}
    both = {"mine": {"method": "alignseg", "datasets": ["demo"], "rows": rows}}
    config = read_config(changes={"seeds": [0, 1], "ablations": both})
    ablation, made = config.ablation("mine"), []

    def add(name: str) -> dict[str, Any]:
        method = config.ablation_row(ablation, "demo", name)
        place = tmp_path / name
        run_row(method, inputs(world), CLUSTERING, SCORING, place, tmp_path / f"{name}.json", threads=1)
        made.append(TableRow(method, rows.get(name, {}).get("factor", ""), tmp_path / f"{name}.json", place))
        result: dict[str, Any] = read_json(tmp_path / f"{name}.json")
        return result

    results = [add(name) for name in rows]
    for floor in floors_at([result["used"] for result in results], ["image-kmeans"]):
        assert add(floor)["train_seconds"] is None
    assert all(result["train_seconds"] > 0 and -1 <= result["stability"] <= 1 for result in results)
    assert not list(tmp_path.rglob("work"))
    write_table(
        {"toy": made},
        {"toy": ["class 0", "class 1", "class 2"]},
        {"toy": SCORING},
        "plain",
        tmp_path / "t.json",
        tmp_path / "t.md",
    )
    content = read_json(tmp_path / "t.json")["toy"]
    pairs = {(c["a"], c["b"]) for c in content["comparisons"]}
    assert ("other", "plain") in pairs
    assert ("plain", content["rows"][0]["floor_at"]) in pairs
    assert {c["protocol"] for c in content["comparisons"]} == set(SCORING.protocols)
    page = (tmp_path / "t.md").read_text()
    assert "`other`" in page
    assert f"`{content['rows'][0]['floor_at']}`" in page
    widths = {line.count("|") for line in page.splitlines() if line.startswith("|")}
    assert widths == {14, 7}
