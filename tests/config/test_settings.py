"""The configuration: defaults, one message for all problems, what rules ask of it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from patchbank.config.config import Config
from patchbank.config.folders import PROJECT, SCHEMA
from patchbank.config.load import checked, default_config, read_config
from patchbank.config.schema import merge
from patchbank.errors import UserError
from patchbank.evaluation.score import Scoring, context_of
from patchbank.methods import contract

SCORING = Scoring("msrc", (), "full", "train")


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((PROJECT / "config.yaml").read_text()))


def test_the_shipped_configuration_is_valid_and_enables_only_what_needs_no_data() -> None:
    config = default_config()
    assert config.enabled == ["demo"]
    assert {"demo", "msrc", "camvid", "voc"} <= set(config.datasets)
    assert config.backbone_name("voc") == "dino_vits16"
    assert config.backbone_name("msrc") == "dinov2_vits14_saliency"


def test_every_schema_key_has_a_description_and_config_yaml_shows_the_defaults(values: dict[str, Any]) -> None:
    schema = yaml.safe_load(SCHEMA.read_text())
    for key, part in schema["properties"].items():
        assert part.get("description"), key
        if "default" in part and key != "methods" and not isinstance(part["default"], dict):
            assert values[key] == part["default"], key
    for group in ("extract", "clustering"):
        for key, part in schema["properties"][group]["properties"].items():
            assert values[group][key] == part["default"], f"{group}.{key}"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("data_rot",), "x", "data_rot: unknown key; did you mean 'data_root'"),
        (("seeds",), [0, 0], "seeds: "),
        (("seeds",), "1", "seeds: '1' is not a list; write seeds=['1']"),
        (("fit",), "test", "fit: 'test' is not one of"),
        (("backbone",), "resnet", "backbone: 'resnet' is not one of the backbones"),
        (("all",), ["imagenet"], "all: 'imagenet' is not one of the datasets"),
        (("recipes", "multicrop", "draws"), 0, "recipes.multicrop.draws: 0 is less than the minimum of 1"),
        (("recipes", "whole", "sise"), 4, "recipes.whole.sise: unknown key; did you mean 'size'"),
        (("clustering", "pca"), 0, None),
        (("methods", "alignseg", "queries"), 1, "queries is 1, it must be at least 2"),
        (("methods", "alignseg", "presure"), 1, "unknown presure"),
        (("methods", "eagle"), {}, "There is no method 'eagle'"),
        (("methods", "kmeans", "samples"), 3, "kmeans: unknown samples"),
        (("datasets", "msrc", "layout"), "davis", "There is no layout 'davis'"),
        (("datasets", "msrc", "backbone"), "vgg", "datasets.msrc.backbone: 'vgg'"),
        (("datasets", "msrc", "settings"), {"seedz": [1]}, "datasets.msrc.settings"),
        (("methods", "alignseg", "heads"), 5, "heads is 5, which does not divide the tokens' width 384"),
        (("recipes", "multicrop", "local_scale"), [0.01, 0.05], "local_scale is [0.01, 0.05]; local crops must share"),
        (("extract", "pca"), 384, "extract.pca is 384, and tokens of dinov2_vits14_saliency have a width of 384; name"),
        (("extract", "pca"), 385, "extract.pca is 385, and tokens of dinov2_vits14_saliency have a width of 384"),
        (("extract", "pca"), 128, "heads is 3, which does not divide the tokens' width 128"),
        (("extract", "pca"), 96, None),
        (("recipes", "whole", "shift"), 5, "recipes.whole.shift: 5 is greater than the maximum of 4"),
        (("recipes", "multicrop", "global_scale"), [1.0, 0.5], "global_scale is [1.0, 0.5]; the smaller bound comes"),
        (("backbones", "dino_vits8", "sources"), [{"kind": "hub"}], "tag must be given"),
        (("datasets", "voc", "images"), "curated", "images is 'curated', but layout voc knows only all"),
        (("datasets", "coco27", "images"), "some", "'some' is not one of"),
        (("datasets", "coco27", "table"), "coco28", "There is no class table 'coco28'"),
        (("datasets", "coco27", "table"), "coco27_alignseg_exact", None),
        (("datasets", "msrc", "ignore"), ["9-3"], "msrc: '9-3' is neither a raw value"),
        (("datasets", "msrc", "label_map"), {3: "tiger"}, "label_map: 3 -> 'tiger', but the classes are building"),
        (("classes",), ["a"], "give --config folder=DIR as well"),
    ],
)
def test_wrong_values_are_named_with_the_way_out(
    values: dict[str, Any], path: tuple[str, ...], value: Any, said: str | None
) -> None:
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if said is None:
        checked(values)
        return
    with pytest.raises(UserError) as caught:
        checked(values)
    assert said in str(caught.value)


def test_what_small_and_dense_banks_leave_out_is_said(values: dict[str, Any]) -> None:
    values["extract"]["pca"] = 96
    values["methods"]["transfgu"] = {}
    with pytest.raises(UserError, match=r"transfgu reads lastblock and windows, which hold all channels of .*pca"):
        checked(values)
    values["extract"]["pca"], values["recipes"]["whole"]["shift"] = 0, 2
    values["methods"]["kmeans"]["postprocess"] = ["flip"]
    with pytest.raises(UserError, match=r"recipes\.whole\.shift is 2, and flip averages tokens of the plain grid"):
        checked(values)


@pytest.mark.parametrize("setting", [{"preprocessing": "full"}, {"score_at": ["full"]}])
def test_alignsegs_wrong_map_exists_at_its_own_preprocessing_only(
    values: dict[str, Any], setting: dict[str, Any]
) -> None:
    values["datasets"]["coco27"]["table"] = "coco27_alignseg_exact"
    values["datasets"]["coco27"]["settings"] = setting
    with pytest.raises(UserError, match="preprocessing must be squash_448_100"):
        checked(values)


@pytest.mark.parametrize(("classes", "expected"), [("", ()), ("sky, road", ("sky", "road")), (["a"], ("a",))])
def test_a_folder_defines_the_set_mine(values: dict[str, Any], classes: Any, expected: tuple[str, ...]) -> None:
    config = checked(values | {"folder": "my/pictures", "classes": classes})
    spec = config.spec("mine")
    assert (spec.layout, spec.root, spec.classes) == ("folder", Path("my/pictures").absolute(), expected)
    assert config.backbone_name("mine") in config.values["backbones"]
    assert "mine" not in checked(values).datasets
    values["datasets"]["mine"] = {"layout": "folder", "backbone": "dino_vits8"}
    with pytest.raises(UserError, match=r"datasets has a set 'mine'.*add name=pictures"):
        checked(values | {"folder": "my/pictures"})


def test_all_problems_come_in_one_message(values: dict[str, Any]) -> None:
    values["seedz"] = [1]
    values["fit"] = "test"
    values["recipes"]["whole"]["size"] = "big"
    with pytest.raises(UserError) as caught:
        checked(values)
    assert all(part in str(caught.value) for part in ("seedz", "fit", "recipes.whole.size"))


def test_whitening_without_pca_is_an_impossible_combination(values: dict[str, Any]) -> None:
    values["clustering"] |= {"pca": 0, "whiten": True}
    with pytest.raises(UserError, match="needs pca"):
        checked(values)


def test_a_sets_own_settings_change_only_that_set(values: dict[str, Any]) -> None:
    values["datasets"]["msrc"]["settings"] = {"seeds": [7], "methods": {"alignseg": {"queries": 9}}}
    config = checked(values)
    assert config.method("msrc", "alignseg").settings["queries"] == 9
    assert config.method("msrc", "alignseg").seeds == (7,)
    assert config.method("camvid", "alignseg").settings["queries"] == 5
    assert config.method("camvid", "alignseg").seeds == (0, 1, 2)
    assert config.method("msrc", "kmeans").seeds == (7,)


def test_a_method_that_is_left_out_stays_out_where_a_set_changes_it(values: dict[str, Any]) -> None:
    values["methods"]["alignseg"] = None
    config = checked(values)
    assert config.values["datasets"]["camvid"]["settings"]["methods"]["alignseg"]
    for dataset in ("demo", "camvid", "msrc"):
        assert [method.name for method in config.methods(dataset)] == ["kmeans"]
    assert [method.name for method in config.methods("voc")] == ["kmeans"]


def test_a_row_says_on_which_split_its_classes_were_found() -> None:
    """`fit: val` moves k-means and clusters of segments; what finds its classes in training trains on train."""
    config = read_config([PROJECT / "workflow" / "settings" / "field_msrc.yaml"], {"fit": "val"})
    rows = {method.name: method for method in config.methods("msrc")}
    fits = {name: context_of(method, (), replace(SCORING, fit="val")).fit for name, method in rows.items()}
    assert {name for name, fit in fits.items() if fit == "val"} == {
        *("alignseg", "kmeans", "kmeans-whitened", "primaps-proposals"),
        *("image-kmeans-whitened", *(f"image-kmeans-whitened-{n}" for n in (3, 8, 12))),
    }
    assert {"stego", "smooseg", "primaps", "cause-mlp", "transfgu-tokens"} <= {
        n for n, f in fits.items() if f == "train"
    }
    for name, method in rows.items():
        if method.traits.kind == "classes":
            assert {Path(bank).name.split("-")[0] for bank in config.training_banks("msrc", method).values()} == {
                fits[name]
            }
    others = [config.floor("msrc", name) for name in ("linear-probe", "grid-majority", "random-clusters")]
    assert {context_of(method, (), SCORING).fit for method in others} == {None}


def test_a_choice_that_labels_made_is_said_of_the_row_and_gives_it_no_labels(values: dict[str, Any]) -> None:
    config = checked(values)
    said = {name: config.method("msrc", name) for name in ("alignseg", "kmeans", "linear-probe")}
    assert {name: (m.oracle, m.traits.oracle) for name, m in said.items()} == {
        "alignseg": ("val", None),
        "kmeans": (None, None),
        "linear-probe": (None, "train"),
    }
    rows = {name: context_of(method, (), SCORING).oracle for name, method in said.items()}
    assert rows == {"alignseg": "val", "kmeans": None, "linear-probe": "train"}
    assert config.method("camvid", "alignseg").oracle is None
    ablation = read_config([PROJECT / "workflow" / "settings" / "ablate_alignseg.yaml"]).ablation("alignseg")
    rows = ("plain", "refine-10", "metric", "refine-metric")
    found = [config.ablation_row(ablation, "msrc", row).oracle for row in rows]
    assert found == [None, None, "val", "val"]
    assert config.ablation_row(ablation, "camvid", "metric").oracle is None
    values["methods"]["alignseg"]["postprocess"] = ["flip", "pamr"]
    assert {row.oracle for row in checked(values).postprocessed("msrc")} == {"val"}
    values["methods"]["alignseg"]["metric"] = "none"
    assert checked(values).method("msrc", "alignseg").oracle is None
    values["methods"]["kmeans"]["oracle"] = {"train": {}}
    assert checked(values).method("voc", "kmeans").oracle == "train"
    values["methods"]["kmeans"]["oracle"] = {"val": {}, "train": {}}
    both = checked(values).method("voc", "kmeans")
    assert context_of(both, (), SCORING).oracle == both.oracle == "train, val"
    values["methods"]["kmeans"]["oracle"] = {"val": {"pca": 3}, "train": {}}
    assert checked(values).method("voc", "kmeans").oracle == "train", "the other one is of other settings"
    for wrong in ("val", {"test": {}}):
        values["methods"]["kmeans"]["oracle"] = wrong
        with pytest.raises(UserError, match="oracle"):
            checked(values)


def test_overclustering_needs_a_number_of_clusters(values: dict[str, Any]) -> None:
    values["clustering"]["overcluster"] = []
    with pytest.raises(UserError, match=r"datasets.demo: overcluster has no K; give one other than 12"):
        checked(values)
    values["protocols"] = ["hungarian"]
    checked(values)


def test_a_method_may_stand_twice_with_other_settings(values: dict[str, Any]) -> None:
    values["methods"]["alignseg-raw"] = {"kind": "alignseg", "centre": "none"}
    found = checked(values).method("msrc", "alignseg-raw")
    assert (found.folder, found.settings["centre"], found.traits.kind) == ("alignseg", "none", "segments")


def test_one_backbone_for_all_and_a_local_file_first(values: dict[str, Any]) -> None:
    values["backbone"] = "dino_vits8"
    values["backbones"]["dino_vits8"]["file"] = "weights/dino.pth"
    config = checked(values)
    assert {config.backbone_name(name) for name in config.datasets} == {"dino_vits8"}
    assert [source["kind"] for source in config.backbone("dino_vits8").sources] == ["file", "hub"]


def test_floors_are_known_by_their_names() -> None:
    config = default_config()
    assert config.floor("msrc", "voronoi-16").settings["q"] == 16
    assert config.floor("msrc", "single").settings["q"] == 1
    with pytest.raises(UserError, match="neither a method nor a floor"):
        config.floor("msrc", "voronoi-0")


def test_floors_and_ceilings_with_a_folder_of_their_own_have_one_seed_and_ceilings_need_classes(
    values: dict[str, Any],
) -> None:
    values["floors"] = ["single", "random-clusters"]
    config = checked(values)
    assert config.standing("msrc") == ["single", "random-clusters", "grid-majority", "linear-probe"]
    random, probe = (config.method("msrc", name) for name in ("random-clusters", "linear-probe"))
    assert (random.folder, random.seeds, random.traits.floor, random.traits.oracle) == (
        "random_clusters",
        (0,),
        True,
        None,
    )
    assert (probe.seeds, probe.traits.ceiling, probe.traits.oracle) == ((0,), True, "train")
    assert random.settings["k"] == [23, 300]
    values["datasets"]["plain"] = {"layout": "folder", "backbone": "dino_vits16"}
    assert checked(values).standing("plain") == ["single", "random-clusters"]


def test_postprocessing_makes_rows_of_the_same_predictions(values: dict[str, Any]) -> None:
    values["methods"]["alignseg"]["postprocess"] = ["bilinear", "pamr"]
    config = checked(values)
    assert [row.name for row in config.postprocessed("msrc")] == ["alignseg+bilinear", "alignseg+pamr"]
    row = config.method("msrc", "alignseg+pamr")
    plain = config.method("msrc", "alignseg")
    assert (row.source, row.postprocess, row.seeds, row.folder) == ("alignseg", "pamr", plain.seeds, "alignseg")
    assert row.settings == plain.settings
    assert "postprocess" not in plain.settings
    assert (plain.features, plain.trained) == ("whole", "")
    values["methods"]["alignseg"]["postprocess"] = ["flip"]
    (flipped,) = checked(values).postprocessed("msrc")
    assert (flipped.name, flipped.features, flipped.trained) == ("alignseg+flip", "flipped", "alignseg")
    assert (flipped.source, flipped.postprocess, flipped.trained) == ("", "flip", "alignseg")
    maps = {"kind": "transfgu", "stage": "pseudo_labels", "postprocess": ["flip"]}
    values["methods"]["maps"] = maps
    with pytest.raises(UserError, match="maps reads no tokens, which flip would change"):
        checked(values)
    values["methods"]["maps"] = {"kind": "smooseg", "mirror": True, "postprocess": ["flip"]}
    with pytest.raises(UserError, match=r"maps averages scores .* \(mirror: true\), and flip tokens .*; choose one"):
        checked(values)
    values["methods"]["maps"] = {"kind": "smooseg", "mirror": True, "postprocess": ["bilinear"]}
    checked(values)
    del values["methods"]["maps"]
    values["methods"]["alignseg"]["postprocess"] = ["erode"]
    with pytest.raises(UserError, match="erode"):
        checked(values)


def test_clusters_start_with_the_number_of_classes() -> None:
    assert default_config().clusters("msrc") == [23, 300]
    assert default_config().splits("voc") == {"train": "trainaug", "eval": "val", "fit": "trainaug"}


def test_training_reads_the_train_split_and_only_clusters_the_one_they_are_fitted_on(values: dict[str, Any]) -> None:
    values["fit"] = "val"
    config = checked(values)
    alignseg, kmeans = (config.method("msrc", name) for name in ("alignseg", "kmeans"))
    assert config.training_banks("msrc", kmeans) == {"whole": "results/msrc/bank/val-whole.json"}
    foreground = replace(kmeans, name="foreground-kmeans", traits=contract.traits("foreground_kmeans"))
    assert config.training_banks("msrc", foreground) == {"whole": "results/msrc/bank/val-whole.json"}
    assert config.training_banks("voc", alignseg, "r") == {"multicrop": "r/voc/bank/trainaug-multicrop.json"}
    whole = replace(alignseg, traits=replace(alignseg.traits, recipes=("whole",)))
    assert config.training_banks("msrc", whole) == {"whole": "results/msrc/bank/train-whole.json"}


def test_the_digest_knows_what_suggests_k_where_it_is_asked_for_alone(tmp_path: Path, values: dict[str, Any]) -> None:
    asked = {"folder": str(tmp_path), "clustering": {"k": "auto"}}
    auto, never = Config(merge(values, asked)), Config(merge(values, {"folder": str(tmp_path)}))
    for changes, shapes in (
        ({"criteria": {"sample": 500}}, True),
        ({"clustering": {"k_candidates": [2, 3]}}, True),
        ({"criteria": {"mirrored": True}}, False),
    ):
        changed = Config(merge(values, merge(asked, changes)))
        assert (changed.digest("mine") != auto.digest("mine")) is shapes
        assert changed.digest("msrc") == auto.digest("msrc")
        assert Config(merge(values, {"folder": str(tmp_path), **changes})).digest("mine") == never.digest("mine")


def test_merging_keeps_what_is_not_changed() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}
