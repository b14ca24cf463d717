"""Rows that learn after another row: which are refused, what they inherit, and whose files their jobs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plan_factory import Plan, of

from patchbank.config import sweeps
from patchbank.config.load import read_config
from patchbank.errors import UserError

ON: dict[str, Any] = {"kind": "primaps", "codes": "stego"}
METHODS: dict[str, Any] = {"stego": {}, "primaps-stego": ON}
LEAK = {"kind": "cause_mlp", "supervised_leak": "reference"}


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"a": ON}, "a learns after 'stego', which is no row of its set; the set has no row with codes."),
        ({"stego": {"postprocess": ["flip"]}, "a": {**ON, "codes": "stego+flip"}}, "'stego.flip', which is no row"),
        ({"a": {**ON, "codes": "a"}}, "a learns after a, which is a circle"),
        ({"a": {**ON, "codes": "b"}, "b": {**ON, "codes": "a"}}, "a learns after b, after a, which is a circle"),
        ({"stego": {}, "a": {**ON, "codes": "kmeans"}}, "'kmeans', which gives tokens no codes; rows with .* stego"),
        ({"a": {**ON, "codes": "alignseg"}}, "'alignseg', which gives tokens no codes"),
        ({**METHODS, "a": {**ON, "codes": "primaps-stego"}}, "'primaps-stego', which gives tokens no codes"),
    ],
)
def test_a_row_that_cannot_learn_after_another_is_refused(methods: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_config(changes={"methods": methods})


def test_a_row_that_a_set_leaves_out_is_missed() -> None:
    left_out = {"msrc": {"settings": {"methods": {"stego": None}}}}
    with pytest.raises(UserError, match=r"datasets.msrc: primaps-stego learns after 'stego', which is no row") as error:
        read_config(changes={"methods": METHODS, "datasets": left_out})
    assert "camvid" not in str(error.value)


def test_labels_that_a_row_before_used_count_as_its_own_and_reach_none_of_its_stages(tmp_path: Path) -> None:
    plan = Plan(tmp_path, {"methods": {"leak": LEAK, "a": {**ON, "codes": "leak"}, **METHODS}})
    found = {method.name: method for method in plan.config.methods("msrc")}
    assert (found["a"].oracle, found["a"].traits.oracle, found["primaps-stego"].oracle) == ("train", None, None)
    assert plan.stages.labels(of(method="a")) == []


def test_a_training_reads_the_checkpoint_of_its_seed(tmp_path: Path) -> None:
    plan = Plan(tmp_path, {"methods": METHODS})
    assert plan.stages.learned_after(of(method="stego", seed="2")) == []
    expected = "results/msrc/stego/seed2/checkpoint.safetensors"
    assert plan.stages.learned_after(of(method="primaps-stego", seed="2")) == expected
    own = [f"results/msrc/primaps-stego/seed{seed}/checkpoint.safetensors" for seed in range(3)]
    assert plan.stages.checkpoints(of(method="primaps-stego")) == own, "predictions need no other"


def test_rows_of_ablations_and_sweeps_read_the_pipelines_checkpoints(tmp_path: Path) -> None:
    rows = {"tokens": {"factor": "tokens"}, "codes": {"factor": "codes", "settings": {"codes": "stego"}}}
    ablation = {"method": "primaps", "datasets": ["msrc"], "rows": rows}
    changes = {"methods": {"stego": {}, "primaps": {}}, "ablations": {"mine": ablation}, "sweep": {"methods": METHODS}}
    plan = Plan(tmp_path, changes)
    asked = of(ablation="mine", method="codes")
    assert plan.ablations.inputs(asked)["after"] == [
        f"results/msrc/stego/seed{seed}/checkpoint.safetensors" for seed in range(3)
    ]
    assert "after" not in plan.ablations.inputs(of(ablation="mine", method="tokens"))
    encoder = "dinov2_vits14_saliency-b3"
    swept = plan.sweeps.inputs(of(encoder=encoder, method="primaps-stego"))["after"]
    assert swept[0] == f"results/{sweeps.at('msrc', encoder)}/stego/seed0/checkpoint.safetensors"
    with pytest.raises(UserError, match=r"ablations.mine.codes: codes learns after 'stego', which is no row"):
        read_config(changes={**changes, "methods": {"primaps": {}}, "sweep": {}})
