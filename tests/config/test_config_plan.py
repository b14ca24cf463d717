"""The plan of the workflow: what each rule reads and is given, without Snakemake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from plan_factory import CHANGES, NotYet, Plan, of

from patchbank.bank.settings import CodingSettings, ExtractSettings
from patchbank.config.folders import PROJECT
from patchbank.config.plan import trees
from patchbank.config.plan.code import Code
from patchbank.config.plan.rows import INSTANCES
from patchbank.config.plan.shapes import Shape, Shapes
from patchbank.errors import UserError
from patchbank.plain import from_plain


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path)


# rows


def test_floors_stand_at_every_methods_number_of_segments_asked_and_used(plan: Plan) -> None:
    assert plan.rows.segment_counts("msrc") == [4, 5]
    assert plan.rows.floors("msrc") == ["voronoi-4", "voronoi-5", "image-kmeans-4", "image-kmeans-5"]
    measured = plan.evaluation.measured(of())
    assert list(dict.fromkeys(measured)) == ["alignseg", "alignseg+flip", "alignseg+pamr"]  # kmeans is a floor itself
    paths = [f"results/msrc/{row}/seed{seed}/counts.json" for row in dict.fromkeys(measured) for seed in range(3)]
    assert plan.evaluation.summaries(of()) == paths
    assert len(measured) == len(paths)
    assert plan.evaluation.varying(of()) == []


def test_floors_do_not_stand_at_the_most_segments_that_proposals_may_have(tmp_path: Path) -> None:
    changes = {"methods": {"found": {"kind": "primaps", "stage": "proposals"}}}
    assert Plan(tmp_path, changes).evaluation.varying(of()) == ["found"]


def test_rows_wait_for_results_and_are_known_without_them_where_they_are_fixed(tmp_path: Path) -> None:
    plan = Plan(tmp_path, done=())
    fixed = plan.rows.fixed("msrc")
    assert fixed[:4] == ["alignseg", "kmeans", "alignseg+flip", "alignseg+pamr"]
    assert fixed[4:] == ["single", "random-clusters", "grid-majority", "linear-probe"]
    with pytest.raises(NotYet):
        plan.rows.floors("msrc")
    with pytest.raises(NotYet):
        plan.reports.panel_files(of())
    plan.config.of("msrc")["floors"] = []
    assert plan.rows.floors("msrc") == []


def test_a_set_with_instances_alone_counts_its_segments_there(tmp_path: Path) -> None:
    entry = {"layout": "movi", "backbone": "dino_vits8", "settings": {"protocols": ["objects"]}}
    plan = Plan(tmp_path, {"datasets": {"objects": entry}}, done=("objects",))
    assert plan.rows.class_protocols("objects") == []
    assert (
        plan.evaluation.summaries(of(dataset="objects"))[0] == f"results/objects/alignseg/seed0/counts{INSTANCES}.json"
    )


def test_a_row_that_does_not_exist_is_named(plan: Plan) -> None:
    with pytest.raises(UserError, match="nonsense"):
        plan.stages.settings(of(method="nonsense"))


# stages


def test_a_bank_has_as_many_parts_as_its_shards_ask_for(tmp_path: Path) -> None:
    wildcards = of(split="train", recipe="whole")
    assert Plan(tmp_path).stages.parts(wildcards) == ["results/msrc/bank/train-whole/0-of-1.json"]
    plan = Plan(tmp_path, {"extract": {"shards_per_job": 3}})
    folder = "results/msrc/bank/train-whole"
    assert plan.stages.parts(wildcards) == [f"{folder}/{part}-of-3.json" for part in range(3)]
    assert plan.stages.parts(of(split="val", recipe="whole")) == ["results/msrc/bank/val-whole/0-of-1.json"]


def test_training_reads_the_train_split_and_only_methods_with_labels_get_the_manifest(plan: Plan) -> None:
    banks = plan.stages.training_banks(of(method="alignseg"))
    assert banks == {"multicrop": "results/msrc/bank/train-multicrop.json"}
    assert tuple(banks) == plan.stages.training_recipes(of(method="alignseg"))
    assert plan.stages.labels(of(method="alignseg")) == []
    assert plan.stages.labels(of(method="linear-probe")) == "results/msrc/manifest.json"


def test_trainings_take_all_cores_unless_the_configuration_says_how_many(tmp_path: Path) -> None:
    plan = Plan(tmp_path, {"datasets": {"msrc": {"settings": {"training_threads": 3}}}})
    assert (plan.stages.training_threads(of()), plan.stages.training_threads(of(dataset="camvid"))) == (3, 0)
    asked = (plan.stages.training_threads, plan.stages.extract_threads, plan.stages.row_threads)
    assert {threads(of(dataset="demo")) for threads in asked} == {1}


def test_flip_predicts_with_the_methods_checkpoint_from_features_of_its_own(plan: Plan) -> None:
    flipped = of(method="alignseg+flip")
    assert plan.stages.predicted(flipped) == ["train", "val"]
    banks = [f"results/msrc/bank/{split}-flipped.json" for split in ("train", "val")]
    assert plan.stages.prediction_banks(flipped) == banks
    folder = "results/msrc/alignseg"
    assert plan.stages.checkpoints(flipped) == [f"{folder}/seed{seed}/checkpoint.safetensors" for seed in range(3)]
    assert plan.stages.checkpoints(of(method="single")) == []
    assert plan.stages.predicted(of(method="kmeans")) == ["val"]
    made, whole = (plan.stages.extract_settings(of(recipe=recipe, split="val")) for recipe in ("flipped", "whole"))
    assert (made["recipe"], whole["recipe"]) == ("flipped", "whole")
    assert made["recipe_settings"] == whole["recipe_settings"]
    assert from_plain(ExtractSettings, made).dtype == plan.config.of("msrc")["extract"]["dtype"]
    clustered = plan.stages.clustered(flipped)
    assert clustered == {
        "fit_bank": "results/msrc/bank/train-flipped.json",
        "eval_bank": "results/msrc/bank/val-flipped.json",
        "fit_predictions": [f"{folder}+flip/seed{seed}/train.h5" for seed in range(3)],
        "eval_predictions": [f"{folder}+flip/seed{seed}/val.h5" for seed in range(3)],
    }


def test_small_and_dense_banks_are_asked_for_by_the_same_pointers(tmp_path: Path) -> None:
    changes = {"recipes": {"whole": {"shift": 2}}, "extract": {"dtype": "int8", "pca": 96}}
    asked = Plan(tmp_path, changes).stages
    dense, crops = (asked.extract_settings(of(recipe=recipe, split="val")) for recipe in ("whole", "multicrop"))
    assert (dense["recipe"], dense["recipe_settings"]["shift"]) == ("dense", 2)
    assert dense["coding"] == crops["coding"]
    assert from_plain(ExtractSettings, dense).coding == CodingSettings("train", {"size": 448, "resize": "pil"}, 96)
    assert asked.extract_code(of(recipe="whole")) != asked.extract_code(of(recipe="multicrop"))


def test_a_set_that_has_to_be_on_disk_shows_its_tree_and_a_generated_one_waits_for_its_rule(plan: Plan) -> None:
    assert plan.stages.generator(of(dataset="demo")) == "results/demo/data"
    assert plan.stages.generator(of()) == []
    assert plan.stages.tree(of(dataset="demo")) == "generated"
    with pytest.raises(UserError, match="Expected below"):
        plan.stages.tree(of(dataset="voc"))


def test_the_folders_of_a_set_are_walked_once(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []
    monkeypatch.setattr(trees, "tree_fingerprint", lambda spec: walked.append(spec.name) or f"tree of {spec.name}")
    for dataset in ("msrc", "camvid", "msrc"):
        assert plan.stages.tree(of(dataset=dataset)) == f"tree of {dataset}"
    assert walked == ["msrc", "camvid"]


# rules of rows


def fits(shape: Shape, dataset: str, row: str) -> bool:
    """Whether a rule's wildcards fit a row."""
    return bool(re.fullmatch(shape.datasets, dataset) and re.fullmatch(shape.methods, row))


