"""Weights in the names and shapes that their authors publish, made here: each loads, and gives the model's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm_models import randomise, small

from patchbank.checkpoints.dino import clean_backbone_keys
from patchbank.errors import UserError
from patchbank.weights.convert import to_timm

State = dict[str, torch.Tensor]


def meta_dinov2(state: State) -> State:
    """facebookresearch/dinov2 `*_pretrain.pth`: timm's names and a mask token."""
    return {**state, "mask_token": torch.zeros(1, 128)}


def meta_registers(state: State) -> State:
    """`*_reg4_pretrain.pth`: the class token without its position, which lies in `pos_embed`; `register_tokens`."""
    position = torch.randn(1, 1, 128)
    rest = {name: value for name, value in state.items() if name not in ("cls_token", "reg_token", "pos_embed")}
    return {
        **rest,
        "mask_token": torch.zeros(1, 128),
        "register_tokens": state["reg_token"],
        "cls_token": state["cls_token"] - position,
        "pos_embed": torch.cat([position, state["pos_embed"]], 1),
    }


def meta_dinov3(state: State) -> State:
    """facebookresearch/dinov3 `*_pretrain_lvd1689m-*.pth`."""
    names = {"reg_token": "storage_tokens"}
    published: State = {"mask_token": torch.zeros(1, 128), "rope_embed.periods": torch.ones(4)}
    for name, value in state.items():
        if name.endswith("q_bias"):
            block = name.removesuffix("q_bias")
            bias = torch.cat([value, torch.full_like(value, 7.0), state[f"{block}v_bias"]])
            published |= {f"{block}qkv.bias": bias, f"{block}qkv.bias_mask": torch.ones_like(bias)}
        elif not name.endswith("v_bias"):
            renamed = name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
            published[names.get(renamed, renamed)] = value
    if not any(name.endswith("qkv.bias") for name in published):
        zeros = torch.zeros(3 * 128)
        published |= {f"blocks.{i}.attn.qkv.bias": zeros.clone() for i in range(2)}
    return published


def tips(state: State) -> State:
    """Google's TIPSv2: a vision encoder of DINOv2's names beside a text encoder."""
    return {**{f"vision_encoder.{k}": v for k, v in meta_registers(state).items()}, "text_encoder.x": torch.zeros(2)}


def radio(state: State) -> State:
    """NVlabs C-RADIO: patches as a linear layer, one class token a teacher, positions of a larger grid."""
    side = 16
    published: State = {
        "input_conditioner.norm_mean": torch.zeros(3, 1, 1),
        "radio_model.model.patch_generator.embedder.weight": state["patch_embed.proj.weight"].flatten(1),
        "radio_model.model.patch_generator.pos_embed": state["pos_embed"],
        "radio_model.model.patch_generator.cls_token.token": torch.cat([state["cls_token"], state["reg_token"]], 1)[0],
        "radio_model.summary_idxs": torch.arange(3),
    }
    assert state["pos_embed"].shape[1] == side**2
    return published | {f"radio_model.model.{k}": v for k, v in state.items() if k.startswith("blocks.")}


def dip(state: State) -> dict[str, Any]:
    """sirkosophia/DIP: the encoder below `feats_extractor.model.`, nested and wrapped."""
    inside = {f"module.feats_extractor.model.{name}": value for name, value in meta_dinov2(state).items()}
    return {"model": {**inside, "module.head.weight": torch.zeros(2)}, "epoch": 1}


def neco(state: State) -> dict[str, Any]:
    """vpariza/NeCo: DINOv2's names without a mask token, a student's or a teacher's; registers as DINOv2 has them."""
    return {name: value for name, value in meta_registers(state).items() if name != "mask_token"}


def clip_of_meta(state: State) -> State:
    """facebookresearch/perception_models: CLIP's names."""
    swaps = [("patch_embed.proj", "conv1"), ("norm_pre", "ln_pre"), ("blocks.", "transformer.resblocks.")]
    swaps += [("norm1", "ln_1"), ("norm2", "ln_2"), ("gamma_1", "ls_1.gamma"), ("gamma_2", "ls_2.gamma")]
    swaps += [("qkv.", "in_proj_"), ("attn.proj", "attn.out_proj"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")]
    published: State = {}
    for name, value in state.items():
        for ours, theirs in swaps:
            name = name.replace(ours, theirs)
        published[name] = value
    published["class_embedding"] = published.pop("cls_token")[0, 0]
    published["positional_embedding"] = published.pop("pos_embed")[0]
    return published


CASES: dict[str, tuple[str, Callable[[State], dict[str, Any]], dict[str, Any]]] = {
    "dino": ("vit_small_patch16_224", lambda state: {"teacher": {f"backbone.{k}": v for k, v in state.items()}}, {}),
    "dinov2": ("vit_small_patch14_dinov2", meta_dinov2, {}),
    "dinov2-reg": ("vit_small_patch14_reg4_dinov2", meta_registers, {}),
    "dinov3": ("vit_small_patch16_dinov3", meta_dinov3, {}),
    "dinov3-biases": ("vit_small_patch16_dinov3_qkvb", meta_dinov3, {}),
    "tipsv2": ("vit_base_patch14_reg1_tipsv2", tips, {}),
    "radio": ("vit_base_patch16_radio_v3", radio, {"img_size": 256}),
    "neco": ("vit_small_patch14_reg4_dinov2", neco, {}),
    "dip": ("vit_small_patch14_dinov2", dip, {}),
    "pe-spatial": ("vit_pe_spatial_small_patch16_512", clip_of_meta, {}),
    "fc-norm": ("eva02_small_patch14_224", dict, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_published_checkpoint_is_the_model_it_came_from(case: str) -> None:
    name, publish, options = CASES[case]
    model = small(name, **options)
    randomise(model)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    if case == "radio":
        state["patch_embed.proj.bias"] = torch.zeros(128)
    converted = to_timm(clean_backbone_keys(publish(dict(state))), small(name, **options), name)
    assert set(converted) == set(state)
    for key, value in state.items():
        torch.testing.assert_close(converted[key], value, msg=key)


def test_biases_that_the_model_cannot_hold_are_refused() -> None:
    with_biases = small("vit_small_patch16_dinov3_qkvb")
    randomise(with_biases)
    published = meta_dinov3(dict(with_biases.state_dict()))
    with pytest.raises(UserError, match="the checkpoint has; use vit_small_patch16_dinov3_qkvb"):
        to_timm(published, small("vit_small_patch16_dinov3"), "vit_small_patch16_dinov3")


def test_patches_of_another_size_are_refused_and_not_resampled() -> None:
    state = meta_registers(dict(small("vit_small_patch14_reg4_dinov2").state_dict()))
    state["patch_embed.proj.weight"] = torch.zeros(128, 3, 16, 16)
    with pytest.raises(UserError, match=r"has shape \(128, 3, 16, 16\), reg4 has \(128, 3, 14, 14\)"):
        to_timm(state, small("vit_small_patch14_reg4_dinov2"), "reg4")


def test_several_encoders_in_one_file_are_named() -> None:
    state = dict(small("vit_small_patch16_224").state_dict())
    both = {f"{side}.net.{name}": value for side in ("left", "right") for name, value in state.items()}
    with pytest.raises(UserError, match=r"several encoders \(left.net, right.net\)"):
        to_timm(both, small("vit_small_patch16_224"), "any")
