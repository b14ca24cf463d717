"""Settings files of heads on single tokens: they open with what a reader needs and say what is published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from patchbank.config.config import Config
from patchbank.config.folders import PROJECT
from patchbank.config.load import checked, read_config
from patchbank.config.schema import merge
from patchbank.datasets.classes import load_table
from patchbank.evaluation import protocols
from patchbank.refinement import crf

FOLDER = PROJECT / "workflow" / "settings"
HEADS = ("stego", "smooseg", "primaps", "cause_mlp")
FILES = sorted(path for head in (*HEADS, "cause_tr") for path in FOLDER.glob(f"{head}_*.yaml"))
TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "stego_coco27": ("coco27", {"shift_intra": 0.08, "shift_inter": 0.02, "shift_negative": 0.66, "views": "five"}),
    "stego_cityscapes": (
        "cityscapes27",
        {
            "weight_intra": 1.0,
            "weight_inter": 0.5774534831,
            "weight_negative": 0.9058762625,
            "shift_intra": 0.4582847221,
            "shift_inter": 0.1754346515,
            "shift_negative": 0.3136124189,
        },
    ),
    "stego_potsdam": ("potsdam3", {"shift_intra": 0.08, "shift_inter": 0.02, "shift_negative": 0.46, "views": "whole"}),
    "smooseg_coco27": ("coco27", {"shift_intra": -0.02, "shift_inter": 0.48, "steps": 8000, "views": "five"}),
    "smooseg_cityscapes": ("cityscapes27", {"shift_intra": -0.02, "shift_inter": 0.5, "steps": 3000, "views": "five"}),
    "cause_mlp_cityscapes": ("cityscapes27", {"weight_decay": 0.0, "clip": 1.0}),
    "cause_mlp_coco27": ("coco27", {"weight_decay": 1e-4, "clip": 0.1}),
    "cause_tr_cityscapes": ("cityscapes27", {"weight_decay": 0.0, "clip": 1.0}),
    "cause_tr_coco27": ("coco27", {"weight_decay": 1e-4, "clip": 2.0}),
    "primaps_cityscapes": ("cityscapes27", {}),
    "primaps_coco27": ("coco27", {}),
    "primaps_potsdam": ("potsdam3", {}),
    "smooseg_potsdam": ("potsdam3", {"shift_intra": 0.1, "shift_inter": 0.5, "views": "whole"}),
}
COMMON: dict[str, dict[str, Any]] = {
    "stego": {
        "centre": "none",
        "width": 70,
        "points": 11,
        "negatives": 5,
        "dropout": 0.1,
        "signal_dropout": 0.1,
        "sample": "codes",
        "centring": True,
        "clamp": "zero",
        "shifts": "given",
        "probe": "reference",
        "mirror": True,
        "lr": 5e-4,
        "probe_lr": 5e-3,
        "steps": 5000,
        "batch_size": 16,
    },
    "cause-mlp": {
        "views": "five",
        "centre": "none",
        "width": 90,
        "projection": 2048,
        "codes": 2048,
        "memory": 100,
        "block": 4,
        "dropout": 0.1,
        "probe": "reference",
        "supervised_leak": "none",
        "mirror": True,
        "mediator_epochs": 0.25,
        "epochs": 0.5,
        "probe_epochs": 0.25,
        "lr": 4e-3,
        "batch_size": 16,
    },
    "primaps": {
        "stage": "em",
        "views": "center320",
        "centre": "none",
        "threshold": 0.4,
        "reference": True,
        "size": 320,
        "refine": "crf",
        "student": "recoloured",
        "start_epochs": 2,
        "epochs": 50,
        "pca_batches": 93,
        "gamma": 2.0,
        "teacher_every": 10,
        "teacher_decay": 0.98,
        "mirror": True,
        "lr": 5e-3,
        "batch_size": 32,
    },
    "smooseg": {
        "centre": "none",
        "width": 64,
        "dropout": 0.2,
        "signal_dropout": 0.2,
        "centring": True,
        "decay": 0.998,
        "classes": "prototypes",
        "mirror": True,
        "lr": 1e-4,
        "prototype_lr": 5e-4,
        "batch_size": 32,
    },
}
COMMON["cause-tr"] = COMMON["cause-mlp"] | {"hidden": 2048, "probe_epochs": 1.25, "probe_halving": 0.5}
IDLE: dict[str, set[str]] = {
    "cause-mlp": {"tokens"},
    "cause-tr": {"tokens"},
    "primaps": {"codes"},
    "smooseg": {"tokens"},
    "stego": {"search_steps", "near_zero", "near_one", "tokens"},
}
"""Settings that do nothing under the published ones."""


def loaded(path: Path) -> Config:
    """config.yaml with the file over it, as `--configfile` merges them."""
    values: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text())
    return checked(merge(values, yaml.safe_load(path.read_text())))


@pytest.fixture(autouse=True)
def with_the_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published files ask for it, which the configuration refuses without its library."""
    monkeypatch.setattr(crf, "installed", lambda: True)


