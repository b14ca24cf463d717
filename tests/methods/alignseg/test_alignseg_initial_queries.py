from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alignseg_training import DIM, FakeBank, run, small

from patchbank.methods.alignseg import initial_queries
from patchbank.methods.alignseg.initial_queries import kmeans_queries
from patchbank.methods.alignseg.model import normalise


class Clustered(FakeBank):
    """Tokens of the global crops lie around three directions; those of local crops are noise."""

    def __init__(self, **more: Any) -> None:
        super().__init__(dtype="float32", **more)
        random = np.random.default_rng(1)
        self.centres = np.linalg.qr(random.standard_normal((DIM, 3)))[0].T
        tokens = self.data["tokens"]
        nearest = random.integers(0, 3, tokens.shape[:-1])[:, 0]
        length = random.uniform(1, 50, nearest.shape)[..., None]
        tokens[:, 0] = length * (self.centres[nearest] + 0.01 * random.standard_normal((*nearest.shape, DIM))) + 7.0


def queries(bank: FakeBank, seed: int = 0, shift: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    normal = torch.randn(3, DIM, generator=torch.Generator().manual_seed(seed))
    return kmeans_queries(bank, normal, shift, None, seed), normal


def test_directions_are_those_of_the_clusters_and_lengths_those_of_normal_queries() -> None:
    bank = Clustered(images=40)
    found, normal = queries(bank, shift=torch.full((DIM,), 7.0))
    torch.testing.assert_close(found.norm(dim=1), normal.norm(dim=1))
    cosines = normalise(found).double() @ torch.from_numpy(bank.centres).T
    assert sorted(cosines.argmax(1).tolist()) == [0, 1, 2]
    assert cosines.max(1).values.min() > 0.999
    uncentred = normalise(queries(bank)[0]).double() @ torch.from_numpy(bank.centres).T
    assert uncentred.max(1).values.min() < 0.99


def test_the_sample_is_bounded_and_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_queries, "SAMPLE", 12)
    monkeypatch.setattr(initial_queries, "IMAGES", 6)
    bank = FakeBank(images=20)
    sample = initial_queries._sample(bank, 0)
    assert sample.shape == (12, DIM)
    rows = np.concatenate(bank.asked)
    assert len(rows) == 6
    assert (rows % bank.draws == 0).all()
    np.testing.assert_array_equal(sample, initial_queries._sample(bank, 0))
    assert not np.array_equal(sample, initial_queries._sample(bank, 1))


def test_training_starts_from_them_once_and_repeats_itself(tmp_path: Path) -> None:
    heads = {
        name: run(tmp_path / name, small(epochs=2, initial_queries=start))["head"].read_bytes()
        for name, start in (("a", "kmeans"), ("b", "kmeans"), ("c", "normal"))
    }
    assert heads["a"] == heads["b"]
    assert heads["a"] != heads["c"]


def test_a_resumed_run_keeps_its_trained_queries(tmp_path: Path) -> None:
    settings = small(initial_queries="kmeans")
    undisturbed = run(tmp_path / "a", settings)

    def stop(step: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", settings, on_step=stop)
    assert run(tmp_path / "b", settings)["head"].read_bytes() == undisturbed["head"].read_bytes()
