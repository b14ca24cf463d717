"""What params of rules hold, and what is none: Snakemake makes outputs again where a param changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plan_factory import Plan, of


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path)


def test_what_moves_no_value_is_no_param_of_an_extraction(tmp_path: Path) -> None:
    backbone = {"dino_vits16": {"note": "another sentence"}}
    plain = Plan(tmp_path / "a", {"datasets": {"msrc": {"backbone": "dino_vits16"}}}).stages
    changes = {
        "datasets": {"msrc": {"backbone": "dino_vits16"}},
        "backbones": backbone,
        "extract": {"batch_tokens": 77},
    }
    other = Plan(tmp_path / "b", changes).stages
    asked = of(recipe="whole", split="val", backbone="dino_vits16")
    for params in ("backbone", "backbone_spec", "extract_settings"):
        assert getattr(plain, params)(asked) == getattr(other, params)(asked)
    assert (plain.batch_tokens(asked), other.batch_tokens(asked)) == (8192, 77)


def test_the_images_that_small_tokens_are_fitted_on_belong_to_every_extraction(plan: Plan, tmp_path: Path) -> None:
    crops, five = of(recipe="multicrop", split="train"), of(recipe="flipped", split="train")
    small = Plan(tmp_path, {"extract": {"dtype": "int8"}}).stages
    assert small.extract_code(crops) != plan.stages.extract_code(crops)
    assert small.extract_code(five) != small.extract_code(crops)


def test_what_a_script_imports_is_code_of_its_stage(plan: Plan) -> None:
    modules = plan.stages.code.modules("panel", "patchbank.report.panel")
    assert {"patchbank.report.panel", "patchbank.report.named"} <= set(modules)
    assert plan.stages.code.modules("train", "patchbank.methods.stego.train")[-1] == "patchbank.methods.stego.train"
    assert "patchbank.scripting" not in modules


def test_a_local_weights_file_is_told_by_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "vit.pth"
    plan = Plan(tmp_path, {"backbones": {"dino_vits8": {"file": str(file)}}})
    asked = of(backbone="dino_vits8")
    assert plan.stages.local_file_state(asked) is None
    file.write_bytes(b"12345")
    os.utime(file, ns=(7, 7))
    state = plan.stages.local_file_state(asked)
    assert state is not None
    assert state[:2] == [5, 7]
    other = tmp_path / "other.pth"
    other.write_bytes(b"54321")
    os.utime(other, ns=(7, 7))
    other.rename(file)
    assert plan.stages.local_file_state(asked) != state  # equal size and time, another file
    assert plan.stages.local_file_state(of(backbone="dino_vits16")) is None
