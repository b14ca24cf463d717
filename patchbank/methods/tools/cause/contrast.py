"""Contrastive loss: tokens whose codes of the codebook are alike are positives, those whose codes differ are negatives.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from patchbank.methods.tools.cause.modularity import EPS
from patchbank.methods.tools.correspondence import unit


@dataclass(frozen=True)
class Rule:
    """Which pairs count, and how sharply; all published.

    Attributes:
        positive: cosine of two codes above which their tokens are positives.
        negative: the one below which they are negatives; pairs between count nowhere.
        temperature: of the similarities.
    """

    positive: float = 0.3
    negative: float = 0.1
    temperature: float = 0.07


def nearest_code(tokens: Tensor, codebook: Tensor) -> Tensor:
    """Row (...) int64 of the codebook (M, D) that is nearest to tokens (..., D) by cosine."""
    index: Tensor = (unit(tokens, EPS) @ unit(codebook, EPS).T).argmax(-1)
    return index


def contrastive_loss(
    codes: Tensor, student: Tensor, teacher: Tensor, stored: tuple[Tensor, Tensor] | None, rule: Rule
) -> Tensor:
    """Mean of a term for every image against the batch, and of one against what is stored.

    Args:
        codes: (B, n, D) unit rows of the codebook, one for each token.
        student: (B, n, P) projections, with a gradient.
        teacher: (B, n, P) projections of the same tokens.
        stored: codes (m, D) at length 1 and projections (m, P) of earlier tokens; None for none.
        rule: of pairs.

    A term without any positive pair is left out (it is not a number in the published code).
    """
    n = codes.shape[1]
    known, references = codes.flatten(0, 1), unit(teacher.detach().flatten(0, 1), EPS)
    memory = None if stored is None else (stored[0], unit(stored[1], EPS))  # once: it is far larger than a batch
    terms = []
    for image, (image_codes, projections) in enumerate(zip(codes, unit(student, EPS), strict=True)):
        itself = torch.zeros(n, len(known), dtype=torch.bool, device=codes.device)
        itself[torch.arange(n), image * n + torch.arange(n)] = True
        terms.append(_term(image_codes @ known.T, projections @ references.T, itself, rule))
        if memory is not None:
            terms.append(_term(image_codes @ memory[0].T, projections @ memory[1].T, None, rule))
    counted = [term for term in terms if term is not None]
    return torch.stack(counted).mean() if counted else student.sum() * 0


def _term(alike: Tensor, similar: Tensor, itself: Tensor | None, rule: Rule) -> Tensor | None:
    """Mean over all positive pairs (a, j) of -s_aj + log of the sum of exp s over positives and negatives of a."""
    positive = alike > rule.positive
    if itself is not None:
        positive = positive & ~itself
    if not positive.any():
        return None
    logits = similar / rule.temperature
    logits = logits - logits.detach().amax(1, keepdim=True)
    counts = positive | (alike < rule.negative)
    log_sum = torch.where(counts, logits, -torch.inf).logsumexp(1, keepdim=True)
    picked = torch.where(positive, log_sum - logits, 0.0)
    return picked.sum() / positive.sum()
