"""Settings that do nothing beside the others are refused, and it is true that they do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from head_world import RUNS, SHARED, head_world, job_of, tensors_of

from patchbank.config.load import default_config
from patchbank.errors import UserError
from patchbank.methods import contract
from patchbank.methods.contract import Row, run_train
from patchbank.methods.tools.fields import Settings

__all__ = ["head_world"]
IDLE: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "stego-given": (
        "stego",
        {"shifts": "given"},
        "shifts: given",
        {"search_steps": 5, "near_zero": 0.5, "near_one": 0.5},
    ),
    "stego-kmeans": ("stego", {}, "probe: kmeans", {"probe_lr": 1.0}),
    "stego-reference": ("stego", {"probe": "reference"}, "probe: reference", {"tokens": 9}),
    "smooseg": ("smooseg", {}, "classes: prototypes", {"tokens": 9}),
    "cause-mlp": ("cause_mlp", {}, "probe: kmeans without supervised_leak", {"probe_epochs": 2.5}),
    "cause-mlp-reference": ("cause_mlp", {"probe": "reference"}, "probe: reference", {"tokens": 9}),
    "cause-tr": (
        "cause_tr",
        {},
        "probe: kmeans without supervised_leak",
        {"probe_epochs": 2.5, "probe_halving": 1},
    ),
    "primaps-baseline": (
        "primaps",
        {"stage": "baseline"},
        "stage: baseline",
        {
            "threshold": 0.5,
            "most": 9,
            "reference": True,
            "size": 16,
            "start_epochs": 1,
            "gamma": 0.5,
            "teacher_every": 2,
            "teacher_decay": 0.5,
        },
    ),
    "primaps-codes": ("primaps", {"codes": "stego"}, "EM on codes", {"pca_batches": 1}),
}
"""Method, settings, what reads no more, and values other than the defaults that it does not read."""


def short(folder: str, own: dict[str, Any]) -> dict[str, Any]:
    """A short training whose own settings are all read."""
    left = {"search_steps"} if own.get("shifts") == "given" else {"start_epochs"} if own.get("codes") else set()
    return {key: value for key, value in RUNS[folder].items() if key not in left} | own


def resolve(folder: str, entry: dict[str, Any]) -> dict[str, Any]:
    shared = {**SHARED, "recipes": default_config().of("msrc")["recipes"]}
    return dict(contract.resolve(folder, Row(folder, contract.traits(folder), entry), shared, [0]).settings)


@pytest.mark.parametrize("case", IDLE)
def test_values_that_nothing_reads_are_refused_and_defaults_are_not(case: str) -> None:
    folder, own, reader, idle = IDLE[case]
    known = resolve(folder, short(folder, own))
    for name, value in idle.items():
        default = known[name]
        with pytest.raises(UserError) as refused:
            resolve(folder, short(folder, own) | {name: value})
        said = f"{name} is {value!r}, which {reader} does not read; leave it out, or at its default {default!r}"
        assert said in str(refused.value)
        assert resolve(folder, short(folder, own) | {name: default}) == known
    with pytest.raises(UserError) as refused:
        resolve(folder, short(folder, own) | idle)
    assert str(refused.value).count("does not read") == len(idle), "all of them in one sentence"


def test_what_reads_them_accepts_them() -> None:
    for folder, entry in (
        ("stego", {"search_steps": 5, "near_zero": 0.5, "near_one": 0.5, "tokens": 9}),
        ("stego", {"probe": "reference", "probe_lr": 1.0}),
        ("smooseg", {"classes": "kmeans", "tokens": 9}),
        ("cause_mlp", {"tokens": 9, "supervised_leak": "reference", "probe_epochs": 2}),
        ("cause_tr", {"probe": "reference", "probe_epochs": 2, "probe_halving": 1}),
        ("primaps", {"stage": "baseline", "pca_batches": 1, "epochs": 3, "mirror": True}),
        ("primaps", {"codes": "stego", "threshold": 0.5, "size": 16}),
    ):
        assert entry.items() <= resolve(folder, dict(entry)).items()


@pytest.mark.parametrize("case", IDLE)
def test_they_do_nothing(
    case: str, head_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are let through, a training ends with the same bits."""
    monkeypatch.setattr(Settings, "unread", lambda *_: [])
    folder, own, _, idle = IDLE[case]
    world = dict(head_world)
    if own.get("codes"):
        learned = job_of(head_world, "stego", tmp_path / "stego")
        run_train(learned)
        world["stego"] = learned.files.checkpoint
    found = []
    for name, more in (("a", {}), ("b", idle)):
        entry = {"start_epochs": 0} if own.get("codes") else {}
        job = job_of(world, folder, tmp_path / name, **entry, **own, **more)
        run_train(job)
        found.append(tensors_of(job.files.checkpoint))
    assert found[0] == found[1]