def test_every_row_has_one_rule_a_stage_with_the_files_of_all_its_seeds_and_splits(tmp_path: Path) -> None:
    seeds = {"kmeans": {"seeds": [7]}}
    changes = {**CHANGES, "datasets": {"camvid": {"settings": {"fit": "val", "methods": seeds}}}}
    plan = Plan(tmp_path, changes)
    shapes = Shapes(plan.rows)
    for dataset in ("demo", "msrc", "camvid", "voc"):
        own = [m.name for m in plan.rows.methods(dataset)] + ["alignseg+flip", "single", "voronoi-12", "linear-probe"]
        for row in own:
            method = plan.rows.method(dataset, row)
            split = plan.config.splits(dataset)
            splits = (split["fit"], split["eval"]) if method.traits.kind == "segments" else (split["eval"],)
            [predicted] = [shape for shape in shapes.predict() if fits(shape, dataset, row)]
            assert (predicted.seeds, predicted.splits) == (method.seeds, tuple(dict.fromkeys(splits))), (dataset, row)
            [counted] = [shape for shape in shapes.count() if fits(shape, dataset, row)]
            assert counted.seeds == method.seeds
            clustered = [shape for shape in shapes.segment_clusters() if fits(shape, dataset, row)]
            assert [shape.seeds for shape in clustered] == ([method.seeds] if len(splits) == 2 else [])
    assert not any(fits(shape, "msrc", "alignseg+pamr") for shape in shapes.predict())
    assert any(fits(shape, "msrc", "alignseg+pamr") for shape in shapes.count())
    assert [shape.rule for shape in shapes.predict()][:2] == ["predict", "predict_2"]
    assert shapes.predict()[0].predictions()[:3] == [
        "results/{dataset}/{method}/seed0/train.h5",
        "results/{dataset}/{method}/seed0/val.h5",
        "results/{dataset}/{method}/seed1/train.h5",
    ]
    assert shapes.count()[0].files("counts{at}.npz")[1] == "results/{dataset}/{method}/seed1/counts{at}.npz"


