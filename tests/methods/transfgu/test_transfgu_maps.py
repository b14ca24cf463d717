"""The closed form against autograd through the encoder, and what becomes of the maps on disk and in crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm_models import small
from torch.nn.functional import cosine_similarity

from patchbank.backbones import vit as vit_module
from patchbank.backbones.tail import ClassTail, tail_of
from patchbank.backbones.vit import FrozenViT
from patchbank.datasets.images import load_image
from patchbank.errors import UserError
from patchbank.methods.transfgu.maps import ZERO, class_gradients, gradient_maps, heaviest, maps_of
from patchbank.methods.transfgu.pseudo_labels import PseudoLabels, crop_maps, write_pseudo_labels
from patchbank.views.resize import squash
from patchbank.weights.spec import BackboneSpec


def attention_gradients(vit: FrozenViT, inputs: torch.Tensor, centroids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Oracle: G (B, K, N) and the class attention (B, heads, N), by autograd through the whole encoder."""
    model: Any = vit.model
    block = model.blocks[-1]
    kept: list[torch.Tensor] = []

    def replace(_module: Any, _given: Any, matrix: torch.Tensor) -> torch.Tensor:
        kept.append(matrix.detach().requires_grad_())
        return kept[0]

    block.attn.fused_attn = False
    hook = block.attn.attn_drop.register_forward_hook(replace)
    tokens = model.forward_features(inputs) if vit.spec.norm else without_norm(model, inputs)
    hook.remove()
    block.attn.fused_attn = True
    attention, token = kept[0], tokens[:, 0]
    found = []
    for centroid in centroids:
        loss = (1 - cosine_similarity(token, centroid[None])).sum()
        (gradient,) = torch.autograd.grad(loss, attention, retain_graph=True)
        found.append(gradient.mean(1)[:, 0, vit.prefix :])
    return torch.stack(found, 1), attention.detach()[:, :, 0, vit.prefix :]


def without_norm(model: Any, inputs: torch.Tensor) -> torch.Tensor:
    norm, model.norm = model.norm, torch.nn.Identity()
    tokens: torch.Tensor = model.forward_features(inputs)
    model.norm = norm
    return tokens


def randomise(vit: FrozenViT) -> None:
    """LayerScale starts so small that every gradient would vanish."""
    for name, parameter in vit.model.named_parameters():
        if ".ls" in name or "gamma_" in name or name.endswith("reg_token"):
            parameter.data.uniform_(0.5, 1.5)


@pytest.mark.parametrize(
    ("model", "norm"),
    [
        ("vit_tiny_patch16_224", True),
        ("vit_tiny_patch16_224", False),
        ("vit_small_patch14_reg4_dinov2", True),
        ("vit_small_patch16_dinov3", True),
        ("vit_small_patch16_dinov3_qkvb", False),
        ("vit_pe_spatial_tiny_patch16_512", True),
        ("vit_base_patch16_sapiens2", True),
    ],
    ids=["norm", "no-norm", "registers-and-layerscale", "dinov3", "dinov3-biases", "pe", "grouped-queries"],
)
def test_the_closed_form_is_autograd(model: str, norm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit_module, "build_model", small)
    torch.manual_seed(0)
    vit = FrozenViT(BackboneSpec("random", model, block=1, norm=norm), None, device="cpu")
    randomise(vit)
    inputs, centroids = torch.randn(2, 3, 4 * vit.patch, 5 * vit.patch), torch.randn(4, vit.dim)
    compare(vit, inputs, centroids)


def compare(vit: FrozenViT, inputs: torch.Tensor, centroids: torch.Tensor) -> None:
    expected, attention = attention_gradients(vit, inputs, centroids)
    encoded, last = vit.read_block(inputs)
    values, mixed, residual = (part.clone() for part in (last.values, last.mixed, last.residual))
    gradients = class_gradients(tail_of(vit), mixed, residual, centroids)
    found = gradients @ values.transpose(1, 2) / vit.heads
    scale = float(expected.abs().max())
    assert scale > 0
    assert float((found - expected).abs().max()) < 2e-5 * scale
    torch.testing.assert_close(encoded.cls_attention.clone(), attention, rtol=1e-4, atol=1e-7)
    maps = gradient_maps(tail_of(vit), values, attention, mixed, residual, centroids, 8)
    wanted = maps_of(expected, attention, 8)
    different = (maps.values() - wanted.values()).abs() > 1e-5 * wanted.values().abs().max()
    # a gradient of almost 0 may change its sign, and the last value that is kept its place
    assert float(different.float().mean()) < 0.005


@pytest.mark.exhaustive
def test_the_closed_form_is_autograd_on_the_real_model(saliency_weights: Path, real_data: Path) -> None:
    picture = load_image(min((real_data / "msrc" / "images").iterdir()))
    for block, norm in ((11, True), (8, False)):
        spec = BackboneSpec("saliency", "vit_small_patch14_dinov2", block=block, norm=norm)
        vit = FrozenViT(spec, saliency_weights, device="cpu")
        pixels = torch.from_numpy(squash(picture, (322, 322), "torch"))[None]
        tokens = vit(vit.normalise(pixels)).tokens[0].clone()
        compare(vit, vit.normalise(pixels), tokens[[0, 100, 300]])


