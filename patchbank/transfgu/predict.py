"""Stage `predict`: classes of every patch of a split, from its `whole` bank and a trained segmenter.

The one variant ``k<K>-s<seed>`` holds the logits; they go to pixels by bilinear upsampling, then argmax. Above
`MAX_SCORES` classes a prediction file holds no scores, and an argmax cannot be interpolated: then the logits are
upsampled to the input size here, and the labels stored at that size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.errors import UserError
from patchbank.memory import release
from patchbank.predictions import MAX_SCORES, PredictionRecord, PredictionWriter
from patchbank.progress import track
from patchbank.transfgu.head import Head, check_backbone, load_head

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

_BLOCK_VALUES = 1 << 21
"""Token values of one block of images (8 MB in float32)."""


def predict(
    *,
    banks: Mapping[str, Path],
    statistics: Path,
    checkpoint: Path | None,
    settings: Mapping[str, Any],
    seed: int,
    dataset: str,
    split: str,
    method: str,
    out: Path,
    threads: int | None = None,
) -> None:
    """The stage, from files to a file.

    Args:
        banks: recipe -> bank of the split; `whole` is read.
        statistics: not read: a head carries what it was trained with.
        checkpoint: the segmenter.
        settings: not read either: the head's own count.
        seed: of the training, for the record and the variant's name.
        dataset, split, method: names for the record.
        out: `.h5` to write (`patchbank.predictions`).
        threads: CPU threads, default all.

    Raises:
        UserError: no checkpoint, or one that was trained on another backbone.
    """
    if checkpoint is None:
        raise UserError(f"{method}: TransFGU predicts with a trained segmenter; name its checkpoint.")
    cpu_threads.limit(threads)
    bank = open_bank(banks["whole"])
    head = load_head(checkpoint)
    check_backbone(head, bank.record.get("backbone", {}), checkpoint)
    upsample: Literal["bilinear", "nearest"] = "bilinear" if head.settings.classes <= MAX_SCORES else "nearest"
    record = PredictionRecord(dataset, split, method, "classes", seed, upsample, bank.input_size, asdict(head.settings))
    predict_classes(bank, head, record, out)


def predict_classes(bank: Bank, head: Head, record: PredictionRecord, out: str | Path, device: str = "auto") -> None:
    """Write the classes of every image of `bank`.

    Args:
        bank: open `whole` bank, one view of any grid.
        head: from `load_head`.
        record: description of the file to write.
        out: `.h5` to write.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``...
    """
    if bank.dim != head.model.dim:
        raise UserError(f"The head reads tokens of width {head.model.dim}, the bank's have {bank.dim}.")
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(automatic if device == "auto" else device)
    model, centring, classes = head.model.to(place).eval(), head.centring.to(place), head.settings.classes
    size = max(1, _BLOCK_VALUES // (bank.tokens_per_view * bank.dim))
    variant, images = f"k{classes}-s{record.seed}", len(bank.images)
    stored_size = bank.grid if classes <= MAX_SCORES else bank.input_size
    writer = PredictionWriter(out, record, bank.images, {variant: classes}, stored_size)
    with writer, torch.no_grad():
        for start in track(range(0, images, size), f"predict {record.split}", unit="block"):
            rows = np.arange(start, min(start + size, images)) * bank.draws
            tokens = torch.from_numpy(bank.read(rows, ("tokens",))["tokens"][:, 0]).to(place).float()
            logits = model(centring(tokens))[0].transpose(1, 2).reshape(len(rows), classes, *bank.grid)
            if classes <= MAX_SCORES:
                writer.write_scores(variant, start, logits.cpu().numpy())
            else:
                for i in range(len(rows)):  # one image at a time: K planes of the input size are large
                    large = interpolate(logits[i : i + 1], stored_size, mode="bilinear", align_corners=False)
                    writer.write_labels(variant, start + i, large.argmax(1).cpu().numpy())
            release()
