"""CAUSE-MLP's losses against their formulas, and its stage `train`, with and without the leak."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import make_images
from head_world import RUNS, SHARED, Killed, head_world, kill_at, shift_masks, tensors_of, train_in
from hypothesis import given
from hypothesis import strategies as st
from jobs import train_job

from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.left_out import CannotBeMade
from patchbank.methods.cause_mlp import train as stage
from patchbank.methods.cause_mlp.settings import resolve, traits
from patchbank.methods.contract import run_train
from patchbank.methods.tools.cause.contrast import Rule, contrastive_loss
from patchbank.methods.tools.cause.memory import Memory
from patchbank.methods.tools.cause.modularity import block_order, block_sample, block_side, modularity_loss
from patchbank.methods.tools.correspondence import unit

__all__ = ["head_world"]


def settings(**own: Any) -> dict[str, Any]:
    return resolve({**RUNS["cause_mlp"], **own}, SHARED)


@given(st.integers(0, 10**6))
def test_modularity_is_its_formula(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    tokens, vectors = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((2, 7, 4), (5, 4)))
    vectors.requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for own in unit(tokens):
        alike = (own @ own.T).clamp(min=0) * (1 - torch.eye(7))
        near = (own @ unit(vectors).T).clamp(min=0)
        together = torch.tanh((near[:, None] * near[None]).amax(2) / 0.1)
        above = alike - alike.sum(1)[:, None] * alike.sum(1)[None] / alike.sum()
        total = total - (above * together).sum() / alike.sum() / 2
    loss = modularity_loss(tokens, vectors)
    assert loss.item() == pytest.approx(total.item(), abs=1e-9)
    (ours,) = torch.autograd.grad(loss, vectors)
    (formula,) = torch.autograd.grad(total, vectors)
    torch.testing.assert_close(ours, formula, rtol=1e-6, atol=1e-9)


def test_an_image_of_one_token_says_nothing() -> None:
    vectors = torch.randn(3, 4, requires_grad=True)
    loss = modularity_loss(torch.randn(2, 1, 4), vectors)
    loss.backward()
    assert (loss.item(), float(vectors.grad.abs().sum())) == (0, 0)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_one_token_of_every_block(h: int, w: int, side: int, seed: int) -> None:
    side = min(side, h, w)
    place = torch.arange(h * w)[None, :, None].float().expand(2, -1, 3)
    order = block_order(np.random.default_rng(seed), 2, (h, w), side)
    found = block_sample(place, (h, w), order, side)[..., 0].long()
    y, x = found // w // side, found % w // side
    rows, columns = h // side, w // side
    expected = torch.arange(rows * columns).expand(2, -1)
    assert torch.equal(y * columns + x, expected)


def test_blocks_shrink_with_the_grid() -> None:
    assert [block_side(4, grid) for grid in ((28, 28), (8, 8), (7, 7), (4, 4), (3, 3), (1, 1))] == [4, 4, 3, 2, 1, 1]


def contrast_by_pairs(codes: Any, student: Any, teacher: Any, stored: Any) -> float:
    """The loss, pair by pair."""
    batch, n, _ = codes.shape
    all_codes, references = codes.reshape(batch * n, -1), unit(teacher.reshape(batch * n, -1))
    sources = [(all_codes, references, True)]
    if stored is not None:
        sources.append((stored[0], unit(stored[1]), False))
    terms = []
    for b in range(batch):
        for others, projections, same in sources:
            values = []
            for a in range(n):
                s = [float(unit(student)[b, a] @ p) / 0.07 for p in projections]
                s = [value - max(s) for value in s]
                q = [float(codes[b, a] @ o) for o in others]
                positive = [j for j, v in enumerate(q) if v > 0.3 and not (same and j == b * n + a)]
                below = sum(math.exp(s[j]) for j in range(len(q)) if j in positive or q[j] < 0.1)
                values += [-s[j] + math.log(below) for j in positive]
            if values:
                terms.append(sum(values) / len(values))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("with_memory", [False, True])
def test_the_contrastive_loss_is_its_formula(with_memory: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    codes = unit(torch.randn(2, 5, 3, generator=rng, dtype=torch.float64))
    student, teacher = (torch.randn(2, 5, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    stored = None
    if with_memory:
        more = torch.randn(6, 3, generator=rng, dtype=torch.float64)
        stored = (unit(more), torch.randn(6, 4, generator=rng, dtype=torch.float64))
    found = contrastive_loss(codes, student, teacher, stored, Rule())
    assert found.item() == pytest.approx(contrast_by_pairs(codes, student, teacher, stored))


def test_a_batch_without_a_positive_pair_counts_nothing() -> None:
    codes, student = torch.eye(4).view(2, 2, 4), torch.randn(2, 2, 3, requires_grad=True)
    loss = contrastive_loss(codes, student, student.detach(), None, Rule())
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None


def test_memory_keeps_the_newest_of_every_code() -> None:
    memory = Memory(3, 3, 1)
    for start in (0, 10, 20):
        values = torch.arange(start, start + 8.0)[:, None]
        codes = torch.tensor([2, 2, 2, 2, 0, 0, 0, 1])
        memory.add(codes, values, iter([torch.tensor([2, 0, 1]), torch.tensor([0]), torch.tensor([3, 2, 1, 0])]))
    assert memory.sizes.tolist() == [3, 0, 3]
    stored = memory.stored()
    assert stored is not None
    assert stored[0].tolist() == [0, 0, 0, 2, 2, 2]
    assert stored[1][:, 0].tolist() == [6, 16, 26, 12, 23, 22]
    assert Memory(3, 3, 1).stored() is None


@pytest.mark.parametrize("own", [{"views": "five", "probe": "reference"}, {"dropout": 0.0, "centre": "none"}])
def test_every_choice_trains_and_repeats_bit_by_bit(
    own: dict[str, Any], head_world: dict[str, Path], tmp_path: Path
) -> None:
    first = train_in(head_world, "cause_mlp", tmp_path / "a", settings(**own), traits)
    second = train_in(head_world, "cause_mlp", tmp_path / "b", settings(**own), traits)
    assert tensors_of(first) == tensors_of(second)
    third = train_in(head_world, "cause_mlp", tmp_path / "c", settings(**own), traits, 1)
    assert tensors_of(first) != tensors_of(third)


@pytest.mark.parametrize("step", [0, 3, 6])
def test_a_killed_training_ends_as_if_nothing_had_happened(
    step: int, head_world: dict[str, Path], tmp_path: Path
) -> None:
    """Two steps of the codebook, four of the head, two of the probe."""
    own = settings(supervised_leak="reference", probe="reference")
    whole = train_in(head_world, "cause_mlp", tmp_path / "whole", own, traits)
    job = train_in.job(head_world, "cause_mlp", tmp_path / "killed", own, traits)
    with pytest.raises(Killed):
        stage.train(job, kill_at(step))
    seen: list[int] = []
    stage.train(job, seen.append)
    assert seen == list(range((step + 1) // 2 * 2, 8))
    assert tensors_of(job.files.checkpoint) == tensors_of(whole)
    assert job.files.steps_csv.read_text() == (tmp_path / "whole" / "steps.csv").read_text()
    with (tmp_path / "whole" / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(i) for i in range(8)]
    assert [row["loss_front"] != "nan" for row in rows] == [False] * 2 + [True] * 4 + [False] * 2


def test_labels_move_the_head_with_the_leak_and_reach_nothing_without(
    head_world: dict[str, Path], tmp_path: Path
) -> None:
    """The same pictures with other masks: another head with the leak; without it no label can even be asked for."""
    make_images(tmp_path, 9)
    shift_masks(tmp_path / "manifest.json")
    leak = settings(supervised_leak="reference", probe="reference")
    assert (traits(leak).oracle, traits(settings()).oracle) == ("train", None)
    first = tensors_of(train_in(head_world, "cause_mlp", tmp_path / "a", leak, traits))
    world = {**head_world, "manifest": tmp_path / "manifest.json"}
    second = tensors_of(train_in(world, "cause_mlp", tmp_path / "b", leak, traits))
    heads = [{key: value for key, value in one.items() if key.startswith("decoder/")} for one in (first, second)]
    assert all(heads[0][key] != heads[1][key] for key in heads[0])
    own = {"banks": {"whole": head_world["whole"]}, "statistics": head_world["statistics"], "settings": leak}
    with pytest.raises(UserError, match="reads labels; name the manifest"):
        run_train(train_job("cause_mlp", tmp_path / "c", **own))


def test_autograd_keeps_one_copy_of_the_memory() -> None:
    """However many images a batch has: at published size a copy is 1.7 GB."""
    codes, stored = torch.eye(4)[:3].expand(5, 3, 4), (torch.eye(4).repeat(10, 1), torch.randn(40, 7))
    student, kept = torch.randn(5, 3, 7, requires_grad=True), []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape in ((40, 7), (7, 40)):
            kept.append(tensor)  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        contrastive_loss(codes, student, student.detach(), stored, Rule())
    assert len({tensor.data_ptr() for tensor in kept}) == 1


def test_shares_of_an_epoch_are_steps(head_world: dict[str, Path], tmp_path: Path) -> None:
    """Two steps an epoch here."""
    job = train_in.job(head_world, "cause_mlp", tmp_path, settings(epochs=1.5, mediator_epochs=0.5), traits)
    seen: list[int] = []
    stage.train(job, seen.append)
    assert len(seen) == 1 + 3
    with pytest.raises(UserError, match=r"epochs is 0, it must be above 0"):
        settings(epochs=0)


def test_a_killed_training_does_not_go_on_under_other_labels(head_world: dict[str, Path], tmp_path: Path) -> None:
    make_images(tmp_path, 9)
    world = {**head_world, "manifest": tmp_path / "manifest.json"}
    leak = settings(supervised_leak="reference")
    job = train_in.job(world, "cause_mlp", tmp_path / "killed", leak, traits)
    with pytest.raises(Killed):
        stage.train(job, kill_at(5))
    shift_masks(tmp_path / "manifest.json")
    seen: list[int] = []
    stage.train(job, seen.append)
    assert seen[0] == 0
    whole = train_in(world, "cause_mlp", tmp_path / "whole", leak, traits)
    assert tensors_of(job.files.checkpoint) == tensors_of(whole)


def test_labels_of_scored_images_do_not_move_the_head(head_world: dict[str, Path], tmp_path: Path) -> None:
    content = read_json(head_world["manifest"])
    content["splits"]["val"][:2] = content["splits"]["train"][:2]
    write_json(tmp_path / "manifest.json", content)
    world = {**head_world, "manifest": tmp_path / "manifest.json"}
    with pytest.raises(CannotBeMade, match="2 of 9 scored images are images of split 'train' of toy, too"):
        train_in(world, "cause_mlp", tmp_path / "leak", settings(supervised_leak="reference"), traits)
    assert train_in(world, "cause_mlp", tmp_path / "none", settings(), traits).is_file()


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError, match=r"codes is 1, .*; views is 'five' with supervised_leak"):
        settings(codes=1, views="five", supervised_leak="reference")
