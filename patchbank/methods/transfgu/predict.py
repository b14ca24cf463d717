"""Stage `predict`: classes of every patch of a split, from its `whole` bank and a trained segmenter.

With ``stage: pseudo_labels`` the scores are the maps themselves, from the `lastblock` bank of the split (token
similarity: `whole`).

The one variant ``k<K>-s<seed>`` holds the logits; they go to pixels by bilinear upsampling, then argmax. Above
`MAX_SCORES` classes a prediction file holds no scores, and an argmax cannot be interpolated: then the logits are
upsampled to the input size here, and the labels stored at that size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from patchbank import threads as cpu_threads
from patchbank.backbones.tail import load_tail
from patchbank.bank.format import content_hash
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import check_backbone, load_checkpoint
from patchbank.devices import torch_device
from patchbank.errors import UserError
from patchbank.memory import release
from patchbank.methods.jobs import PredictJob
from patchbank.methods.transfgu.centroids import Centroids
from patchbank.methods.transfgu.head import Head, load_head
from patchbank.methods.transfgu.losses import make_targets
from patchbank.methods.transfgu.prepare import stored_projection
from patchbank.methods.transfgu.pseudo_labels import gradient_rows, similarity_rows
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.methods.transfgu.similarity import TokenClasses
from patchbank.predictions import MAX_SCORES, PredictionRecord, PredictionWriter
from patchbank.progress import track
from patchbank.variants import variant_name

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

_BLOCK_VALUES = 1 << 21
"""Token values of one block of images (8 MB in float32)."""


def predict(job: PredictJob) -> None:
    """The stage, from files to a file; the one bank is that of the recipe which `Traits.reads` names.

    A segmenter carries its own settings, and what it centres tokens with: neither is read from the job.

    Raises:
        UserError: no checkpoint, or one that was trained on another backbone.
    """
    checkpoint = job.trained()
    cpu_threads.limit(job.threads)
    _, trained = load_checkpoint(checkpoint)
    (bank,) = (open_bank(path) for path in job.banks.values())
    check_backbone(trained, bank.record.get("backbone", {}), checkpoint)
    device = torch_device(job.device)
    if trained.get("settings", {}).get("stage") == "pseudo_labels":
        options, blocks = map_scores(bank, checkpoint, device)
    else:
        head = load_head(checkpoint)
        options, blocks = head.settings, segmenter_scores(bank, head, device)
    upsample: Literal["bilinear", "nearest"] = "bilinear" if options.classes <= MAX_SCORES else "nearest"
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, upsample, bank.input_size, asdict(options)
    )
    write_classes(bank, options.classes, blocks, record, job.out)


def segmenter_scores(bank: Bank, head: Head, device: torch.device) -> Iterator[Tensor]:
    """Logits (b, K, h, w) of the images of a `whole` bank, block by block."""
    if bank.dim != head.model.dim:
        raise UserError(f"The head reads tokens of width {head.model.dim}, the bank's have {bank.dim}.")
    model, centring = head.model.to(device).eval(), head.centring.to(device)
    size = max(1, _BLOCK_VALUES // (bank.tokens_per_view * bank.dim))
    for start in range(0, len(bank.images), size):
        rows = np.arange(start, min(start + size, len(bank.images))) * bank.draws
        tokens = torch.from_numpy(bank.read(rows, ("tokens",))["tokens"][:, 0]).to(device).float()
        with torch.no_grad():
            logits = model(centring(tokens))[0]
        yield logits.transpose(1, 2).reshape(len(rows), -1, *bank.grid)


def map_scores(
    bank: Bank, checkpoint: str | Path, device: torch.device, images: Sequence[int] | None = None
) -> tuple[TransFGUSettings, Iterator[Tensor]]:
    """Settings, and the maps (1, K, h, w) of the images of a `lastblock` (or, token similarity, `whole`) bank.

    Maps are normalised as a step's targets are, on the whole image, with the background channel where there is one.

    Args:
        bank: the images.
        checkpoint: of either stage.
        device: where gradients are computed.
        images: indices of the images; all of them by default.
    """
    tensors, record = load_checkpoint(checkpoint)
    settings, vectors = TransFGUSettings.from_mapping(record["settings"]), tensors["centroids"].numpy()
    signed = settings.pseudo_label == "token_similarity"
    if signed:
        projection = stored_projection(tensors)
        assert projection is not None
        classes = TokenClasses.of(
            projection, Centroids(vectors, np.array(record["members"])), settings, int(record["seed"])
        )
        rows = similarity_rows(bank, classes, images)
    else:
        tail = load_tail(bank.folder, content_hash(bank.record))
        rows = gradient_rows(bank, tail, vectors, settings.gradient_batch, device, images)

    def scores() -> Iterator[Tensor]:
        for base, push in rows:
            values = push if signed else np.where(push < 0, 0, base + push)
            yield make_targets(torch.from_numpy(values)[None], settings.background).maps.view(1, -1, *bank.grid)

    return settings, scores()


def write_classes(
    bank: Bank, classes: int, blocks: Iterable[Tensor], record: PredictionRecord, out: str | Path
) -> None:
    """Write scores of every image of `bank`, or above `MAX_SCORES` classes the labels of the upsampled scores.

    Args:
        bank: whose images these are.
        classes: K.
        blocks: scores (b, K, h, w) of consecutive images.
        record: description of the file to write.
        out: `.h5` to write.
    """
    variant, start = variant_name(classes, record.seed), 0
    size = bank.grid if classes <= MAX_SCORES else bank.input_size
    with PredictionWriter(out, record, bank.images, {variant: classes}, size) as writer:
        for block in track(blocks, f"predict {record.split}", unit="block"):
            if classes <= MAX_SCORES:
                writer.write_scores(variant, start, block.cpu().numpy())
            else:
                for i in range(len(block)):  # one image at a time: K planes of the input size are large
                    large = interpolate(block[i : i + 1], size, mode="bilinear", align_corners=False)
                    writer.write_labels(variant, start + i, large.argmax(1).cpu().numpy())
            start += len(block)
            release()
