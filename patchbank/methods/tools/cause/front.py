"""Phases two and three: the head learns from the codebook, then classes are found among its codes.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from patchbank.methods.tools.cause.contrast import Rule, contrastive_loss, nearest_code
from patchbank.methods.tools.cause.labelled import probe_loss
from patchbank.methods.tools.cause.memory import Memory
from patchbank.methods.tools.cause.modularity import EPS, Prototypes, modularity_loss
from patchbank.methods.tools.correspondence import unit

Sample = Callable[[Tensor], Tensor]
"""From values (B, N, D) of all tokens to those (B, n, D) of some."""
DECAY = 0.99
"""Of the teacher, published."""


def everything(values: Tensor) -> Tensor:
    """A `Sample` of all tokens: they were drawn before the head saw them."""
    return values


class Projected(nn.Module):
    """A head, and the projection of its codes that is compared."""

    def __init__(self, head: nn.Module, projection: nn.Linear) -> None:
        super().__init__()
        self.head, self.projection = head, projection

    def forward(self, tokens: Tensor, masks: object = None, sample: Sample = everything) -> Tensor:
        """Projections (B, n, P) of the sampled ones of tokens (B, N, D).

        `masks` is dropout as the head takes it, None for none. Codes are sampled, of which projections are linear.
        """
        projected: Tensor = self.projection(sample(self.head(tokens, masks)))
        return projected


class Student(nn.Module):
    """What the optimiser of the second phase moves: student, and the linear probe where labels are used."""

    def __init__(self, student: Projected, probe: nn.Linear | None) -> None:
        super().__init__()
        self.projected, self.probe = student, probe


def teacher_of(student: Projected) -> Projected:
    """The teacher at the start."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def follow(teacher: Projected, student: Projected, number: int) -> None:
    """The teacher after step `number`: the student itself after the first (they share memory in the published code)."""
    for followed, other in zip(teacher.parameters(), student.parameters(), strict=True):
        followed.copy_(other if number == 0 else DECAY * followed + (1 - DECAY) * other)


def front_loss(
    student: Projected,
    teacher: Projected,
    tokens: Tensor,
    codebook: Tensor,
    memory: Memory,
    masks: tuple[object, object],
    sample: Sample = everything,
) -> tuple[Tensor, Tensor, Tensor]:
    """The contrastive loss of sampled tokens.

    Args:
        student, teacher: both run on the tokens.
        tokens: (B, N, D).
        codebook: (M, D).
        memory: of earlier projections.
        masks: dropout of student and teacher.
        sample: n of the tokens, which are compared; by default all.

    Returns:
        The loss, the code (B * n,) of every sampled token, and the teacher's projections (B * n, P), for `memory`.
    """
    rows, codes = nearest_code(sample(tokens), codebook), unit(codebook, EPS)
    projections = student(tokens, masks[0], sample)
    with torch.no_grad():
        taught = teacher(tokens, masks[1], sample)
    kept = memory.stored()
    stored = None if kept is None else (codes[kept[0]], kept[1])
    loss = contrastive_loss(codes[rows], projections, taught, stored, Rule())
    return loss, rows.flatten(), taught.flatten(0, 1)


def front_step(
    model: Student, optimiser: torch.optim.Optimizer, loss: Tensor, clip: float, labelled: Tensor | None = None
) -> None:
    """Gradients, one norm over everything that has one, and Adam; `labelled` is the loss of the linear probe."""
    optimiser.zero_grad()
    (loss if labelled is None else loss + labelled).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()


class Labelled(nn.Module):
    """What labels move in the published third phase: the teacher's head, and the linear probe."""

    def __init__(self, head: nn.Module, probe: nn.Linear) -> None:
        super().__init__()
        self.head, self.probe = head, probe

    def loss(self, codes: Tensor, labels: Tensor, grid: tuple[int, int]) -> Tensor:
        """The probe's loss on codes (B, N, R), which are not detached: here labels reach the head."""
        return probe_loss(self.probe(codes), labels, grid)


Leak = tuple[Labelled, Tensor, float]
"""What labels move, the loss of their probe, and the norm that its gradient is clipped to."""


def probe_step(
    probe: Prototypes,
    codes: Tensor,
    optimiser: torch.optim.Optimizer,
    leak: Leak | None = None,
) -> Tensor:
    """One step of the third phase; the modularity loss.

    Args:
        probe: of the classes.
        codes: (B, n, R) sampled codes; they get no gradient.
        optimiser: of the probe, and of what labels move.
        leak: see `Leak`.
    """
    loss = modularity_loss(codes, probe.vectors)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if leak is not None:
        leak[1].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(leak[0].parameters(), leak[2])
    optimiser.step()
    return loss.detach()
