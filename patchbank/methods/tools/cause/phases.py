"""The three phases of a training, each resumable: which views a step sees, what is drawn, what is logged."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.methods.tools.cause.front import (
    Labelled,
    Projected,
    Sample,
    Student,
    everything,
    follow,
    front_loss,
    front_step,
    probe_step,
    teacher_of,
)
from patchbank.methods.tools.cause.labelled import SeededLinear, probe_loss
from patchbank.methods.tools.cause.memory import Memory, random_orders
from patchbank.methods.tools.cause.modularity import (
    Prototypes,
    block_order,
    block_sample,
    block_side,
    modularity_loss,
)
from patchbank.methods.tools.cause.settings import CauseSettings
from patchbank.methods.tools.class_heads import Classes
from patchbank.methods.tools.phases import Phase, Phases
from patchbank.methods.tools.training_views import TrainingViews, sample_order, steps_in_epoch
from patchbank.seeds import derive, generator

COLUMNS = ("step", "epoch", "loss_mediator", "loss_front", "loss_probe")
Labels = tuple[NDArray[np.int16], int]
"""Classes (images, h, w) of the patches of whole images, and their number."""
_NONE = float("nan")


class Kind(Protocol):
    """What tells one head of CAUSE from another."""

    @property
    def whole(self) -> bool:
        """Whether the head sees all tokens of a view, of whose codes some are sampled; else it sees the sampled."""
        ...

    @property
    def halving(self) -> float | None:
        """Epochs of the probe after which its learning rate is halved, again and again; None for never."""
        ...

    def head(self, codebook: Tensor) -> nn.Module:
        """The head at the start, (tokens (B, N, D), masks) -> codes (B, N, R); `codebook` is (M, D)."""
        ...

    def masks(self, rng: np.random.Generator, tokens: Tensor) -> object:
        """Dropout of one run on tokens (B, N, D), as the head takes it."""
        ...

    def cluster(
        self, bank: Bank, head: nn.Module, centring: Centring, settings: Mapping[str, Any], seed: int
    ) -> Classes:
        """k-means of the final codes; arguments as of `patchbank.methods.tools.class_heads.cluster_codes`."""
        ...


class ThreePhases:
    """What the phases have in common.

    Args:
        views: of the train split.
        settings: of the head.
        kind: of the head.
        seed: of everything random.
        device: where is computed.
        labels: with the leak.

    Attributes:
        rows: of the log, over all phases.
    """

    def __init__(
        self,
        views: TrainingViews,
        settings: CauseSettings,
        kind: Kind,
        seed: int,
        device: torch.device,
        labels: Labels | None,
    ) -> None:
        self._views, self._settings, self._kind, self._labels = views, settings, kind, labels
        self._seed, self._device = seed, device
        self._side = block_side(settings.block, views.grid)
        self.rows: list[list[float]] = []
        self._orders: dict[str, list[tuple[int, NDArray[np.int64]]]] = {}

    def mediator(self, phases: Phases) -> Tensor:
        """The codebook (M, D)."""
        codebook = Prototypes(self._settings.codes, self._views.dim, self._seed, "codebook").to(self._device)
        optimiser = torch.optim.Adam(codebook.parameters(), lr=self._settings.lr)

        def step(number: int, tokens: Tensor) -> list[float]:
            tokens = tokens.to(self._device)
            loss = modularity_loss(self._sample("mediator", number, tokens)(tokens), codebook.vectors)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            return [float(loss.detach())]

        models: dict[str, nn.Module] = {"codebook": codebook}
        self._run(phases, "mediator", self._settings.mediator_epochs, (models, optimiser), step)
        return codebook.vectors.detach()

    def front(self, phases: Phases, codebook: Tensor) -> nn.Module:
        """The teacher's head after the last step."""
        settings, device, kind = self._settings, self._device, self._kind
        head = kind.head(codebook)
        projection = SeededLinear(settings.width, settings.projection, derive("projection", self._seed))
        probe = None if self._labels is None else self._linear_probe(self._labels[1])
        model = Student(Projected(head, projection), probe).to(device)
        teacher = teacher_of(model.projected)
        memory = Memory(settings.codes, settings.memory, settings.projection).to(device)
        optimiser = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)

        def step(number: int, tokens: Tensor) -> list[float]:
            tokens, rng = tokens.to(device), generator("cause front", self._seed, number)
            sample = self._sample("front", number, tokens)
            seen, after = (tokens, sample) if kind.whole else (sample(tokens), everything)
            masks = (kind.masks(rng, seen), kind.masks(rng, seen))
            loss, rows, taught = front_loss(model.projected, teacher, seen, codebook, memory, masks, after)
            labelled = None
            if model.probe is not None:
                own = generator("cause front labels", self._seed, number)  # all other draws are those without the leak
                with torch.no_grad():
                    codes = teacher.head(tokens, kind.masks(own, tokens))
                labelled = probe_loss(model.probe(codes), self._labels_of("front", number), self._views.grid)
            front_step(model, optimiser, loss, settings.clip, labelled)
            follow(teacher, model.projected, number)
            memory.add(rows, taught, random_orders(rows, rng))
            return [float(loss.detach())]

        models: dict[str, nn.Module] = {"model": model, "teacher": teacher, "memory": memory}
        self._run(phases, "front", settings.epochs, (models, optimiser), step)
        return teacher.head

    def probe(self, phases: Phases, head: nn.Module, classes: int) -> Tensor:
        """Vectors (K, R) of the classes; with the leak, labels move `head` meanwhile, in place."""
        settings, device = self._settings, self._device
        probe = Prototypes(classes, settings.width, self._seed, "probe").to(device)
        groups = [{"params": list(probe.parameters()), "weight_decay": 0.0}]
        models, moved = nn.ModuleList([probe]), None
        if self._labels is not None:
            moved = Labelled(head.requires_grad_(True), self._linear_probe(self._labels[1]).to(device))
            groups.append({"params": list(moved.parameters()), "weight_decay": settings.weight_decay})
            models.append(moved)
        optimiser = torch.optim.Adam(groups, lr=settings.lr)

        def step(number: int, tokens: Tensor) -> list[float]:
            tokens, rng = tokens.to(device), generator("cause probe", self._seed, number)
            for group in optimiser.param_groups:
                group["lr"] = settings.lr * self._halved(number)
            with torch.set_grad_enabled(moved is not None):
                codes = head(tokens, self._kind.masks(rng, tokens))
            leak = None
            if moved is not None:
                labels = self._labels_of("probe", number)
                leak = (moved, moved.loss(codes, labels, self._views.grid), settings.clip)
            sampled = self._sample("probe", number, codes)(codes.detach())
            loss = probe_step(probe, sampled, optimiser, leak)
            return [float(loss)]

        self._run(phases, "probe", settings.probe_epochs, ({"models": models}, optimiser), step)
        return probe.vectors.detach().cpu()

    def _run(
        self,
        phases: Phases,
        name: str,
        epochs: float,
        moved: tuple[dict[str, nn.Module], torch.optim.Optimizer],
        step: Callable[[int, Tensor], list[float]],
    ) -> None:
        each = steps_in_epoch(self._views.count, self._settings.batch_size, keep_last=False)
        seed = derive("cause order", name, self._seed)
        ordered = sample_order(self._views.count, self._settings.batch_size, seed, keep_last=False)
        order = self._orders[name] = list(itertools.islice(ordered, max(1, round(epochs * each))))

        def load(number: int) -> Tensor:
            return self._views.read(order[number][1], generator("cause views", name, self._seed, number))

        column = ("mediator", "front", "probe").index(name)
        rows = phases.run(Phase(name, len(order), moved[0], moved[1], load, step))
        first = int(self.rows[-1][1]) + 1 if self.rows else 0
        for (epoch, _), (loss,) in zip(order, rows, strict=True):
            values = [_NONE, _NONE, _NONE]
            values[column] = loss
            self.rows.append([len(self.rows), first + epoch, *values])

    def _linear_probe(self, classes: int) -> SeededLinear:
        return SeededLinear(self._settings.width, classes, derive("linear probe", self._seed))

    def _halved(self, number: int) -> float:
        """Factor of the probe's learning rate in a step."""
        if self._kind.halving is None:
            return 1.0
        each = steps_in_epoch(self._views.count, self._settings.batch_size, keep_last=False)
        return float(0.5 ** (number // max(1, round(self._kind.halving * each))))

    def _sample(self, name: str, number: int, tokens: Tensor) -> Sample:
        """One token of every block of patches, of what is said of all tokens."""
        rng = generator("cause blocks", name, self._seed, number)
        order = block_order(rng, len(tokens), self._views.grid, self._side)
        return lambda values: block_sample(values, self._views.grid, order, self._side)

    def _labels_of(self, name: str, number: int) -> Tensor:
        """Classes (b, h, w) of a step's views."""
        assert self._labels is not None
        cut = self._views.cut(self._labels[0], self._orders[name][number][1])
        return torch.from_numpy(cut.astype(np.int64)).to(self._device)
