"""Heads that give every token scores of dataset-wide classes: on disk, on tokens of any source, and as predictions.

score of class k = <code of the token, vector of class k>, linear in the code: upsampling scores bilinearly is then the
same as upsampling codes, and averaging them over the mirror image the same as averaging codes. One head may hold the
vectors of several numbers of clusters and fits, each a variant of the predictions.

A checkpoint holds the encoder of codes as ``decoder/<name>``, the vectors as ``classes/<variant>`` (K, C), and the
centring of the tokens as ``centre/shift`` and ``centre/scale`` (D,). Its record says the shape of a `TokenHead`
(`head`), so that other rows can learn on the codes of any method's head (`load_coded`), and `oracle` where labels of a
split moved it, which predictions of it and rows that learn after it carry on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchbank import threads as cpu_threads
from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.checkpoints.store import check_backbone, check_keys, load_checkpoint, save_checkpoint
from patchbank.clustering.kmeans import KMeansSettings, cap, fit_kmeans
from patchbank.devices import torch_device
from patchbank.errors import UserError
from patchbank.memory import release
from patchbank.methods.jobs import PredictJob, TrainJob
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.heads import decoder_tensors, load_decoder, load_own
from patchbank.methods.tools.token_heads import TokenHead, with_shape
from patchbank.predictions import PredictionRecord, PredictionWriter, class_variants
from patchbank.progress import track
from patchbank.seeds import derive
from patchbank.variants import variant_name

CLASSES = "classes/"
BLOCK = 4096
"""Tokens whose codes are computed at a time."""


@dataclass(frozen=True)
class Classes:
    """What tells classes apart, by variant of the predictions; the first variant is the one that pictures get.

    Attributes:
        vectors: (K, C) float32 each.
        sizes: number of clusters of the variant, K or more: those beyond K are never predicted.
    """

    vectors: Mapping[str, Tensor]
    sizes: Mapping[str, int]


class ClassHead(nn.Module):
    """A trained head, as `patchbank.methods.shape.TokenModel`.

    Args:
        encoder: centred tokens (B, N, D) -> codes (B, N, C).
        classes: of its predictions.
        centring: of the tokens.
        record: where the head comes from.
        dim: width D of the tokens.
    """

    shift: Tensor | None
    scale: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        classes: Classes,
        centring: Centring,
        record: Mapping[str, Any],
        dim: int,
    ) -> None:
        super().__init__()
        self.encoder, self.centring, self.record, self.dim = encoder, centring, record, dim
        self.learned = {name: len(vectors) for name, vectors in classes.vectors.items()}
        self.sizes, self.segments = dict(classes.sizes), next(iter(self.learned.values()))
        self.vectors = nn.Buffer(torch.cat([vectors.float() for vectors in classes.vectors.values()]))
        shift, scale = centring.shift_and_scale()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.requires_grad_(False)

    def first_vectors(self) -> Tensor:
        """Vectors (K, C) of the first variant."""
        return self.vectors[: self.segments]

    def codes(self, tokens: Tensor) -> Tensor:
        """Codes (B, N, C) of tokens (B, N, D) as they are stored."""
        centred = tokens.float()
        centred = centred if self.shift is None else centred - self.shift
        centred = centred if self.scale is None else centred * self.scale
        codes: Tensor = self.encoder(centred)
        return codes

    def all_scores(self, tokens: Tensor) -> Tensor:
        """Scores (B, sum of K, N) of tokens (B, N, D), the variants one after the other."""
        scores: Tensor = self.vectors @ self.codes(tokens).transpose(1, 2)
        return scores

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (B, K, N) of the first variant."""
        return self.all_scores(tokens)[:, : self.segments]

    def scores(self, tokens: Tensor) -> Tensor:
        """The same of stored tokens."""
        return self.forward(tokens)


Head = TypeVar("Head", bound=ClassHead)


def save_class_head(
    job: TrainJob, encoder: nn.Module, classes: Classes, centring: Centring, record: Mapping[str, Any]
) -> None:
    """Write the checkpoint of a training; `record` holds at least `dim` and `backbone`."""
    tensors = decoder_tensors(encoder) | {CLASSES + name: vectors for name, vectors in classes.vectors.items()}
    tensors |= centre_tensors(centring)
    known = {"method": job.folder, "seed": job.seed, "settings": dict(job.settings)}
    known["variants"] = [[name, classes.sizes[name]] for name in classes.vectors]
    known |= _shape_of(encoder) | job.oracle()
    save_checkpoint(job.files.checkpoint, tensors, {**record, **known})


