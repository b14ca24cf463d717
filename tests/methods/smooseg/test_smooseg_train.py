"""SmooSeg's losses against their formula by pairs, and its stage `train`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_world import RUNS, SHARED, Killed, head_world, kill_at, tensors_of, train_in
from hypothesis import given
from hypothesis import strategies as st

from patchbank.errors import UserError
from patchbank.methods.contract import load_model, published
from patchbank.methods.smooseg import train as stage
from patchbank.methods.smooseg.losses import class_vectors, smoothness
from patchbank.methods.smooseg.prototypes import Prototypes
from patchbank.methods.smooseg.settings import resolve, traits
from patchbank.methods.tools.correspondence import similarity, unit

__all__ = ["head_world"]


def settings(**own: Any) -> dict[str, Any]:
    return resolve({**RUNS["smooseg"], **own}, SHARED)


@given(st.integers(0, 10**6), st.booleans(), st.floats(-0.5, 0.5))
def test_sums_over_tokens_are_the_mean_over_pairs(seed: int, centred: bool, shift: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    tokens, others = (unit(torch.randn(3, n, 6, generator=rng, dtype=torch.float64) + 1) for n in (5, 5))
    classes, partners = (class_vectors(torch.rand(3, 5, 4, generator=rng, dtype=torch.float64)) for _ in range(2))
    fd = similarity(tokens, others, centred)
    apart = 1 - classes @ partners.transpose(1, 2)
    loss, mean = smoothness(tokens, others, classes, partners, shift, centred)
    assert loss.item() == pytest.approx(((fd - shift) * apart).mean().item(), abs=1e-9)
    assert mean.item() == pytest.approx(apart.mean().item(), abs=1e-9)


def test_the_teacher_follows_slowly_and_is_not_normalised() -> None:
    own = Prototypes(3, 4, 0)
    start = own.teacher.clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(3))
    own.local.data.mul_(3)
    own.follow(0.9)
    torch.testing.assert_close(own.teacher, start * 1.2)


@pytest.mark.parametrize(
    "own",
    [
        {"views": "five", "signal_dropout": 0.2, "centre": "none"},
        {"views": "random", "dropout": 0.0, "classes": "kmeans", "centring": False},
    ],
)
def test_every_choice_trains_and_repeats_bit_by_bit(
    own: dict[str, Any], head_world: dict[str, Path], tmp_path: Path
) -> None:
    first = train_in(head_world, "smooseg", tmp_path / "a", settings(**own), traits)
    second = train_in(head_world, "smooseg", tmp_path / "b", settings(**own), traits)
    assert tensors_of(first) == tensors_of(second)
    assert tensors_of(first) != tensors_of(train_in(head_world, "smooseg", tmp_path / "c", settings(**own), traits, 1))


def test_a_killed_training_ends_as_if_nothing_had_happened(head_world: dict[str, Path], tmp_path: Path) -> None:
    whole = train_in(head_world, "smooseg", tmp_path / "whole", settings(), traits)
    job = train_in.job(head_world, "smooseg", tmp_path / "killed", settings(), traits)
    with pytest.raises(Killed):
        stage.train(job, kill_at(4))
    seen: list[int] = []
    stage.train(job, seen.append)
    assert seen == [4, 5]
    assert tensors_of(job.files.checkpoint) == tensors_of(whole)
    assert job.files.steps_csv.read_text() == (tmp_path / "whole" / "steps.csv").read_text()


def test_the_loss_falls_and_the_log_says_how_many_classes_are_used(head_world: dict[str, Path], tmp_path: Path) -> None:
    own = settings(steps=60, dropout=0.0, lr=1e-3, prototype_lr=5e-3, decay=0.9)
    train_in(head_world, "smooseg", tmp_path, own, traits)
    with (tmp_path / "steps.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    totals = np.array([row["loss_total"] for row in rows])
    assert totals[-15:].mean() < totals[:15].mean()
    assert all(1 <= row["used_classes"] <= SHARED["k"][0] for row in rows)


def test_a_published_head_comes_and_goes(head_world: dict[str, Path], tmp_path: Path) -> None:
    ours = train_in(head_world, "smooseg", tmp_path, settings(centre="none"), traits)
    published("smooseg").export_published(ours, tmp_path / "theirs.pth")
    published("smooseg").import_published(tmp_path / "theirs.pth", tmp_path / "back.safetensors", {})
    one, two = load_model("smooseg", ours), load_model("smooseg", tmp_path / "back.safetensors")
    tokens = torch.randn(2, 9, one.dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one.scores(tokens), two.scores(tokens))
    centred = train_in(head_world, "smooseg", tmp_path / "centred", settings(), traits)
    with pytest.raises(UserError, match="centres its tokens"):
        published("smooseg").export_published(centred, tmp_path / "no.pth")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError, match=r"dropout is 1, it must lie in \[0, 1\); decay is 2"):
        settings(dropout=1, decay=2)