def test_a_block_that_normalises_its_attention_output_is_refused() -> None:
    vit = FrozenViT(BackboneSpec("random", "vit_tiny_patch16_224", block=0), None, device="cpu")
    block: Any = vit.model.blocks[-1]  # type: ignore[index]
    block.attn.norm = torch.nn.LayerNorm(192)
    with pytest.raises(UserError, match="normalises or gates its attention output"):
        ClassTail(block, None)


def test_a_block_that_adds_a_normalised_attention_is_refused() -> None:
    block = timm.create_model("vit_base_patch16_rpn_224", depth=1, embed_dim=96, num_heads=3).blocks[0]
    with pytest.raises(UserError, match="are read of Block and EvaBlock; this backbone has ResPostBlock"):
        ClassTail(block, None)


def test_mass_by_hand() -> None:
    kept = heaviest(torch.tensor([[4.0, 1.0, 0.0, 5.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]]))
    assert kept.tolist() == [[True, False, False, True], [False] * 4, [False, True, True, True]]


def test_maps_by_hand() -> None:
    attention = torch.tensor([[[0.2, 0.1, 0.1, 0.4], [0.0, 0.1, 0.3, 0.4]]])
    gradient = torch.tensor([[[-0.8, 0.5, -0.02, 0.0]]])
    maps = maps_of(gradient, attention, 8)
    torch.testing.assert_close(maps.base, torch.tensor([[0.25, 0.25, 0.5, 1.0]]))
    torch.testing.assert_close(maps.push, torch.tensor([[[0.1, ZERO, 0.0, 0.0]]]))
    torch.testing.assert_close(maps.values(), torch.tensor([[[0.35, 0.0, 0.5, 1.0]]]))


class Images:
    """The part of a bank that pseudo labels need."""

    images, grid = ["a" * 16, "b" * 16, "c" * 16], (3, 4)


def write(path: Path, pushes: np.ndarray, bases: np.ndarray, signed: bool, identity: dict[str, Any]) -> None:
    bank: Any = Images()
    write_pseudo_labels(path, bank, iter(zip(bases, pushes, strict=True)), pushes.shape[1], identity, signed)


def test_small_gradients_survive_the_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pushes = (rng.random((3, 5, 12)) * 1e-4).astype(np.float32)
    pushes[:, 2, 3:6] = ZERO
    pushes[:, 4] = 0
    bases = rng.random((3, 12)).astype(np.float32)
    write(tmp_path / "p.h5", pushes, bases, False, {})
    read = PseudoLabels(tmp_path / "p.h5", {}).read(np.array([2, 0])).flatten(2).numpy()
    exact = np.where(pushes < 0, 0, bases[:, None] + pushes)[[2, 0]]
    np.testing.assert_allclose(read, exact, rtol=0, atol=2e-7)
    np.testing.assert_array_equal(read.argmax(1), exact.argmax(1))
    rounded = exact.astype(np.float16).astype(np.float32)
    assert (rounded.argmax(1) != exact.argmax(1)).mean() > 0.2  # what plain float16 maps would have done


def test_cosines_survive_the_disk_with_their_sign(tmp_path: Path) -> None:
    cosines = np.random.default_rng(1).uniform(-1, 1, (3, 5, 12)).astype(np.float32)
    cosines[1] = 0.25  # constant
    write(tmp_path / "p.h5", cosines, np.zeros((3, 12), np.float32), True, {})
    read = PseudoLabels(tmp_path / "p.h5", {}).read(np.arange(3)).flatten(2).numpy()
    np.testing.assert_allclose(read, cosines, atol=1e-3)
    assert np.ptp(read[1]) == 0


def test_pseudo_labels_of_other_centroids_are_refused(tmp_path: Path) -> None:
    made = {"bank": "x", "centroids": "one"}
    write(tmp_path / "p.h5", np.zeros((3, 2, 12), np.float32), np.zeros((3, 12), np.float32), False, made)
    PseudoLabels(tmp_path / "p.h5", made)
    with pytest.raises(UserError, match=r"p.h5 were made .* asks for: centroids 'one' instead of 'two'"):
        PseudoLabels(tmp_path / "p.h5", {"bank": "x", "centroids": "two"})


def test_maps_follow_crop_and_flip() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(16.0), indexing="ij")
    maps = torch.stack([y, x])[None].repeat(2, 1, 1, 1)
    boxes = torch.tensor([[64.0, 16.0, 128.0, 48.0]] * 2)  # of a 128x256 input: rows 1 to 3, columns 4 to 8
    cropped = crop_maps(maps, boxes, torch.tensor([False, True]), (128, 256), (2, 4))
    torch.testing.assert_close(cropped[0, 0], torch.tensor([[1.0] * 4, [2.0] * 4]))
    torch.testing.assert_close(cropped[0, 1], torch.tensor([[4.0, 5.0, 6.0, 7.0]] * 2))
    torch.testing.assert_close(cropped[1], cropped[0].flip(-1))
