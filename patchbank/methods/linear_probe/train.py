"""Training of `linear-probe`: labelled train tokens, then multinomial logistic regression by L-BFGS.

The loss is convex and L-BFGS starts at zero on all tokens at once: the result depends on the sample of tokens alone.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from patchbank import threads as cpu_threads
from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_checkpoint
from patchbank.datasets import Manifest
from patchbank.datasets.patches import NONE, image_patches
from patchbank.files import write_text
from patchbank.left_out import CannotBeMade
from patchbank.methods.jobs import TrainJob
from patchbank.methods.linear_probe.settings import ProbeSettings
from patchbank.methods.tools.apart import check_apart
from patchbank.progress import track
from patchbank.seeds import generator

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Fit and store the layer, on the train split's bank `whole` and the masks that the manifest names.

    The checkpoint holds `weight` (C, D), `bias` (C,), and what standardises tokens: `mean`, `std` (D,). The log of
    steps has one row per evaluation of the loss: `step`, `loss`; that of epochs the last of them. A fit is short: it
    has no state to resume.

    Raises:
        CannotBeMade: the labelled patches of the train split are of fewer than two classes, or its pictures are the
            scored ones.
    """
    used = cpu_threads.limit(job.threads)
    options = ProbeSettings(**{name: job.settings[name] for name in ProbeSettings.__dataclass_fields__})
    bank, known = open_bank(job.banks["whole"]), Manifest.load(job.labels())
    check_apart(known, "a probe that has learned their labels would be no ceiling of what tokens tell")
    moments = Statistics.load(job.statistics)
    tokens, labels = labelled_tokens(bank, known, options, job.seed)
    centring = Centring.of(moments, "standardise", bank.dim)
    assert centring.mean is not None
    assert centring.std is not None
    mean, std = centring.mean.float(), centring.std.float()
    points = (torch.from_numpy(tokens) - mean) / std
    weight, bias, losses = fit(points, torch.from_numpy(labels), len(known.classes), options)
    LOG.info("linear probe on %d tokens of %d classes: loss %.4f", len(labels), len(np.unique(labels)), losses[-1])
    record = job.record(bank.record, used)
    save_checkpoint(job.files.checkpoint, {"weight": weight, "bias": bias, "mean": mean, "std": std}, record)
    write_text(
        job.files.steps_csv, "\n".join(["step,loss", *(f"{i},{loss:.9g}" for i, loss in enumerate(losses))]) + "\n"
    )
    write_text(job.files.epochs_csv, f"step,loss\n{len(losses) - 1},{losses[-1]:.9g}\n")


def labelled_tokens(
    bank: Bank, manifest: Manifest, options: ProbeSettings, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tokens (m, D) of the train split whose patch has a class, and their classes (m,)."""
    entries = {entry.id: entry for entry in manifest.entries(manifest.train_split)}
    rows = np.sort(generator("probe-images", seed).permutation(len(bank))[: options.images])
    share = -(-options.sample // max(1, len(rows)))
    tokens, labels = [], []
    for row in track(rows.tolist(), "labelled tokens", "image"):
        image = bank.images[row]
        patches = image_patches(manifest, entries[image], bank.grid)
        columns = np.empty(0, np.int64) if patches is None else np.flatnonzero(patches.ravel() != NONE)
        if patches is None or not len(columns):
            continue
        chosen = np.sort(generator("probe-tokens", seed, image).permutation(columns)[:share])
        tokens.append(bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)[chosen].astype(np.float32))
        labels.append(patches.ravel()[chosen])
    kinds = {int(label) for patches in labels for label in patches}
    if len(kinds) < 2:
        whose = f"of split {manifest.train_split!r} of {manifest.dataset}"
        if kinds:
            seen = f"every labelled patch {whose} is {manifest.classes[kinds.pop()]!r}, and a probe tells classes apart"
        else:
            seen = f"no patch {whose} has a label, and a probe learns from labels"
        raise CannotBeMade(f"{seen}; label some of its images, or leave the row out.")
    return np.concatenate(tokens), np.concatenate(labels)


def fit(points: Tensor, labels: Tensor, classes: int, options: ProbeSettings) -> tuple[Tensor, Tensor, list[float]]:
    """Multinomial logistic regression.

    Args:
        points: (m, D) float32.
        labels: (m,) int64.
        classes: C.
        options: weight decay and iterations.

    Returns:
        weight (C, D), bias (C,), and the loss of every evaluation.
    """
    weight = torch.zeros(classes, points.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=options.iterations, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def closure() -> float:
        optimiser.zero_grad()
        loss = functional.cross_entropy(points @ weight.T + bias, labels)
        loss = loss + 0.5 * options.weight_decay * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        return losses[-1]

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach(), losses
