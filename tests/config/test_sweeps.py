"""Sweeps in the configuration and in the plan: which encoders, which rows, whose files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_factory import NotYet, Plan, of

from patchbank import views
from patchbank.config import sweeps
from patchbank.config.folders import PROJECT
from patchbank.config.load import read_config
from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.methods.contract import oracle_of
from patchbank.views.base import HELPERS, EncodingRecipe, make_recipe
from patchbank.views.bounds import ONE_BLOCK
from patchbank.weights.spec import BackboneSpec

VIT = BackboneSpec("mine", "vit_small_patch14_dinov2", block=8, norm=False)
NORMED = BackboneSpec("normed", "vit_small_patch14_dinov2", block=-1, norm=True)
UNNORMED = BackboneSpec("spatial", "vit_pe_spatial_small_patch16_512", block=-1, norm=False)


def test_every_block_and_the_last_one_with_norm() -> None:
    found = sweeps.encoders([VIT], [])
    assert list(found) == [*(f"mine-b{block}" for block in range(3, 12)), "mine-last"]
    assert {(one.block, one.norm) for one in found.values()} == {*((b, False) for b in range(3, 12)), (11, True)}
    assert found["mine-b4"].blocks == (*((block, False) for block in (3, 5, 6, 7, 8, 9, 10, 11)), (11, True))
    assert found["mine-last"].blocks == tuple((block, False) for block in range(3, 12))
    assert {one.name for one in found.values()} == {"mine"}
    assert sweeps.first_of_pass(found, "mine-b9") == "mine-b3"
    assert sweeps.first_of_pass(found, "mine-last") == "mine-b3"


def test_what_is_read_twice_is_listed_once() -> None:
    assert list(sweeps.encoders([NORMED], [10, 11, "last"])) == ["normed-b10", "normed-last"]
    assert list(sweeps.encoders([UNNORMED], [-1, "last"])) == ["spatial-last"]
    assert sweeps.encoders([UNNORMED], ["last"])["spatial-last"].norm is False
    assert list(sweeps.encoders([VIT, NORMED], [-2])) == ["mine-b10", "normed-b10"]


def test_blocks_that_do_not_exist_or_that_nobody_knows_are_refused() -> None:
    with pytest.raises(UserError, match=r"12 does not exist, vit_small_patch14_dinov2 has 0\.\.11"):
        sweeps.encoders([VIT], [12])
    new = BackboneSpec("new", "vit_of_next_year", norm=False)
    with pytest.raises(UserError, match="how many blocks vit_of_next_year of backbone new has is not known"):
        sweeps.encoders([new], [])
    assert list(sweeps.encoders([new], [2, 3])) == ["new-b2", "new-b3"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbones": ["gone"]}, "sweep.backbones: 'gone' is not one of the backbones"),
        ({"beside": ["image-kmeans"]}, "'image-kmeans' is neither a method nor a floor"),
        ({"beside": ["alignseg"]}, "'alignseg' is neither a floor nor a ceiling"),
        ({"methods": {"kmeans": {"colour": 1}}}, "kmeans: unknown colour"),
        ({"blocks": ["first"]}, "is not a whole number or last"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_config(changes={"sweep": changes})


def test_a_set_at_an_encoder_is_the_set_with_the_rows_of_the_sweep(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    config, at = plan.config, sweeps.at("msrc", "dinov2_vits14_saliency-b3")
    assert config.spec(at) is config.spec("msrc")
    assert config.encoder(at).block == 3
    assert config.encoder("msrc").block == 8
    assert config.clusters(at) == [23]
    assert [method.name for method in config.methods(at)] == ["kmeans", "kmeans-whitened"]
    assert config.methods(at)[1].settings["projection"]["whiten"] is True
    assert config.methods(at)[0].settings["kmeans_seeds"] == [0, 1]
    assert config.of(at)["protocols"] == ["per_image", "hungarian", "hungarian_iou"]
    with pytest.raises(UserError, match="'dinov2_vits14_saliency-b99' is not one of dinov2_vits14_saliency-b3, "):
        config.encoder(sweeps.at("msrc", "dinov2_vits14_saliency-b99"))
    bank = of(dataset=at, split="train", recipe="whole")
    assert plan.stages.manifest(bank) == "results/msrc/manifest.json"
    assert plan.stages.weights(bank) == "results/weights/dinov2_vits14_saliency/weights.safetensors"
    assert plan.stages.written_before(bank) == []
    later = of(dataset=at.replace("b3", "b7"), split="train", recipe="whole")
    assert plan.stages.written_before(later) == [f"results/{at}/bank/train-whole.json"]
    assert plan.stages.written_before(of(split="train", recipe="whole")) == []
    assert plan.stages.backbone(later)["blocks"] == (*((b, False) for b in (3, 4, 5, 6, 8, 9, 10, 11)), (11, True))
    last = of(dataset=at.replace("b3", "last"), split="train", recipe="whole")
    assert plan.stages.written_before(last) == [f"results/{at}/bank/train-whole.json"]


def test_a_sweep_of_other_encoders_asks_nothing_of_the_sets_own(tmp_path: Path) -> None:
    """Its weights may be behind a login, and its bank hours away."""
    plan = Plan(tmp_path, {"sweep": {"backbones": ["dino_vits16", "dinov2_vits14"], "blocks": [8, 11]}})
    for backbone in ("dino_vits16", "dinov2_vits14"):
        inputs = plan.sweeps.inputs(of(encoder=f"{backbone}-b11", method="kmeans"))
        at = sweeps.at("msrc", f"{backbone}-b8")
        assert inputs["truth"] == f"results/{at}/truth-squash_448_100.npz"
        assert plan.evaluation.truth_bank(of(dataset=at)) == f"results/{at}/bank/val-whole.json"
        assert plan.stages.manifest(of(dataset=at)) == "results/msrc/manifest.json"


def test_banks_of_recipes_that_encode_by_themselves_wait_for_no_other(tmp_path: Path) -> None:
    plan = Plan(tmp_path, {"datasets": {"msrc": {"settings": {"recipes": {"whole": {"shift": 2}}}}}})
    later = of(dataset=sweeps.at("msrc", "dinov2_vits14_saliency-b7"), split="train", recipe="whole")
    assert plan.stages.written_before(later) == []


def test_recipes_that_are_read_at_one_block_are_those_that_encode_by_themselves() -> None:
    known = {path.stem for path in Path(views.__file__).parent.glob("*.py")} - {"__init__", *HELPERS}
    assert {name for name in known if isinstance(make_recipe(name, {}, 14), EncodingRecipe)} == ONE_BLOCK


def test_a_row_of_a_sweep_keeps_the_mark_of_its_choice(tmp_path: Path) -> None:
    """Two numbers of AlignSeg's metric were chosen by labels of msrc; without the metric they are not in use."""
    rows = {"alignseg": {}, "alignseg-none": {"kind": "alignseg"}}
    config = Plan(tmp_path, {"sweep": {"methods": rows}}).config
    oracles = [oracle_of(method) for method in config.methods(sweeps.at("msrc", "dinov2_vits14_saliency-b3"))]
    assert oracles == ["val", None]
    assert oracle_of(config.floor("msrc", "linear-probe")) == "train"