def import_class_head(
    target: Path,
    method: str,
    head: nn.Module,
    vectors: Tensor,
    settings: Mapping[str, Any],
    source: str,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a head of published code, which has one set of classes (K, C) and does not centre tokens.

    What the record of a training holds besides is given as `more`.

    Raises:
        UserError: classes of another width than the codes.
    """
    if vectors.shape[1] != getattr(head, "width", vectors.shape[1]):
        raise UserError(
            f"{source}: codes have width {head.width}, classes {vectors.shape[1]}; they are of two trainings."
        )
    variant, k = variant_name(len(vectors), 0), len(vectors)
    tensors = decoder_tensors(head) | {CLASSES + variant: vectors}
    record = {"method": method, "settings": dict(settings), "variants": [[variant, k]], "imported_from": source}
    record |= _shape_of(head) | dict(more)
    save_checkpoint(target, tensors, {**record, "dim": getattr(head, "dim", vectors.shape[1])})


def _shape_of(encoder: nn.Module) -> dict[str, Any]:
    return {"head": encoder.shape()} if isinstance(encoder, TokenHead) else {}


def load_class_head(path: str | Path, method: str, encoder: nn.Module | None = None) -> ClassHead:
    """A checkpoint of `method` as a plain `ClassHead`; see `load_head_as`."""
    return load_head_as(ClassHead, path, method, encoder)


def load_head_as(kind: type[Head], path: str | Path, method: str, encoder: nn.Module | None = None) -> Head:
    """Read a checkpoint of `method`.

    Args:
        kind: of the head.
        path: the checkpoint.
        method: folder of the method.
        encoder: a module of the right shape, whose parameters are replaced; None for the one that the record describes,
            and where it describes none codes are tokens.

    Raises:
        UserError: it is no checkpoint of the method, or its keys do not fit.
    """
    tensors, record = load_own(path, method)
    if encoder is None:
        encoder = with_shape(record["head"]) if "head" in record else nn.Identity()
    sizes = {str(name): int(k) for name, k in record["variants"]}
    vectors = {name: tensors[CLASSES + name] for name in sizes if CLASSES + name in tensors}
    centring = stored_centring(tensors)
    expected = decoder_tensors(encoder) | centre_tensors(centring)
    expected |= {CLASSES + name: vectors.get(name, torch.empty(0)) for name in sizes}
    check_keys(path, tensors, expected)
    load_decoder(encoder, tensors)
    return kind(encoder, Classes(vectors, sizes), centring, record, int(record["dim"])).eval()


def load_coded(path: str | Path) -> ClassHead:
    """Read a checkpoint of any method that gives tokens codes (`patchbank.methods.shape.Traits.codes`).

    Raises:
        UserError: it is no checkpoint of such a method.
    """
    _, record = load_checkpoint(path)
    if "head" not in record:
        raise UserError(
            f"{path} is a checkpoint of {record.get('method')!r} and does not say how tokens get codes; name one of a "
            "head on single tokens, or train or import it again where it is older."
        )
    return load_class_head(path, str(record["method"]))


def stored_centring(tensors: Mapping[str, Tensor]) -> Centring:
    """The centring that `centre_tensors` returned."""
    if "centre/shift" not in tensors:
        return Centring()
    scale = tensors.get("centre/scale")
    return Centring(tensors["centre/shift"].double(), None if scale is None else scale.double().reciprocal())


def centre_tensors(centring: Centring) -> dict[str, Tensor]:
    """A centring under the names that a checkpoint gives it."""
    named = zip(("centre/shift", "centre/scale"), centring.shift_and_scale(), strict=True)
    return {name: value for name, value in named if value is not None}


def predict_classes(job: PredictJob, model: ClassHead) -> None:
    """Write the scores of all variants of every image of a split.

    The bank `mirrored`, where the job has one, is averaged with `whole`: patches of the mirror image are mirrored back.

    Raises:
        UserError: the head was trained on another backbone, or the banks do not belong together.
    """
    cpu_threads.limit(job.threads)
    bank, checkpoint = open_bank(job.banks["whole"]), job.trained()
    mirror = open_bank(job.banks["mirrored"]) if "mirrored" in job.banks else None
    check_backbone(model.record, bank.record.get("backbone", {}), checkpoint)
    if bank.dim != model.dim:
        raise UserError(f"The head reads tokens of width {model.dim}, the bank's have {bank.dim}.")
    if mirror is not None and (mirror.images, mirror.grid) != (bank.images, bank.grid):
        raise UserError(f"The banks {bank.folder} and {mirror.folder} differ in images or size; extract both again.")
    device = torch_device(job.device)
    model.to(device)
    names = (job.dataset, job.split, job.row)
    known = (bank.input_size, dict(job.settings), model.record.get("oracle"))
    record = PredictionRecord(*names, "classes", job.seed, "bilinear", *known)
    starts = np.cumsum([0, *model.learned.values()])
    size = max(1, BLOCK // bank.tokens_per_view)
    with PredictionWriter(job.out, record, bank.images, model.sizes, bank.grid) as writer, torch.no_grad():
        for start in track(range(0, len(bank), size), f"predict {job.row}", "block"):
            rows = np.arange(start, min(start + size, len(bank)))
            scores = _scores_of(model, bank, rows, device)
            if mirror is not None:
                scores = (scores + _scores_of(model, mirror, rows, device).flip(3)) / 2
            for number, (name, k) in enumerate(model.sizes.items()):
                part = scores[:, starts[number] : starts[number + 1]].cpu().numpy()
                # clusters beyond the classes are there for protocols with more of them, and are never predicted
                padded = np.pad(part, ((0, 0), (0, k - part.shape[1]), (0, 0), (0, 0)), constant_values=-np.inf)
                writer.write_scores(name, start, padded)
            release()


def _scores_of(model: ClassHead, bank: Bank, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    stored = torch.from_numpy(bank.read(rows, ("tokens",))["tokens"][:, 0]).to(device)
    scores = model.all_scores(stored)
    return scores.view(*scores.shape[:2], *bank.grid)


def repeat_classes(vectors: Tensor, settings: Mapping[str, Any]) -> Classes:
    """The vectors (K, C) of the number of classes that was learned, under every number of clusters that holds it."""
    sizes = class_variants(settings["k"], settings["kmeans_seeds"][0], len(vectors))
    return Classes(dict.fromkeys(sizes, vectors), sizes)


def cluster_codes(
    bank: Bank, encoder: nn.Module, centring: Centring, settings: Mapping[str, Any], seed: int
) -> Classes:
    """Spherical k-means of the final codes: what gives a head its classes without a probe that is trained with it.

    Args:
        bank: `whole`, of the split whose codes are clustered.
        encoder: tokens -> codes.
        centring: of the tokens.
        settings: `sample` (tokens), `k`, `kmeans_seeds`, `kmeans`, as a method resolved them.
        seed: of the training.

    Returns:
        ``k<asked>-s<k-means seed>``, unit centroids each.
    """
    sampled = torch.from_numpy(sample_tokens(bank, settings["sample"], seed))
    with torch.no_grad():
        device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
        parts = [encoder(centring(block)[None].to(device))[0].cpu() for block in torch.split(sampled, BLOCK)]
    return cluster_sampled(torch.cat(parts), settings, seed)


def cluster_sampled(codes: Tensor, settings: Mapping[str, Any], seed: int) -> Classes:
    """Spherical k-means of codes (m, C); `settings` and what is returned as of `cluster_codes`."""
    points: NDArray[np.float32] = unit(codes).numpy()
    options = KMeansSettings(**settings["kmeans"], spherical=True)
    centroids = {}
    for k in settings["k"]:
        for number in settings["kmeans_seeds"]:
            fit = fit_kmeans(points, cap(k, len(points)), derive("code clusters", seed, k, number), options)
            centroids[variant_name(k, number)] = unit(torch.from_numpy(fit.centroids))
    return Classes(centroids, {name: len(vectors) for name, vectors in centroids.items()})
