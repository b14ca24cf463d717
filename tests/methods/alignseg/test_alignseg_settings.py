from __future__ import annotations

import pytest

from patchbank.errors import UserError
from patchbank.methods.alignseg.settings import TRAITS, AlignSegSettings, resolve


def test_defaults_are_our_own_configuration() -> None:
    settings = AlignSegSettings()
    assert (settings.decoder, settings.pairing, settings.centre) == ("stacked", "same_image", "mean")
    assert (settings.queries, settings.heads, settings.layers, settings.hidden) == (5, 3, 1, 768)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"queries": 1}, "queries is 1, it must be at least 2"),
        ({"decoder": "deep"}, "decoder is 'deep', choose stacked | reference"),
        ({"centre": None}, "centre is None"),
        ({"lr": "5e-4"}, "in YAML write 5.0e-4"),
        ({"lr": 0}, "lr is 0, it must be above 0"),
        ({"pressure": float("nan")}, "pressure is nan"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"lr_gamma": 1.5}, "lr_gamma is 1.5"),
        ({"epochs": 2.5}, "epochs is 2.5, it must be a whole number"),
        ({"batch_size": True}, "batch_size is True"),
        ({"foreground": 1}, "foreground is 1, it must be true or false"),
        ({"initial_queries": "zeros"}, "initial_queries is 'zeros'"),
    ],
)
def test_impossible_values_get_one_sentence(values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as caught:
        AlignSegSettings.from_mapping(values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"queries is 0.*heads is 0"):
        AlignSegSettings(queries=0, heads=0)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown final_lr; known are queries"):
        AlignSegSettings.from_mapping({"final_lr": 1e-5})


def test_heads_must_divide_the_width() -> None:
    AlignSegSettings(heads=6).check_width(384)
    with pytest.raises(UserError, match=r"heads is 5, which does not divide the tokens' width 384.*1, 2, 3, 4, 6, 8"):
        AlignSegSettings(heads=5).check_width(384)


def test_learning_rate_halves_every_three_epochs() -> None:
    settings = AlignSegSettings()
    assert [settings.learning_rate(e) for e in range(7)] == [5e-4] * 3 + [2.5e-4] * 3 + [1.25e-4]


def test_the_workflow_gets_every_default() -> None:
    resolved = resolve({"queries": 7}, {"k": [21]})
    assert AlignSegSettings.from_mapping(resolved) == AlignSegSettings(queries=7)
    assert TRAITS.recipes == ("multicrop",)
    with pytest.raises(UserError, match="unknown k"):
        resolve({"k": 3}, {})