def test_rows_read_the_banks_of_their_encoder_and_the_labels_of_the_set(tmp_path: Path) -> None:
    plan = Plan(tmp_path)
    row = of(encoder="dinov2_vits14_saliency-last", method="image-kmeans-5")
    source = "results/msrc/sweep/dinov2_vits14_saliency-last"
    assert plan.sweeps.inputs(row) == {
        "manifest": "results/msrc/manifest.json",
        "truth": "results/msrc/sweep/dinov2_vits14_saliency-b3/truth-squash_448_100.npz",
        "statistics": f"{source}/statistics.npz",
        "fit_whole": f"{source}/bank/train-whole.json",
        "eval_whole": f"{source}/bank/val-whole.json",
    }
    results = plan.sweeps.results(of())
    assert len(results) == 10 * 5
    assert results[-1] == f"{source}/rows/incontext-knn-m10240-b0.02.json"
    assert plan.sweeps.criteria(of())[0] == "results/msrc/sweep/dinov2_vits14_saliency-b3/criteria.json"
    assert plan.sweeps.scoring(of())["dataset"] == "msrc"
    assert plan.sweeps.clustering(row)["k"] == (23,)
    assert [method["name"] for method in plan.sweeps.methods(of())][-1] == "incontext-knn-m10240-b0.02"
    assert plan.sweeps.protocol(of()) == "hungarian"