def test_the_shipped_configuration_needs_few_rules(tmp_path: Path) -> None:
    shapes = Shapes(Plan(tmp_path, {}).rows)
    assert [len(stage) for stage in (shapes.predict(), shapes.segment_clusters(), shapes.count())] == [4, 1, 2]


# evaluation


def test_postprocessing_is_counted_from_the_methods_predictions(plan: Plan) -> None:
    refined = of(method="alignseg+pamr", at="")
    assert plan.evaluation.predictions(refined) == [f"results/msrc/alignseg/seed{s}/val.h5" for s in range(3)]
    assert plan.evaluation.postprocess(refined) == "pamr"
    assert plan.evaluation.tables(refined) == [f"results/msrc/alignseg/seed{s}/clusters.npz" for s in range(3)]
    assert plan.evaluation.counts(refined) == [f"results/msrc/alignseg+pamr/seed{s}/counts.npz" for s in range(3)]
    assert plan.evaluation.tables(of(method="kmeans")) == []


def test_the_ending_of_a_file_says_where_it_is_counted(tmp_path: Path) -> None:
    changes = {"protocols": ["hungarian", "objects"], "score_at": ["full", "squash_448_100"]}
    plan = Plan(tmp_path, {**CHANGES, **changes})
    ask = plan.evaluation
    here, full, instance = (of(method="alignseg", at=at) for at in ("", "-at-full", INSTANCES))
    assert [ask.preprocessing(w) for w in (here, full, instance)] == ["squash_448_100", "full", "objects_256"]
    assert [ask.label_kind(w) for w in (here, full, instance)] == ["class", "class", "instance"]
    truths = ["truth-squash_448_100", "truth-full", "truth-instance-objects_256"]
    assert [ask.truth(w) for w in (here, full, instance)] == [f"results/msrc/{name}.npz" for name in truths]
    assert [ask.truth_kind(of(kind=kind)) for kind in ("", INSTANCES)] == ["class", "instance"]
    assert (ask.truth_bank(of()), ask.eval_split(of())) == ("results/msrc/bank/val-whole.json", "val")
    assert ask.scoring_at(here)["protocols"] == ("hungarian", "objects")
    assert ask.scoring_at(full) | {"k": 0} == {
        "dataset": "msrc",
        "k": 0,
        "protocols": ("hungarian",),
        "preprocessing": "full",
        "fit": "train",
    }
    assert ask.instances(here) == [f"results/msrc/alignseg/seed{s}/counts-instance.npz" for s in range(3)]
    assert ask.instances(full) == []
    assert ask.elsewhere("msrc", ["alignseg", "single"]) == [
        "results/msrc/alignseg/scores-at-full.json",
        "results/msrc/single/scores-at-full.json",
    ]


def test_comparisons_leave_ceilings_out_and_keep_the_order_of_methods_and_seeds(plan: Plan) -> None:
    names = [method["name"] for method in plan.evaluation.compared_methods(of())]
    assert names[:2] == ["alignseg", "kmeans"]
    assert not {"grid-majority", "linear-probe"} & set(names)
    assert {"voronoi-4", "image-kmeans-5", "single"} <= set(names)
    files = plan.evaluation.compared_files(of())
    assert files["counts"][:4] == [
        *(f"results/msrc/alignseg/seed{seed}/counts.npz" for seed in range(3)),
        "results/msrc/kmeans/seed0/counts.npz",
    ]
    assert not any("/kmeans/" in path for path in files["tables"])
    assert files["instances"] == []


