"""Every ViT of timm: read as timm computes it, or refused by name. Random weights, narrow blocks, real classes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
import timm
import torch
from timm_models import randomise, small, vit_names
from timm_tables import facts

from patchbank.backbones import vit as vit_module
from patchbank.backbones.vit import FrozenViT
from patchbank.errors import UserError
from patchbank.weights import model as model_module
from patchbank.weights.facts import model_facts
from patchbank.weights.model import build_model
from patchbank.weights.readable import VERIFIED, check_readable
from patchbank.weights.spec import BackboneSpec, Read

WRITES = "`python tests/timm_tables.py` writes the tables again"
ROWS = {
    "vit_small_patch16_224": (16, 1, True),
    "vit_base_patch8_224": (8, 1, True),
    "vit_small_patch14_dinov2": (14, 1, True),
    "vit_base_patch14_reg4_dinov2": (14, 5, True),
    "vit_base_patch14_reg1_tipsv2": (14, 2, True),
    "vit_so400m_patch14_reg1_tipsv2": (14, 2, True),
    "vit_base_patch16_radio_v3": (16, 8, True),
    "vit_huge_patch16_radio_v4": (16, 10, True),
    "vit_base_patch16_clip_224": (16, 1, True),
    "deit3_base_patch16_224": (16, 1, True),
    "deit_small_distilled_patch16_224": (16, 2, True),
    "vit_base_patch16_siglip_224": (16, 0, False),
    "aimv2_large_patch14_224": (14, 0, False),
    "vit_base_patch16_reg4_gap_256": (16, 4, False),
    "vit_base_patch16_rpn_224": (16, 0, False),
    "vit_small_patch16_dinov3": (16, 5, True),
    "vit_small_patch16_dinov3_qkvb": (16, 5, True),
    "vit_small_plus_patch16_dinov3": (16, 5, True),
    "vit_base_patch16_dinov3": (16, 5, True),
    "vit_large_patch16_dinov3": (16, 5, True),
    "vit_huge_plus_patch16_dinov3": (16, 5, True),
    "vit_7b_patch16_dinov3": (16, 5, True),
    "vit_base_patch16_lingbot": (16, 5, True),
    "vit_pe_spatial_tiny_patch16_512": (16, 1, True),
    "vit_pe_spatial_small_patch16_512": (16, 1, True),
    "vit_pe_spatial_base_patch16_512": (16, 1, True),
    "vit_pe_spatial_large_patch14_448": (14, 1, True),
    "vit_pe_spatial_gigantic_patch14_448": (14, 0, False),
    "vit_pe_core_base_patch16_224": (16, 1, True),
    "eva02_small_patch14_224": (14, 1, True),
    "eva02_large_patch14_448": (14, 1, True),
    "eva02_enormous_patch14_clip_224": (14, 1, True),
    "vit_small_patch16_rope_224": (16, 1, True),
    "vit_small_patch16_rope_mixed_224": (16, 1, True),
    "vit_base_patch16_rope_reg1_gap_256": (16, 1, False),
    "vit_base_patch16_sapiens2": (16, 9, True),
}
"""Patch, prefix tokens, and whether there is a class token."""
REFUSED = {
    "vit_dwee_patch16_reg1_gap_256": "DiffAttention, and its attention is a difference of two maps",
    "beit_base_patch16_224": "Beit, and a bias by relative position",
    "naflexvit_base_patch16_gap": "NaFlexVit, and its patches and positions are prepared outside",
    "convnext_tiny": "ConvNeXt, and it has no tokens of one grid",
    "hiera_tiny_224": "Hiera, and its grid shrinks",
    "vit_base_patch16_18x2_224": "ParallelThingsBlock, and a block has several attentions",
    "vit_base_patch16_xp_224": "ParallelScalingBlock, and its attention and MLP share",
    "vit_base_r50_s16_224": "HybridEmbed, and its patches come from a convolutional network",
    "vit_relpos_small_patch16_224": "VisionTransformerRelPos, and a bias by relative position",
    "samvit_base_patch16": "VisionTransformerSAM, and most of its blocks attend inside windows",
    "swin_tiny_patch4_window7_224": "SwinTransformer, and nobody has verified",
}


def encoder(model: Any, monkeypatch: pytest.MonkeyPatch, blocks: tuple[Read, ...] = (), **spec: Any) -> FrozenViT:
    monkeypatch.setattr(vit_module, "build_model", lambda _name: model)
    return FrozenViT(BackboneSpec("small", "any", **spec), None, device="cpu", blocks=blocks)


def close(value: torch.Tensor | None, expected: torch.Tensor) -> None:
    assert value is not None
    assert value.shape == expected.shape
    assert float((value - expected).abs().max()) <= 1e-6 * float(expected.abs().max())


def own_attention(model: Any, inputs: torch.Tensor, block: int) -> torch.Tensor:
    """timm's own softmax matrix (B, heads, P + N, P + N) of a block, unfused."""
    attention, kept = model.blocks[block].attn, []
    attention.fused_attn = False
    hook = attention.attn_drop.register_forward_hook(lambda _module, _given, matrix: kept.append(matrix))
    with torch.inference_mode():
        model.forward_intermediates(inputs, indices=[block], intermediates_only=True)
    hook.remove()
    attention.fused_attn = True
    return kept[0]


