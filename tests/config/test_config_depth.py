"""`depth` of the configuration: one rule for a set and for a folder."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from patchbank.config.folders import PROJECT
from patchbank.config.load import checked
from patchbank.errors import UserError


@pytest.fixture
def values() -> dict[str, Any]:
    return copy.deepcopy(yaml.safe_load((PROJECT / "config.yaml").read_text()))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("depth", "said"),
    [
        ({"band": 3}, "depth.band: unknown key; did you mean 'bands'?"),
        ({"scal": "minmax"}, "depth.scal: unknown key; did you mean 'scale'?"),
        ({"scale": "foo"}, "depth.scale: 'foo' is not one of percentile, minmax, full, window"),
        ({"per": "foo"}, "depth.per: 'foo' is not one of set, image"),
        ({"scale": "window", "window": [5]}, "depth.window: [5] is too short"),
        (
            {"bands": 3},
            "depth.bands: 3 is not a list of one band (grey) or three (red, green, blue)",
        ),
        ({"bands": [0]}, "depth.bands: [0] is not a list of one band"),
        ({"bands": ["a"]}, "depth.bands: [a] is not a list of one band"),
        ({"bands": [1, 2]}, "depth has bands [1, 2]; name one for grey or three"),
        ({"bands": [4, 3, 2]}, None),
        ({"bands": "pca"}, None),
        ({"scale": "window", "window": [-160, 2.5]}, None),
    ],
)
def test_depth_is_checked_alike_for_a_set_and_a_folder(
    values: dict[str, Any], depth: dict[str, Any], said: str | None, own: bool
) -> None:
    if own:
        values |= {"folder": "my/pictures", "depth": depth}
    else:
        values["datasets"]["mine"] = {"layout": "folder", "backbone": "dino_vits8", "depth": depth}
    if said is None:
        assert checked(values).spec("mine").treatment.per == "set"
        return
    with pytest.raises(UserError) as caught:
        checked(values)
    assert said in str(caught.value)
