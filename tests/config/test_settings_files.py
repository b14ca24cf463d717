"""Settings files: they load over config.yaml, say what is published, and open with what a reader needs first."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from patchbank.config.config import Config
from patchbank.config.folders import PROJECT
from patchbank.config.load import checked
from patchbank.config.schema import merge
from patchbank.evaluation import protocols
from patchbank.evaluation.preprocessing import SOFT, VARIANTS
from patchbank.methods.alignseg.settings import AlignSegSettings

FOLDER = PROJECT / "workflow" / "settings"
FILES = sorted(FOLDER.glob("alignseg_*.yaml"))
COMMON = {
    "decoder": "reference",
    "pairing": "reference",
    "centre": "none",
    "foreground": True,
    "tokens_from": "crops",
    "initial_queries": "normal",
    "refine": 0,
    "metric": "none",
    "merge_above": 1.0,
    "lr": 5e-4,
    "weight_decay": 0.04,
    "batch_size": 32,
    "lr_step_epochs": 3,
    "lr_gamma": 0.5,
    "hidden": 768,
    "epochs": 10,
}
VOC = {"queries": 5, "heads": 3, "layers": 1, "pressure": 0.11}
COCO = {"queries": 5, "heads": 3, "layers": 1, "pressure": 0.10}
MOVI = {"queries": 18, "heads": 4, "layers": 6, "pressure": 0.13}
PUBLISHED: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "alignseg_voc": ("voc", VOC, {"hidden": 384}, "69.5"),
    "alignseg_coco27": ("coco27", COCO, {"layers": 3}, "35.1"),
    "alignseg_coco27_curated": ("coco27", COCO, {"layers": 3}, "35.1"),
    "alignseg_movi_c": ("movi_c", MOVI, {}, "48.0 FG-ARI, 31.2 mBO"),
    "alignseg_movi_e": ("movi_e", MOVI, {}, "44.1 FG-ARI, 20.4 mBO"),
}
"""File -> set, its column of the published table, what the evaluation file says otherwise, published score."""


def loaded(path: Path) -> Config:
    """config.yaml with the file over it, as `--configfile` merges them."""
    values: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text())
    changes: dict[str, Any] = yaml.safe_load(path.read_text())
    return checked(merge(values, changes))


def test_every_file_is_tested() -> None:
    assert {path.stem for path in FILES} == {*PUBLISHED, "alignseg_default"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_opens_with_command_hardware_time_and_score(path: Path) -> None:
    head = re.match(r"(#.*\n)+", path.read_text())
    assert head
    for word in ("Command:", "Hardware:", "Time:", "Disk:", "Score:"):
        assert f"# {word}" in head[0]
    command = f"--configfile workflow/settings/{path.name} --cores 8 --config data_root=DIR"
    assert re.search(rf"snakemake eval_\w+ {command}\n", head[0])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_says_what_is_published(name: str) -> None:
    dataset, expected, elsewhere, score = PUBLISHED[name]
    path = FOLDER / f"{name}.yaml"
    config = loaded(path)
    assert f"published {score}" in path.read_text()
    assert f"eval_{dataset} " in path.read_text()
    settings = config.method(dataset, "alignseg").settings
    assert {key: settings[key] for key in {**COMMON, **expected}} == {**COMMON, **expected}
    of = config.of(dataset)
    assert of["recipes"]["multicrop"]["draws"] == settings["epochs"]
    assert (of["recipes"]["multicrop"]["size"], of["recipes"]["multicrop"]["augment"]) == (224, False)
    assert of["clustering"]["centre"] == settings["centre"]
    backbone = config.backbone(config.backbone_name(dataset))
    assert (backbone.model, backbone.block, backbone.norm, backbone.pos_embed) == (
        "vit_small_patch16_224",
        -1,
        True,
        "dino",
    )
    movi = dataset.startswith("movi")
    assert of["recipes"]["whole"]["size"] == (256 if movi else 448)
    assert of["protocols"][0] == ("objects" if movi else "per_image")
    assert of["preprocessing"] == "squash_448_100"
    # what the evaluation file says is a second row, equal in everything else
    others = [method for method in config.methods(dataset) if method.name == "alignseg-eval"]
    assert [method.settings for method in others] == ([{**settings, **elsewhere}] if elsewhere else [])


def test_a_published_file_leaves_no_value_to_our_defaults() -> None:
    """Defaults of ours may change, published values may not."""
    idle = {"crops", "metric_dims", "metric_shrink"}  # they do nothing with tokens_from: crops and metric: none
    fields = {field.name for field in dataclasses.fields(AlignSegSettings)} - idle
    for name, (dataset, *_) in PUBLISHED.items():
        entry = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["datasets"][dataset]["settings"]
        assert set(entry["methods"]["alignseg"]) == fields


def test_a_published_file_changes_no_other_set() -> None:
    plain = checked(yaml.safe_load((PROJECT / "config.yaml").read_text()))
    for name in PUBLISHED:
        assert loaded(FOLDER / f"{name}.yaml").of("msrc")["methods"] == plain.of("msrc")["methods"]


def test_our_default_is_the_shipped_configuration() -> None:
    values = yaml.safe_load((PROJECT / "config.yaml").read_text())
    assert merge(values, yaml.safe_load((FOLDER / "alignseg_default.yaml").read_text())) == values
    ours = yaml.safe_load((FOLDER / "alignseg_default.yaml").read_text())
    assert ours["methods"]["alignseg"] == values["methods"]["alignseg"]
    assert ours["recipes"]["whole"] == values["recipes"]["whole"]


@pytest.mark.parametrize("below", [(), ("transfgu_generic",)])
def test_the_full_table_has_every_protocol_of_classes_at_every_preprocessing(below: tuple[str, ...]) -> None:
    values: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text())
    for name in (*below, "full_table"):
        values = merge(values, yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))
    config = checked(values)
    of_classes = {name for name in protocols.names() if protocols.get(name).labels == "class"}
    for dataset in ("demo", "msrc", "camvid"):
        of = config.of(dataset)
        assert set(of["protocols"]) == of_classes
        assert {of["preprocessing"], *of["score_at"]} == set(VARIANTS) - set(SOFT)
        more = {row.name for row in config.postprocessed(dataset)}
        assert more >= {f"alignseg+{name}" for name in ("flip", "bilinear", "pamr")}
        assert ("kmeans-whitened+bilinear" in more) == bool(below)