# reports


def test_the_panel_shows_every_method_and_the_floor_with_most_segments(plan: Plan) -> None:
    assert plan.reports.panel_columns(of()) == [
        ("alignseg", "segments", 0),
        ("kmeans", "classes", 0),
        ("image-kmeans-5", "segments", 0),
    ]
    files = plan.reports.panel_files(of())
    assert files["tables"] == [
        "results/msrc/alignseg/seed0/clusters.npz",
        "results/msrc/image-kmeans-5/seed0/clusters.npz",
    ]
    assert len(files["predictions"]) == len(files["scores"]) == len(plan.reports.panel_counts(of())) == 3


def test_a_report_waits_for_every_row_and_the_records_of_what_is_trained(plan: Plan) -> None:
    assert plan.reports.fixed_scores(of())[0] == "results/msrc/alignseg/scores.json"
    assert "results/msrc/voronoi-4/scores.json" in plan.reports.floor_scores(of())
    assert plan.reports.fixed_elsewhere(of()) == plan.reports.floors_elsewhere(of()) == []
    names = plan.reports.trained(of())
    assert plan.reports.records(of()) == [f"results/msrc/{name}/seed0/checkpoint.json" for name in names]
    assert plan.reports.drawn(of()) == ["alignseg", "alignseg+flip", "alignseg+pamr"]
    assert plan.reports.curves(of()) == ["results/msrc/alignseg/curves.png"]


def test_the_summary_shows_reports_of_sets_that_all_does_not_run(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan.reports.others(of()) == {}
    for name in ("demo", "msrc"):
        path = tmp_path / "results" / name / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, ns=(9, 9))
    assert plan.reports.others(of()) == {"results/msrc/report.json": 9}


# ablations


def test_an_ablation_has_rows_and_floors_at_the_segments_that_they_use(tmp_path: Path) -> None:
    changes = yaml.safe_load((PROJECT / "workflow" / "settings" / "ablate_alignseg.yaml").read_text())
    plan = Plan(tmp_path, changes)
    ablation = plan.config.ablation("alignseg")
    plan.files.used = dict.fromkeys(ablation.rows, 2.5)
    asked = of(ablation="alignseg")
    rows = plan.ablations.results(asked)
    assert len(rows) == len(ablation.rows) * len(ablation.datasets)
    floors = plan.ablations.floor_results(asked)
    assert floors == [
        f"results/ablations/alignseg/{dataset}/{floor}-3.json"
        for dataset in ablation.datasets
        for floor in ablation.floors
    ]
    for dataset, methods in plan.ablations.methods(asked).items():
        assert [m["name"] for m in methods] == [*ablation.rows, *(f"{floor}-3" for floor in ablation.floors)], dataset
    assert list(plan.ablations.factors(asked)) == list(ablation.rows)
    row = of(ablation="alignseg", method=next(iter(ablation.rows)))
    assert plan.ablations.inputs(row)["fit_whole"] == "results/msrc/bank/train-whole.json"
    assert plan.ablations.recipes(row) == ["multicrop"]


# code


def test_code_of_a_stage_changes_with_its_script_and_with_its_modules(tmp_path: Path) -> None:
    hashes = []
    for number, text in enumerate(("a = 1\n", "# why\na = 1\n", "a = 2\n")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "stage.py").write_text(text)
        hashes.append(Code(folder).of("stage", "patchbank.seeds"))
    assert hashes[0] == hashes[1] != hashes[2]
    assert Code(tmp_path / "0").of("stage", "patchbank.seeds", "patchbank.threads") != hashes[0]


def test_every_row_is_fingerprinted_with_its_own_method(plan: Plan) -> None:
    assert plan.stages.train_code(of(method="alignseg")) != plan.stages.train_code(of(method="kmeans"))
    assert plan.stages.predict_code(of(method="voronoi-3")) == plan.stages.predict_code(of(method="image-kmeans-3"))


def test_planning_loads_no_library_of_the_work_itself() -> None:
    program = (
        "import sys\nfrom patchbank.config.load import default_config\n"
        "from patchbank.config.plan import ablations, evaluation, reports, rows, stages\n"
        "from patchbank.evaluation import protocols\n"
        "config = default_config()\nfor name in protocols.names():\n    protocols.get(name)\n"
        "print(sorted({'torch', 'scipy', 'timm', 'faiss', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
