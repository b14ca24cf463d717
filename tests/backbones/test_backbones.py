"""The frozen encoder: real weights against the golden, attention, sizes, position embeddings, precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import assert_golden, load_golden
from hypothesis import given
from hypothesis import strategies as st

from patchbank.backbones.families import dino_position
from patchbank.backbones.sizes import round_to_patch
from patchbank.backbones.vit import FrozenViT
from patchbank.errors import UserError
from patchbank.weights.spec import BackboneSpec

SMALL = "vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("block", "norm", "key", "classes"),
    [
        (8, False, "block8_patch_tokens", 0),
        (11, False, "block11_patch_tokens", 0),
        (11, True, "final_norm_all_tokens", 1),
    ],
)
def test_golden_backbone_tokens(block: int, norm: bool, key: str, classes: int, saliency_weights: Path) -> None:
    golden = load_golden("backbone_tokens")
    spec = BackboneSpec("saliency", "vit_small_patch14_dinov2", block=block, norm=norm)
    encoded = FrozenViT(spec, saliency_weights, device="cpu")(torch.from_numpy(golden["pixels"].astype(np.float32)))
    expected = golden[key]
    assert_golden(encoded.tokens, expected[:, classes:], absolute=1e-3)
    if classes:
        assert_golden(encoded.cls, expected[:, 0], absolute=1e-3)
    with pytest.raises(AssertionError):
        assert_golden(encoded.tokens, expected[:, classes:] + 2e-3, absolute=1e-3)


def test_class_attention_is_the_softmax_row_of_the_block_that_is_read() -> None:
    torch.manual_seed(0)
    spec = BackboneSpec("random", SMALL, block=3, norm=False)
    vit = FrozenViT(spec, None, device="cpu")
    inputs = torch.randn(2, 3, 48, 64)
    encoded = vit(inputs)
    model = vit.model
    x = model._pos_embed(model.patch_embed(inputs))
    for block in model.blocks[:3]:
        x = block(x)
    attention = model.blocks[3].attn
    b, n, d = x.shape
    q, k, _ = attention.qkv(model.blocks[3].norm1(x)).reshape(b, n, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    full = (q @ k.transpose(-1, -2) * d**-0.5 * attention.num_heads**0.5).softmax(-1)
    assert encoded.tokens.shape == (2, 12, d)
    torch.testing.assert_close(encoded.cls_attention, full[:, :, 0, 1:], rtol=1e-4, atol=1e-6)


def test_encoder_stops_at_the_block_that_is_read() -> None:
    assert len(FrozenViT(BackboneSpec("random", SMALL, block=3), None, device="cpu").model.blocks) == 4
    assert FrozenViT(BackboneSpec("random", SMALL, block=-1), None, device="cpu").block == 11


def test_block_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match="block 12 does not exist"):
        FrozenViT(BackboneSpec("random", SMALL, block=12), None, device="cpu")


def test_register_tokens_are_left_out() -> None:
    vit = FrozenViT(BackboneSpec("reg", "vit_small_patch14_reg4_dinov2", block=0), None, device="cpu")
    encoded = vit(torch.zeros(1, 3, 28, 42))
    assert encoded.tokens.shape == (1, 6, 384)
    assert encoded.cls_attention.shape == (1, 6, 6)


def test_dino_positions_equal_timms_at_the_stored_grid_and_differ_slightly_elsewhere() -> None:
    torch.manual_seed(0)
    timm_like = FrozenViT(BackboneSpec("a", SMALL, block=0, pos_embed="timm"), None, device="cpu")
    dino_like = FrozenViT(BackboneSpec("b", SMALL, block=0, pos_embed="dino"), None, device="cpu")
    dino_like.model.load_state_dict(timm_like.model.state_dict())
    same = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(timm_like(same).tokens, dino_like(same).tokens)
    other = torch.randn(1, 3, 320, 352)
    difference = (timm_like(other).tokens - dino_like(other).tokens).abs().max()
    assert 0 < difference < 0.2


def test_dino_positions_follow_the_published_rule() -> None:
    torch.manual_seed(0)
    vit = FrozenViT(BackboneSpec("b", SMALL, block=0, pos_embed="dino"), None, device="cpu")
    embedded = vit.model.patch_embed(torch.zeros(1, 3, 320, 320))
    grid = vit.model.pos_embed[:, 1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    scale = (20 + 0.1) / 14
    expected = torch.nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    positions = dino_position(vit.model, embedded)[:, 1:] - embedded.reshape(1, 400, -1)
    torch.testing.assert_close(positions, expected.permute(0, 2, 3, 1).reshape(1, 400, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("precision", "worst"), [("bfloat16", 0.1), ("float16", 0.02)])
def test_lower_precision_stays_close_to_float32(precision: str, worst: float) -> None:
    torch.manual_seed(0)
    exact = FrozenViT(BackboneSpec("a", SMALL, block=2), None, device="cpu")
    coarse = FrozenViT(BackboneSpec("a", SMALL, block=2), None, device="cpu", precision=precision)  # type: ignore[arg-type]
    coarse.model.load_state_dict(exact.model.state_dict())
    inputs = torch.randn(1, 3, 64, 64)
    reference, rounded = exact(inputs).tokens, coarse(inputs).tokens
    assert rounded.dtype == torch.float32
    error = (reference - rounded).norm() / reference.norm()
    assert 0 < error < worst


@given(st.integers(1, 2000), st.sampled_from([8, 14, 16]))
def test_rounding_gives_the_nearest_multiple(size: int, patch: int) -> None:
    rounded = round_to_patch(size, patch)
    assert rounded % patch == 0
    assert rounded >= patch
    assert abs(rounded - size) <= patch / 2 or rounded == patch


def test_rounding_examples_of_the_specification() -> None:
    assert [round_to_patch(s, 14) for s in (320, 640, 160, 256)] == [322, 644, 154, 252]
