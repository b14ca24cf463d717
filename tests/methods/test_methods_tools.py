"""What methods share inside (`patchbank.methods.tools`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchbank.checkpoints.store import check_backbone
from patchbank.errors import UserError
from patchbank.methods import contract
from patchbank.methods.jobs import TrainingFiles
from patchbank.methods.tools.batches import cut, read_ahead, steps_per_epoch
from patchbank.methods.tools.fields import (
    Settings,
    check_heads,
    choice,
    flag,
    number,
    positive,
    refuse,
    ruled,
    whole_number,
)
from patchbank.methods.tools.heads import load_own
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.optimiser import decay_groups, optimiser_tensors
from patchbank.methods.tools.state import TrainingState


@pytest.mark.parametrize(
    ("rule", "value", "said"),
    [
        (choice("a", "b"), "c", "x is 'c', choose a | b"),
        (choice("a", "b"), "b", None),
        (flag, 1, "x is 1, it must be true or false"),
        (flag, False, None),
        (whole_number(2), 1, "x is 1, it must be at least 2"),
        (whole_number(2), 2.0, "x is 2.0, it must be a whole number"),
        (whole_number(0), True, "x is True, it must be a whole number"),
        (whole_number(2), 2, None),
        (number(), "5e-4", "x is '5e-4', it must be a finite number (in YAML write 5.0e-4, as 5e-4 is a string)"),
        (number(), True, "x is True, it must be a finite number (in YAML write 5.0e-4, as 5e-4 is a string)"),
        (number("must lie in (0, 1]", lambda v: 0 < v <= 1), 1.5, "x is 1.5, it must lie in (0, 1]"),
        (positive, 0, "x is 0, it must be above 0"),
        (positive, 1e-9, None),
    ],
)
def test_a_rule_says_what_a_value_must_be(rule: Any, value: object, said: str | None) -> None:
    assert rule("x", value) == said


@dataclass(frozen=True)
class SomeSettings(Settings):
    TITLE = "Some"
    a: bool = ruled(flag, True)
    b: int = ruled(whole_number(1), 2)
    c: str = ruled(choice("x"), "x")

    def combined(self, wrong: Sequence[str]) -> list[str]:
        return ["a needs b above 1"] if not wrong and self.a and self.b < 2 else []


def settings_classes() -> list[type[Settings]]:
    """Those of all methods, found."""
    modules = [import_module(f"patchbank.methods.{name}.settings") for name in contract.method_folders()]
    values = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return [value for value in values if issubclass(value, Settings) and value is not Settings]


def test_every_setting_has_a_rule() -> None:
    found = settings_classes()
    assert {"AlignSegSettings", "TransFGUSettings", "StegoSettings"} <= {kind.__name__ for kind in found}
    for kind in found:
        assert all("rule" in one.metadata for one in fields(kind)), kind


def test_all_problems_are_one_sentence_in_the_order_of_the_fields() -> None:
    with pytest.raises(UserError) as caught:
        SomeSettings(c="y", b=0, a=1)  # type: ignore[arg-type]
    said = "a is 1, it must be true or false; b is 0, it must be at least 1; c is 'y', choose x"
    assert str(caught.value) == f"Some settings: {said}."
    with pytest.raises(UserError, match=r"^Some settings: a needs b above 1\.$"):
        SomeSettings(b=1)
    refuse("Some", [])


def test_resolved_settings_hold_the_shared_ones_that_are_asked_for() -> None:
    shared = {"k": (3,), "kmeans": {"niter": 1}, "centre": "mean"}
    resolved = SomeSettings.resolved({"b": 5}, shared, "k", "kmeans")
    assert resolved == {"a": True, "b": 5, "c": "x", "k": [3], "kmeans": {"niter": 1}}
    assert SomeSettings.part_of(resolved) == SomeSettings.from_mapping({"b": 5}) == SomeSettings(b=5)
    for refusing in (SomeSettings.from_mapping, lambda values: SomeSettings.resolved(values, shared)):
        with pytest.raises(UserError, match="unknown d"):
            refusing({"d": 1})


def test_heads_divide_the_width() -> None:
    check_heads("Some", 4, 12)
    with pytest.raises(UserError) as caught:
        check_heads("Some", 5, 12)
    assert str(caught.value) == (
        "Some settings: heads is 5, which does not divide the tokens' width 12; up to 16 these do: 1, 2, 3, 4, 6, 12."
    )


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_batches_of_an_epoch_have_one_size_and_lose_less_than_one(samples: int, size: int, epoch: int) -> None:
    rows = np.random.default_rng(samples).permutation(samples)
    batches = cut(rows, size, epoch)
    assert len(batches) == steps_per_epoch(samples, size)
    assert {len(batch.rows) for batch in batches} == {min(size, samples)}
    assert [batch.last for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert [(batch.epoch, batch.index) for batch in batches] == [(epoch, i) for i in range(len(batches))]
    taken = np.concatenate([batch.rows for batch in batches])
    assert len(set(taken.tolist())) == len(taken) > samples - size
    for i, batch in enumerate(batches):
        assert batch.rows.tolist() == sorted(rows[i * len(batch.rows) : (i + 1) * len(batch.rows)].tolist())


def test_the_next_is_read_while_one_is_worked_on_and_no_further() -> None:
    begun = [threading.Event() for _ in range(4)]

    def read(number: int) -> int:
        begun[number].set()
        return number * number

    results = read_ahead(read, 4)
    assert next(results) == 0
    assert begun[1].wait(10)
    assert not begun[2].is_set()
    assert list(results) == [1, 4, 9]
    assert list(read_ahead(read, 0)) == []


def test_an_error_of_reading_reaches_who_asked() -> None:
    def read(number: int) -> int:
        if number == 1:
            raise UserError("broken shard")
        return number

    results = read_ahead(read, 3)
    assert next(results) == 0
    with pytest.raises(UserError, match="broken shard"):
        next(results)


def test_logs_hold_steps_and_means_over_what_is_a_number(tmp_path: Path) -> None:
    files = TrainingFiles.below(tmp_path)
    rows = [[0, 0, 1.0, 0.1], [1, 0, float("nan"), 0.3], [2, 1, float("nan"), 0.5]]
    write_logs(("step", "epoch", "loss", "share"), rows, files)
    assert files.steps_csv.read_text() == "step,epoch,loss,share\n0,0,1,0.1\n1,0,nan,0.3\n2,1,nan,0.5\n"
    assert files.epochs_csv.read_text() == "epoch,loss,share\n0,1,0.2\n1,nan,0.5\n"
    write_logs(("step", "epoch", "loss"), [], files)
    assert files.epochs_csv.read_text() == "epoch,loss\n"


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.queries = torch.nn.Parameter(torch.ones(2, 3))
        self.linear = torch.nn.Linear(3, 2)


def adam(model: Small) -> torch.optim.Adam:
    return torch.optim.Adam(decay_groups(model, 0.1, spared=("queries",)), lr=0.1)


def step(model: Small, optimiser: torch.optim.Adam) -> None:
    optimiser.zero_grad()
    (model.linear(model.queries) ** 2).sum().backward()
    optimiser.step()


def test_weight_decay_spares_vectors_and_what_is_named() -> None:
    model = Small()
    decayed, plain = decay_groups(model, 0.1, spared=("queries",))
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model.linear.weight)]
    assert [id(p) for p in plain["params"]] == [id(model.queries), id(model.linear.bias)]
    assert len(decay_groups(model, 0.1)[0]["params"]) == 2


def test_a_restored_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, other = Small(), Small()
    optimiser = adam(model)
    assert optimiser_tensors(optimiser, model) == {}
    for _ in range(3):
        step(model, optimiser)
    state = TrainingState(tmp_path, {"seed": 0})
    rows = [[0.0, 0.0, 0.1], [1.0, 0.0, float("inf")]]
    state.save({"student": model, "teacher": other}, optimiser, 2, rows)
    fresh, teacher = Small(), Small()
    going_on = adam(fresh)
    assert TrainingState(tmp_path, {"seed": 1}).restore({"student": fresh, "teacher": teacher}, going_on) == (0, [])
    assert TrainingState(tmp_path, {"seed": 0}).restore({"student": fresh, "teacher": teacher}, going_on) == (2, rows)
    for one, again in ((model, fresh), (other, teacher)):
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in one.state_dict().items())
    step(model, optimiser)
    step(fresh, going_on)
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in model.state_dict().items())
    state.remove()
    assert not state.folder.exists()


def test_a_head_knows_its_encoder(tmp_path: Path) -> None:
    record = {"backbone": {"name": "a", "block": 8}}
    check_backbone(record, {"name": "a", "block": 8, "more": 1}, "c.safetensors")
    check_backbone({"backbone": None}, {"name": "b"}, "c.safetensors")
    with pytest.raises(UserError) as caught:
        check_backbone(record, {"name": "b"}, "c.safetensors")
    assert str(caught.value) == (
        "The bank's backbone is not the one that c.safetensors was trained on: "
        "name 'b' instead of 'a'; block None instead of 8."
    )
    with pytest.raises(UserError, match="does not exist"):
        load_own(tmp_path / "none.safetensors", "a")