def test_a_row_that_is_named_twice_stands_once(tmp_path: Path) -> None:
    changes = {"sweep": {"methods": {"linear-probe": {"kind": "kmeans"}}, "beside": ["linear-probe", "image-kmeans-3"]}}
    rows = Plan(tmp_path, changes).sweeps.methods(of())
    assert [(row["name"], row["folder"]) for row in rows] == [("linear-probe", "kmeans"), ("image-kmeans-3", "floors")]


def test_criteria_and_the_chart_of_k_are_given_nothing_with_labels(tmp_path: Path) -> None:
    """Of a set with masks: their jobs get pointers of banks, and statistics, which are those of a bank."""
    plan = Plan(tmp_path, {"criteria": {"mirrored": True}})
    banks = [*plan.sweeps.criteria_banks(of()).values(), plan.sweeps.fit_bank(of())]
    assert len(banks) == 3
    assert {str(Path(bank).parent) for bank in banks} == {"results/msrc/bank"}
    text = (PROJECT / "workflow" / "rules" / "sweep.smk").read_text(encoding="utf-8")
    for rule, first in (
        ("rule criteria", "unpack(sweeps.criteria_banks)"),
        ("checkpoint k_chart", "bank=sweeps.fit_bank"),
    ):
        given = text.split(f"{rule}:")[1].split("input:")[1].split("output:")[0].split(",")
        assert [line.strip() for line in given] == [first, 'statistics="results/{dataset}/statistics.npz"', ""]


def test_sets_without_classes_have_criteria_alone(tmp_path: Path) -> None:
    plan = Plan(tmp_path, {"folder": str(tmp_path), "criteria": {"mirrored": True}})
    own = of(dataset="mine")
    assert plan.sweeps.results(own) == []
    assert plan.sweeps.methods(own) == []
    assert len(plan.sweeps.criteria(own)) > 3
    assert plan.sweeps.results(of(dataset="movi_c")) == []
    banks = plan.sweeps.criteria_banks(of())
    assert banks == {r: f"results/msrc/bank/train-{r}.json" for r in ("whole", "mirrored")}
    assert plan.sweeps.criteria_settings(of())["k"] == 23


def test_k_auto_asks_sets_without_classes_and_waits_for_the_answer(tmp_path: Path) -> None:
    plan = Plan(tmp_path, {"folder": str(tmp_path), "clustering": {"k": "auto"}}, done=())
    own = of(dataset="mine", method="kmeans", seed="0")
    assert plan.config.clusters("msrc") == [23, 300]
    plan.config.suggested = lambda dataset: read_json(plan.files.k_chart(dataset))["suggested"]
    for waits in (
        plan.stages.training_banks,
        plan.stages.settings,
        plan.reports.fixed_scores,
        plan.sweeps.criteria_banks,
        plan.sweeps.criteria,
    ):
        with pytest.raises(NotYet, match="mine"):
            waits(own)
    assert plan.sweeps.k_settings(own)["projection"] == plan.sweeps.criteria_settings(of())["projection"]
    assert plan.sweeps.fit_bank(own).endswith("-whole.json")
    assert plan.reports.k_chart(own) == ["results/mine/k.json"]
    assert plan.reports.k_chart(of()) == []
    plan.files.done = ("mine",)
    assert plan.stages.settings(own)["k"] == [7, 300]
    assert plan.evaluation.shared_scoring("mine").k == 7
    assert plan.rows.method("mine", "kmeans").settings["k"] == [7, 300]


def test_k_auto_outside_a_workflow_wants_the_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(changes={"folder": str(tmp_path), "clustering": {"k": "auto"}})
    with pytest.raises(UserError, match=r"results/mine/k\.json is not there; `snakemake k_chart_mine` makes it"):
        config.clusters("mine")
    write_json(tmp_path / "results" / "mine" / "k.json", {"suggested": 9})
    assert config.clusters("mine") == [9, 300]
    write_json(tmp_path / "results" / "mine" / "k.json", {"suggested": None})
    assert config.clusters("mine") == [27, 300]
    with pytest.raises(UserError, match="k: some is not a whole number, null or auto"):
        read_config(changes={"clustering": {"k": "some"}})
