"""Backbones of a configuration: their normalisation, and what methods ask of an encoder, before any work."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from patchbank.config.folders import PROJECT
from patchbank.config.load import checked
from patchbank.errors import UserError


@pytest.fixture
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text(encoding="utf-8"))
    demo = {**found["datasets"]["demo"], "settings": {}}
    return {**found, "datasets": {"demo": demo}, "backbone": "own", "methods": {"kmeans": {}}}


def with_backbone(values: dict[str, Any], **entry: Any) -> dict[str, Any]:
    return {**values, "backbones": {**values["backbones"], "own": entry}}


def test_mean_and_std_are_those_of_the_tag(values: dict[str, Any]) -> None:
    source = {"kind": "hub", "tag": "vit_large_patch16_dinov3.sat493m"}
    config = checked(with_backbone(values, model="vit_large_patch16_dinov3", sources=[source]))
    assert config.backbone("own").mean == (0.43, 0.411, 0.296)
    assert config.backbone("own").std == (0.213, 0.156, 0.143)
    assert config.values["backbones"]["dino_vits16"]["mean"] == [0.485, 0.456, 0.406]


def test_what_the_configuration_says_wins(values: dict[str, Any]) -> None:
    config = checked(with_backbone(values, model="vit_small_patch16_dinov3", mean=[0, 0, 0]))
    assert config.backbone("own").mean == (0, 0, 0)
    assert config.backbone("own").std == (0.229, 0.224, 0.225)


def test_a_file_whose_normalisation_nobody_knows_is_asked_for(values: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        checked(with_backbone(values, model="vit_large_patch16_dinov3", file="w.pth"))
    for part in (
        "backbones.own: mean and std are not known",
        "sat493m mean [0.43, 0.411, 0.296]",
        "give both, or the hub",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="timm has no weights of vit_of_next_year"):
        checked(with_backbone(values, model="vit_of_next_year", file="w.pth"))


def test_a_block_that_does_not_exist_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"own: block 12 does not exist, vit_small_patch16_dinov3 has 0\.\.11"):
        checked(with_backbone(values, model="vit_small_patch16_dinov3", block=12))


def test_what_needs_a_class_token_is_refused_without_one(values: dict[str, Any]) -> None:
    changed = with_backbone(values, model="vit_base_patch16_siglip_224")
    changed["methods"] = {"alignseg": {}, "transfgu": {"window_feature": "pooled", "heads": 12}, "kmeans": {}}
    with pytest.raises(UserError) as caught:
        checked(changed)
    text = str(caught.value)
    assert "datasets.demo: own has no class token, and alignseg: foreground: true reads its attention" in text
    assert "set foreground: false" in text
    assert "transfgu: pseudo_label: attention_gradient reads its attention; set pseudo_label: token_sim" in text
    assert "kmeans:" not in text


def test_rows_of_an_ablation_are_asked_for_a_class_token_too(values: dict[str, Any]) -> None:
    changed = with_backbone(values, model="vit_base_patch16_siglip_224")
    changed["methods"] = {"alignseg": {"foreground": False}}
    rows = {"plain": {"factor": "plain"}, "masked": {"factor": "mask", "settings": {"foreground": True}}}
    changed["ablations"] = {"mask": {"method": "alignseg", "datasets": ["demo"], "rows": rows}}
    with pytest.raises(UserError) as caught:
        checked(changed)
    text = str(caught.value)
    assert "ablations.mask.masked: own has no class token, and masked: foreground: true" in text
    assert "mask.plain" not in text


def test_methods_that_read_tokens_alone_need_none(values: dict[str, Any]) -> None:
    changed = with_backbone(values, model="vit_base_patch16_siglip_224")
    similar = {"pseudo_label": "token_similarity", "heads": 12}
    changed["methods"] = {"alignseg": {"foreground": False}, "transfgu": similar, "kmeans": {}}
    checked(changed)


def test_swept_rows_are_compared_with_swept_encoders(values: dict[str, Any]) -> None:
    changed = with_backbone(values, model="vit_base_patch16_siglip_224")
    changed |= {"backbone": "dino_vits16", "sweep": {"backbones": ["dino_vits16", "own"], "methods": {"alignseg": {}}}}
    with pytest.raises(UserError) as caught:
        checked(changed)
    assert "datasets.demo: sweep: own has no class token, and alignseg: foreground: true" in str(caught.value)
    assert "dino_vits16 has" not in str(caught.value)
    changed["sweep"] = {"methods": {"alignseg": {"heads": 7}}}
    with pytest.raises(UserError, match="heads"):
        checked(changed)


def test_mirror_images_are_not_compared_with_a_shifted_grid(values: dict[str, Any]) -> None:
    changed = {**values, "backbone": "dino_vits16", "criteria": {"mirrored": True}}
    checked(changed)
    changed["recipes"] = {**values["recipes"], "whole": {**values["recipes"]["whole"], "shift": 2}}
    with pytest.raises(UserError, match=r"datasets\.demo: recipes\.whole\.shift is 2, and criteria\.mirrored compares"):
        checked(changed)