def test_every_file_is_tested() -> None:
    assert {path.stem for path in FILES} == set(TABLE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_opens_with_command_hardware_time_and_score(path: Path) -> None:
    head = re.match(r"(#.*\n)+", path.read_text())
    assert head
    for word in ("Command:", "Hardware:", "Time:", "Disk:", "Score:"):
        assert f"# {word}" in head[0]
    command = f"--configfile workflow/settings/{path.name} --cores 8 --config data_root=DIR"
    assert f"snakemake eval_{TABLE[path.stem][0]} {command}\n" in head[0]


@pytest.mark.parametrize("name", TABLE)
def test_a_file_says_what_is_published(name: str) -> None:
    dataset, own = TABLE[name]
    method = name.rpartition("_")[0].replace("_", "-")
    path = FOLDER / f"{name}.yaml"
    row = loaded(path).method(dataset, method)
    expected = {**COMMON[method], **own}
    assert {key: row.settings[key] for key in expected} == expected
    entry = yaml.safe_load(path.read_text())["datasets"][dataset]["settings"]["methods"][method]
    left = {key for key in row.settings if key not in entry}
    assert left <= IDLE[method] | {"k", "kmeans_seeds", "kmeans"}, "published values do not hang on our defaults"


FIELD = sorted(FOLDER.glob("field_*.yaml"))


@pytest.mark.parametrize("path", FIELD, ids=lambda path: path.stem)
def test_a_table_of_the_field_has_every_head_five_times_and_every_protocol(path: Path) -> None:
    dataset, config = path.stem.removeprefix("field_"), loaded(path)
    head = re.match(r"(#.*\n)+", path.read_text())
    assert head
    for word in ("Command:", "Hardware:", "Time:", "Disk:", "Score:"):
        assert f"# {word}" in head[0]
    assert f"snakemake eval_{dataset} --configfile workflow/settings/{path.name} --cores 8" in head[0]
    rows = {method.name: method for method in config.methods(dataset)}
    assert {method.folder for method in rows.values()} >= {*HEADS, "alignseg", "transfgu", "kmeans"}
    assert {name for name, method in rows.items() if len(method.seeds) < 5} == {"primaps-proposals"}, "draws nothing"
    assert {"kmeans", "kmeans-whitened", "primaps-proposals"} <= set(rows)
    inside = {name: method.settings["segments"] for name, method in rows.items() if method.folder.endswith("_whitened")}
    assert inside == {"image-kmeans-whitened": 5, **{f"image-kmeans-whitened-{n}": n for n in (3, 8, 12)}}
    assert [name for name, method in rows.items() if method.traits.oracle] == ["cause-mlp-leak"]
    chosen = {name: method.oracle for name, method in rows.items() if method.oracle}
    designed = {name: "train" for name, method in rows.items() if method.folder == "foreground_kmeans"}
    ours = {name: method.settings["background"] for name, method in rows.items() if method.folder == "ward_segments"}
    has_background = "background" in load_table(dataset).classes
    assert ours == {"ward-stego": False, **({"ward-stego-background": True} if has_background else {})}
    said = {name: "train, val" if background else "val" for name, background in ours.items()}
    tried = said if dataset in ("msrc", "camvid", "voc_animals", "voc") else {}
    assert chosen == {**({"alignseg": "val"} if dataset == "msrc" else {}), **designed, **tried}
    assert {key: rows["cause-mlp-leak"].settings[key] for key in rows["cause-mlp-probe"].settings} == {
        **rows["cause-mlp-probe"].settings,
        "supervised_leak": "reference",
    }
    assert {rows[name].after for name in ("primaps-stego", *ours)} == {"stego"}
    of_classes = {name for name in protocols.names() if protocols.get(name).labels == "class"}
    assert set(config.of(dataset)["protocols"]) == of_classes


@pytest.mark.parametrize("dataset", ["msrc", "camvid", "voc_animals"])
def test_crops_are_compared_with_windows_alone(dataset: str) -> None:
    files = [FOLDER / f"field_{dataset}.yaml", FOLDER / "views_stego.yaml"]
    config = read_config(files)
    real, windows = config.method(dataset, "stego-five"), config.method(dataset, "stego")
    assert (real.settings["views"], windows.settings["views"]) == ("five", "windows")
    assert {**real.settings, "views": "windows"} == windows.settings
    assert real.seeds == windows.seeds


SMALL = ("camvid", "demo", "msrc", "voc_animals")
STEP = {"stego": 0.65, "smooseg": 0.51}
"""Seconds a step on two CPU cores beside other work (docs/benchmarks.md)."""


@pytest.mark.parametrize("dataset", SMALL)
def test_a_training_on_a_small_set_is_short_and_the_header_has_its_arithmetic(dataset: str) -> None:
    path = FOLDER / f"field_{dataset}.yaml"
    config, text = loaded(path), path.read_text()
    for name, seconds in STEP.items():
        settings = config.method(dataset, name).settings
        steps = settings["steps"] + settings.get("search_steps", 0)
        assert steps * seconds <= 300
        counted = f"({settings['search_steps']} + {settings['steps']})" if name == "stego" else str(steps)
        assert f"{counted} x {seconds} s = {steps * seconds / 60:.1f}" in text


def test_the_shipped_lists_are_the_set_that_its_table_describes() -> None:
    lists = {split: (PROJECT / f"workflow/lists/voc_animals_{split}.txt").read_text().split() for split in SPLITS}
    assert {split: len(names) for split, names in lists.items()} == {"train": 437, "val": 222}
    assert len({name for names in lists.values() for name in names}) == 437 + 222


SPLITS = ("train", "val")
