"""TransFGU against the published implementation's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_files import assert_golden, load_golden
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from patchbank.backbones import vit as vit_module
from patchbank.backbones.tail import tail_of
from patchbank.backbones.vit import FrozenViT
from patchbank.methods.transfgu.losses import category_loss, embedding_loss, make_targets, total_loss, uncertainty_loss
from patchbank.methods.transfgu.maps import gradient_maps, heaviest
from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.schedule import ALPHA, alpha_of
from patchbank.views.windows import window_boxes
from patchbank.weights.spec import BackboneSpec


def weights_of(golden: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key[2:]: torch.from_numpy(value) for key, value in golden.items() if key.startswith("w.")}


def golden_vit(golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> FrozenViT:
    def build(_name: str) -> nn.Module:
        model = VisionTransformer(
            img_size=golden["images"].shape[-1],
            patch_size=int(golden["meta_patch"]),
            embed_dim=int(golden["meta_dim"]),
            depth=int(golden["meta_depth"]),
            num_heads=int(golden["meta_heads"]),
            num_classes=0,
            dynamic_img_size=True,
        ).eval()
        model.load_state_dict(weights_of(golden))
        return model

    monkeypatch.setattr(vit_module, "build_model", build)
    return FrozenViT(BackboneSpec("golden", "golden"), None, device="cpu")


@pytest.mark.parametrize("batch", [1, 3])
def test_golden_pseudo_label(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = load_golden("transfgu_pseudo_label")
    vit = golden_vit(golden, monkeypatch)
    encoded, last = vit.read_block(torch.from_numpy(golden["images"]))
    assert_golden(encoded.cls_attention, golden["cls_attention"])
    assert_golden(torch.cat([encoded.cls[:, None], encoded.tokens], 1), golden["tokens"])
    maps = gradient_maps(
        tail_of(vit),
        last.values.clone(),
        encoded.cls_attention.clone(),
        last.mixed.clone(),
        last.residual.clone(),
        torch.from_numpy(golden["centroids"]),
        gradient_batch=batch,
    )
    expected = golden[f"pseudo_label_batch{batch}"]
    found = maps.values()[: len(expected)].reshape(expected.shape)
    assert_golden(found, expected)
    with pytest.raises(AssertionError):
        assert_golden(found, expected * 1.001)


def test_golden_mass_threshold() -> None:
    golden = load_golden("transfgu_mass_threshold")
    kept = heaviest(torch.from_numpy(golden["values"]), float(golden["mass"]))
    np.testing.assert_array_equal(kept.numpy(), golden["kept"])


def test_golden_windows() -> None:
    golden = load_golden("transfgu_windows")
    names = [key.removesuffix("_grid") for key in golden if key.endswith("_grid")]
    assert names
    for name in names:
        h, w = golden[f"{name}_grid"].tolist()
        found = window_boxes((h, w), golden[f"{name}_scales"].tolist())
        np.testing.assert_array_equal(found, golden[f"{name}_windows_inclusive_y0x0y1x1"], err_msg=name)


def golden_decoder(golden: dict[str, Any]) -> MaskDecoder:
    weights = weights_of(golden)
    _, classes, dim = weights["cls_emb"].shape
    model = MaskDecoder(dim, classes, int(golden["meta_heads"]), int(golden["meta_layers"]))
    model.load_state_dict(weights)
    return model.eval()


def test_golden_decoder() -> None:
    golden = load_golden("transfgu_decoder")
    model = golden_decoder(golden)
    logits, classes = model(torch.from_numpy(golden["tokens"]))
    assert_golden(logits.detach().transpose(1, 2).reshape(golden["mask_logits"].shape), golden["mask_logits"])
    assert_golden(classes.detach(), golden["class_embeddings"])
    assert_golden(embedding_loss(classes).detach(), golden["loss_class_embedding"])
    with pytest.raises(AssertionError):
        assert_golden(classes.detach() * 1.001, golden["class_embeddings"])


@pytest.mark.parametrize("background", [False, True], ids=["thingstuff", "things"])
@pytest.mark.parametrize("teacher", [False, True], ids=["alone", "teacher"])
def test_golden_losses(background: bool, teacher: bool) -> None:
    golden = load_golden("transfgu_decoder")
    kind = "things" if background else "thingstuff"
    name = f"{kind}_teacher" if teacher else kind
    logits = torch.from_numpy(golden["mask_logits"]).flatten(2)
    maps = torch.from_numpy(golden["pseudo_label"]).flatten(2)[:, int(background) :]
    taught = torch.from_numpy(golden["teacher_logits"]).flatten(2) if teacher else None
    targets = make_targets(maps, background, taught)
    np.testing.assert_array_equal(targets.maps.argmax(1).numpy(), golden[f"{name}_hard_label"].reshape(len(maps), -1))
    epoch = int(golden["things_teacher_epoch" if background else "teacher_epoch"])
    order = torch.from_numpy(golden["things_negative_order" if background else "teacher_negative_order"])
    category = category_loss(logits, targets, alpha_of(epoch) if teacher else 0.0, order if teacher else None)
    uncertainty = uncertainty_loss(logits, targets, background)
    assert_golden(category, golden[f"{name}_loss_cat"])
    assert_golden(uncertainty, golden[f"{name}_loss_uncertainty"])
    embedding = torch.tensor(float(golden["loss_class_embedding"]))
    assert float(total_loss(category, uncertainty, embedding)) == pytest.approx(
        float(golden[f"{name}_loss_cat"]) + 0.3 * float(golden[f"{name}_loss_uncertainty"]) + float(embedding), rel=1e-5
    )
    assert alpha_of(10**6) == ALPHA[-1]