def compare(name: str, monkeypatch: pytest.MonkeyPatch, norm: bool) -> FrozenViT:
    model = small(name)
    check_readable(model, name)
    randomise(model)
    vit = encoder(model, monkeypatch, blocks=((0, norm), (1, not norm)), norm=norm)
    inputs = torch.randn(2, 3, 3 * vit.patch, 5 * vit.patch, generator=torch.Generator().manual_seed(1))
    encoded = vit.at_blocks(inputs)
    with torch.inference_mode():
        expected = model.forward_intermediates(
            inputs, indices=[0, 1], norm=norm, output_fmt="NLC", intermediates_only=True,
            return_prefix_tokens=vit.prefix > 0,
        )  # fmt: skip
    for block, of_timm in enumerate(expected):
        patches, prefix = of_timm if vit.prefix else (of_timm, None)
        close(encoded[block, norm].tokens, patches)
        if vit.class_token:
            close(encoded[block, norm].cls, prefix[:, 0])
            close(encoded[block, norm].cls_attention, own_attention(model, inputs, block)[:, :, 0, vit.prefix :])
        else:
            assert encoded[block, norm].cls is None
            assert encoded[block, norm].cls_attention is None
    with torch.inference_mode():
        (other,) = model.forward_intermediates(
            inputs, indices=[1], norm=not norm, output_fmt="NLC", intermediates_only=True
        )
    close(encoded[1, not norm].tokens, other)
    alone = vit(inputs)
    assert torch.equal(alone.tokens, encoded[1, norm].tokens)
    return vit


@pytest.mark.parametrize("norm", [True, False], ids=["norm", "plain"])
@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_table_is_read_as_timm_computes_it(name: str, norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    vit = compare(name, monkeypatch, norm)
    assert (vit.patch, vit.prefix, vit.class_token) == ROWS[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_class_and_reason(name: str) -> None:
    with torch.device("meta"), pytest.raises(UserError) as caught:
        build_model(name)
    assert f"{name} is not read: it has timm's class {REFUSED[name]}" in str(caught.value)


def test_no_vit_of_timm_gives_numbers_that_nobody_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is built small, without memory; what passes is made of classes that the rows above compare."""
    compared = {kind for name in ROWS for kind in kinds(meta(name))}
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **given: create(name, **given, **few(name, given)))
    read = {}
    for name in vit_names():
        with torch.device("meta"), suppress(UserError):  # its text: the test above
            read[name] = build_model(name)
    assert len(read) > 200
    for name, model in read.items():
        assert type(model).__name__ in VERIFIED
        assert set(kinds(model)) <= compared, name
        told = model_facts(name)
        assert told is not None, f"{name} is not in the table: {WRITES}"
        assert {"depth": told.depth, **facts(model)} == asdict(told), f"{name}: {WRITES}"


def few(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What makes a model of one block."""
    if "dynamic_img_size" not in given:
        return {} if name.startswith(("hiera", "naflex")) else {"depth": 1}
    return {"depth": 1, "num_kv_heads": 4} if "sapiens2" in name else {"depth": 1}


def meta(name: str) -> Any:
    with torch.device("meta"):
        return small(name, depth=1)


def kinds(model: Any) -> tuple[str, ...]:
    parts = (model, model.blocks[0], model.blocks[0].attn, getattr(model, "rope", None), model.patch_embed)
    return tuple(type(part).__name__ for part in parts)


def test_a_model_that_timm_does_not_have_is_said() -> None:
    with pytest.raises(UserError, match="timm cannot build model 'vit_nothing'"):
        build_model("vit_nothing")


def test_patches_that_are_not_square_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("vit_small_patch16_224", patch_size=(16, 8))
    monkeypatch.setattr(timm, "create_model", lambda *_given, **_named: model)
    with pytest.raises(UserError, match="patches of 16x8 pixels"):
        model_module.build_model("oblong")


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_base_patch16_siglip_224"])
def test_dinos_positions_are_asked_of_models_that_have_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="pos_embed is dino, which is for learned positions and a class token"):
        encoder(small(name), monkeypatch, pos_embed="dino")


def test_further_blocks_may_be_deeper_or_counted_from_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    vit = encoder(small("vit_small_patch16_224", depth=4), monkeypatch, blocks=((-2, True), (0, True)), block=1)
    assert (vit.block, vit.blocks, len(vit.model.blocks)) == (1, [(0, True), (1, True), (2, True)], 3)  # type: ignore[arg-type]
    inputs = torch.randn(1, 3, 32, 32)
    assert torch.equal(vit(inputs).tokens, vit.at_blocks(inputs)[1, True].tokens)
    with pytest.raises(UserError, match="block 5 does not exist"):
        encoder(small("vit_small_patch16_224"), monkeypatch, blocks=((5, True),), block=0)


def test_positions_reach_a_rotary_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block called without its rotary embedding would give every patch of a uniform picture the same token."""
    model = small("vit_small_patch16_dinov3")
    randomise(model)
    tokens = encoder(model, monkeypatch)(torch.ones(1, 3, 48, 80)).tokens[0]
    assert float((tokens - tokens[0]).abs().max()) > 1e-2
