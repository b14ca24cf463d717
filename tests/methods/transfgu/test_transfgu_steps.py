"""What restarts and updates do, and what a record says of its set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transfgu_world import EXACT, make_world

from patchbank.bank.centring import Centring
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.methods.tools.state import TrainingState
from patchbank.methods.transfgu.batches import Views, load_batches, plan_epoch
from patchbank.methods.transfgu.centroids import make_centroids
from patchbank.methods.transfgu.head import build_decoder
from patchbank.methods.transfgu.prepare import prepare
from patchbank.methods.transfgu.settings import TransFGUSettings, recipes
from patchbank.methods.transfgu.step import CLAMP, batch_losses, update
from patchbank.methods.transfgu.train import _of_centroids, _Run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("transfgu"))


def test_a_restart_hands_over_the_student_and_keeps_the_moments(world: dict[str, Path]) -> None:
    settings = TransFGUSettings.from_mapping(EXACT)
    banks = {recipe: open_bank(world[recipe]) for recipe in recipes(EXACT)}
    statistics, state = Statistics.load(world["statistics"]), TrainingState(world["folder"] / "restart", {"a": "test"})
    prepared = prepare(banks, statistics, settings, 0, state.folder, torch.device("cpu"))
    views = banks["augmented"]
    run = _Run(views, prepared, settings, 0, Centring.of(statistics, "none"), state, torch.device("cpu"))
    initial = {name: value.clone() for name, value in run.student.state_dict().items()}
    batches = plan_epoch(len(views.images), views.draws, 0, settings.batch_size, 0, 0)
    for batch, loaded in load_batches(views, prepared.labels, batches, torch.device("cpu")):
        run._step(batch, loaded)
    taught = {name: value.clone() for name, value in run.student.state_dict().items()}
    assert any(not torch.equal(value, initial[name]) for name, value in taught.items())
    moments = [{k: torch.as_tensor(v).clone() for k, v in one.items()} for one in run._optimiser.state.values()]
    assert moments
    run._restart()
    for name, value in run._teacher.state_dict().items():
        torch.testing.assert_close(value, taught[name], rtol=0, atol=0)
        torch.testing.assert_close(run.student.state_dict()[name], initial[name], rtol=0, atol=0)
    for before, after in zip(moments, run._optimiser.state.values(), strict=True):
        for key, value in before.items():
            torch.testing.assert_close(torch.as_tensor(after[key]), value, rtol=0, atol=0)


def test_gradients_are_clamped_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = torch.nn.Linear(2, 1, bias=False)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.weight.detach().clone()
    loss = (model.weight * torch.tensor([[5.0, -0.5]])).sum() + 100
    assert update(optimiser, model, loss)
    torch.testing.assert_close(before - model.weight.detach(), torch.tensor([[CLAMP, -0.5]]))
    assert CLAMP == 1.0


def test_images_without_foreground_are_kept_counted_and_reported(world: dict[str, Path]) -> None:
    bank = open_bank(world["windows"])
    settings = TransFGUSettings.from_mapping(EXACT)
    found = make_centroids(bank, settings, 0)
    record = _of_centroids(replace(found, empty_images=2), bank)
    assert (record["images"], record["images_without_foreground"]) == (9, 2)
    assert record["notes"] == [
        "2 of 9 training images have no foreground window; they stay in the set and shape no centroid."
    ]
    assert _of_centroids(found, bank)["notes"] == []


def test_bfloat16_rounds_products_alone() -> None:
    """Losses and gradients lie near float32's and are float32; weights are, too."""
    settings = TransFGUSettings(things=3, heads=2, layers=1)
    drawn = torch.Generator().manual_seed(0)
    views = Views(torch.randn(2, 16, 8, generator=drawn), torch.rand(2, 3, 16, generator=drawn))
    gradients, losses = [], []
    for precision in ("float32", "bfloat16"):
        student, teacher = (build_decoder(8, settings, seed) for seed in (0, 1))
        found = batch_losses(
            student.eval(), teacher.eval(), views, replace(settings, precision=precision), 0, torch.tensor([2, 0, 1])
        )
        assert {part.dtype for part in (found.category, found.uncertainty, found.embedding, found.total)} == {
            torch.float32
        }
        found.total.backward()  # type: ignore[no-untyped-call]
        losses.append(found.total.detach())
        assert {part.dtype for part in student.parameters()} == {torch.float32}
        gradients.append(torch.cat([part.grad.flatten() for part in student.parameters() if part.grad is not None]))
    assert 0 < abs(losses[1] - losses[0]) < 0.01 * losses[0], "rounded, and no more than that"
    apart = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert gradients[1].dtype == torch.float32
    assert 0 < apart < 0.25
