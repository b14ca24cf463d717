"""One training step: losses of a batch, and the update of the student."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from patchbank.methods.tools.batches import Batch
from patchbank.methods.transfgu.batches import Views
from patchbank.methods.transfgu.losses import (
    Targets,
    category_loss,
    embedding_loss,
    make_targets,
    total_loss,
    uncertainty_loss,
)
from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.optimiser import CLAMP
from patchbank.methods.transfgu.schedule import alpha_of
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.seeds import derive, generator


@dataclass(frozen=True)
class Losses:
    """Scalars of a step."""

    category: Tensor
    uncertainty: Tensor
    embedding: Tensor
    total: Tensor
    targets: Targets


def batch_losses(
    student: MaskDecoder,
    teacher: MaskDecoder | None,
    views: Views,
    settings: TransFGUSettings,
    age: int | None,
    order: Tensor | None,
) -> Losses:
    """Losses of one batch.

    Args:
        student: in training mode.
        teacher: in evaluation mode, or None before there is one.
        views: tokens (already centred) and maps.
        settings: `background` and `precision` are used.
        age: epochs since the teacher's update; None before there is one.
        order: permutation (K,) of the negative target; None before there is a teacher.
    """
    taught = None
    with torch.autocast(views.tokens.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        if teacher is not None:
            with torch.no_grad():
                taught = teacher(views.tokens)[0].float().transpose(1, 2)
        logits, classes = student(views.tokens)
    logits, classes = logits.float().transpose(1, 2), classes.float()
    targets = make_targets(views.maps, settings.background, taught)
    category = category_loss(logits, targets, 0.0 if age is None else alpha_of(age), order)
    uncertainty = uncertainty_loss(logits, targets, settings.background)
    embedding = embedding_loss(classes)
    return Losses(category, uncertainty, embedding, total_loss(category, uncertainty, embedding), targets)


def negative_order(classes: int, seed: int, batch: Batch, device: torch.device) -> Tensor:
    """The permutation (K,) of a batch's negative target."""
    order = generator("transfgu negative order", seed, batch.epoch, batch.index).permutation(classes)
    return torch.from_numpy(order).to(device)


@contextmanager
def dropout_seed(seed: int, batch: Batch, device: torch.device) -> Iterator[None]:
    """Draw the dropout of a batch from its own seed, and leave the global generators as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive("transfgu dropout", seed, batch.epoch, batch.index))
        yield


def update(optimiser: torch.optim.Optimizer, student: MaskDecoder, loss: Tensor) -> bool:
    """Take the step, unless the loss is not above 0 (no number included); whether it was taken."""
    if not float(loss.detach()) > 0:
        return False
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_value_(student.parameters(), CLAMP)
    optimiser.step()
    return True
