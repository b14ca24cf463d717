from __future__ import annotations

from typing import Any

import pytest
import torch

from patchbank.errors import UserError
from patchbank.methods.transfgu.losses import category_loss, make_targets, uncertainty_loss
from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.optimiser import build_optimiser
from patchbank.methods.transfgu.schedule import age_of, alpha_of, restarts
from patchbank.methods.transfgu.settings import TransFGUSettings, draws_read, recipes, resolve, traits
from patchbank.methods.transfgu.step import update


def test_every_wrong_value_is_named_at_once() -> None:
    wrong: dict[str, Any] = {
        "things": 0, "stuff": -1, "background": 1, "window_feature": "both", "lr": "1e-4", "teacher_interval": [2, 0],
        "pooled_scales": [2.0], "weight_decay": -1.0, "epochs": 2.5,
    }  # fmt: skip
    with pytest.raises(UserError) as caught:
        TransFGUSettings.from_mapping(wrong)
    for name in wrong:
        assert name in str(caught.value), name
    for changes, said in (
        ({"stuff": 2, "background": True}, "stuff classes leave no background"),
        ({"things": 1}, "at least 2"),
        ({"pca": 0}, "whiten needs pca"),
    ):
        with pytest.raises(UserError, match=said):
            TransFGUSettings(**{"things": 4, **changes})
    with pytest.raises(UserError, match="unknown batch; known are things"):
        TransFGUSettings.from_mapping({"things": 3, "batch": 2})
    with pytest.raises(UserError, match="things must be given"):
        TransFGUSettings.from_mapping({})


def test_classes_follow_from_the_set() -> None:
    assert resolve({}, {"k": [23, 300]})["things"] == 23
    voc = resolve({"background": True, "teacher_interval": 3}, {"k": [21]})
    assert (voc["things"], voc["teacher_interval"]) == (20, [3])
    coco = resolve({"things": 12, "stuff": 15}, {"k": [27]})
    assert TransFGUSettings.from_mapping(coco).classes == 27
    for stuff in ("two", [1], None):
        with pytest.raises(UserError, match=r"stuff is .*, it must be a whole number"):
            resolve({"stuff": stuff}, {"k": [23]})
    with pytest.raises(UserError, match=r"things 20 \+ stuff 0 \+ background 1 are 21 classes, the set has 23"):
        resolve({"things": 20, "background": True}, {"k": [23]})


def test_banks_follow_from_the_settings() -> None:
    base = resolve({}, {"k": [5]})
    assert recipes(base) == ("windows", "lastblock", "augmented")
    assert recipes({**base, "window_feature": "pooled"}) == ("whole", "lastblock", "augmented")
    similar = {**base, "pseudo_label": "token_similarity"}
    assert recipes(similar) == ("whole", "augmented")
    assert recipes({**base, "stage": "pseudo_labels"}) == ("windows",)
    assert recipes({**similar, "stage": "pseudo_labels"}) == ("whole",)
    assert traits(base).pictures == ("windows", "lastblock")
    assert traits({**base, "window_feature": "pooled"}).pictures == ("lastblock",)
    assert (traits(similar).pictures, traits(similar).recipes) == (("whole",), ("whole", "augmented"))
    for settings, reads in ((base, "lastblock"), (similar, "whole")):
        found = traits({**settings, "stage": "pseudo_labels"})
        assert (found.curves, found.pictures, found.reads) == (False, (), (reads,))


def test_draws_that_are_read_follow_from_passes_over_the_images() -> None:
    base = resolve({"epochs": 3}, {"k": [5]})
    assert [draws_read(base, stored) for stored in (2, 9)] == [2, 3]
    assert draws_read({**base, "repeat": 2}, 9) == 6


def test_teacher_schedule_of_voc() -> None:
    intervals = (5, 5, 5, 5, 4, 4, 4, 4, 4, 3)
    published = restarts(100, 5, intervals, restart_at_end=True)
    assert published[:4] == [5, 10, 15, 20]
    assert published[-4:] == [90, 93, 96, 99]
    ours = restarts(100, 5, intervals)
    assert ours == published[:-1]
    assert [age_of(epoch, ours) for epoch in (4, 5, 9, 10, 99)] == [None, 0, 4, 0, 3]
    assert restarts(20, 2, (2,)) == list(range(2, 20, 2))
    assert [alpha_of(age) for age in (0, 2, 7, 50)] == [0.03, 0.05, 0.1, 0.1]


def test_a_constant_map_is_left_out_and_counted() -> None:
    maps = torch.tensor([[[1.0, 0.0], [0.0, 0.5]], [[0.3, 0.3], [0.3, 0.3]]])
    targets = make_targets(maps, background=False)
    assert targets.usable.tolist() == [True, False]
    assert torch.isfinite(targets.maps).all()
    logits = torch.randn(2, 2, 2)
    alone = make_targets(maps[:1], background=False)
    torch.testing.assert_close(category_loss(logits, targets, 0.0, None), category_loss(logits[:1], alone, 0.0, None))
    torch.testing.assert_close(uncertainty_loss(logits, targets, False), uncertainty_loss(logits[:1], alone, False))
    nothing = make_targets(maps[1:], background=False)
    assert torch.isnan(category_loss(logits[1:], nothing, 0.0, None))


def test_background_stands_first_and_holds_what_no_thing_claims() -> None:
    maps = torch.tensor([[[1.0, 0.02, 0.2], [0.0, 0.04, 0.3]]])
    targets = make_targets(maps, background=True)
    torch.testing.assert_close(targets.maps[0, 0], torch.tensor([0.0, 0.06, 0.0]))
    assert targets.active.tolist() == [[True, False, True]]
    assert targets.maps.argmax(1).tolist() == [[1, 0, 2]]


def test_a_step_without_a_positive_loss_changes_nothing() -> None:
    model = MaskDecoder(12, 3, heads=3)
    optimiser = build_optimiser(model, TransFGUSettings(things=3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = model(torch.randn(1, 4, 12))[0].sum()
    for value in (loss * float("nan"), loss * 0 - 1):
        assert not update(optimiser, model, value)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert update(optimiser, model, (model(torch.randn(1, 4, 12))[0] ** 2).sum())


def test_initial_values() -> None:
    model = MaskDecoder(48, 5, heads=3, seed=1)
    assert float(model.cls_emb.detach().norm()) == pytest.approx(1, rel=1e-6)
    assert float(model.proj_patch.detach().std()) == pytest.approx(48**-0.5, rel=0.1)
    assert float(model.blocks[0].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not model.proj_dec.bias.any()
    assert bool((model.decoder_norm.weight == 1).all())
    assert all(module.eps == 1e-5 for module in model.modules() if isinstance(module, torch.nn.LayerNorm))


def test_weight_decay_spares_biases_and_norms_only() -> None:
    model = MaskDecoder(12, 3, heads=3)
    decayed, plain = build_optimiser(model, TransFGUSettings(things=3)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {"cls_emb", "proj_patch", "proj_classes"} <= {names[id(p)] for p in decayed["params"]}
    assert all("norm" in names[id(p)] or names[id(p)].endswith("bias") for p in plain["params"])
    assert (decayed["weight_decay"], plain["weight_decay"]) == (5e-4, 0)


def test_dropout_acts_in_training_only() -> None:
    model, tokens = MaskDecoder(12, 3, heads=3), torch.randn(1, 5, 12)
    assert not torch.equal(model(tokens)[0], model(tokens)[0])
    model.eval()
    assert torch.equal(model(tokens)[0], model(tokens)[0])
