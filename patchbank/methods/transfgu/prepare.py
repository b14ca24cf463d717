"""What training needs before its first step: centroids and pseudo labels, made once and kept beside the run's state.

Its folder then holds `centroids.safetensors` and `pseudo_labels.h5`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from patchbank.backbones.tail import load_tail
from patchbank.bank.format import content_hash
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import load_checkpoint, save_tensors
from patchbank.clustering.projection import Projection
from patchbank.files import digest
from patchbank.methods.transfgu.centroids import Centroids, make_centroids
from patchbank.methods.transfgu.pseudo_labels import PseudoLabels, gradient_rows, similarity_rows, write_pseudo_labels
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.methods.transfgu.similarity import TokenClasses, fit_token_classes

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank


@dataclass(frozen=True)
class Prepared:
    """Centroids, their projection (token similarity only), and the maps made with them."""

    centroids: Centroids
    projection: Projection | None
    labels: PseudoLabels

    def tensors(self) -> dict[str, Tensor]:
        """What the checkpoint keeps of it."""
        return classes_tensors(self.centroids, self.projection)


def prepare(
    banks: Mapping[str, Bank],
    statistics: Statistics,
    settings: TransFGUSettings,
    seed: int,
    folder: Path,
    device: torch.device,
) -> Prepared:
    """Make both, or take what an interrupted run left.

    Raises:
        UserError: fewer features than centroids, a class without members, or pseudo labels in the state's folder that
            were made with other centroids.
    """
    similar = settings.pseudo_label == "token_similarity"
    centroids, projection = find_centroids(banks, statistics, settings, seed, folder)
    source = banks["whole" if similar else "lastblock"]
    identity: dict[str, Any] = {
        "pseudo_label": settings.pseudo_label,
        "bank": digest(source.record, 16),
        "centroids": centroids.digest(),
        "gradient_batch": None if similar else settings.gradient_batch,
        "segments": settings.segments if similar else None,
    }
    path = folder / "pseudo_labels.h5"
    if not path.is_file():
        if similar:
            assert projection is not None
            rows = similarity_rows(source, TokenClasses.of(projection, centroids, settings, seed))
        else:
            tail = load_tail(source.folder, content_hash(source.record))
            rows = gradient_rows(source, tail, centroids.vectors, settings.gradient_batch, device)
        write_pseudo_labels(path, source, rows, settings.maps, identity, signed=similar)
    return Prepared(centroids, projection, PseudoLabels(path, identity))


def classes_tensors(centroids: Centroids, projection: Projection | None) -> dict[str, Tensor]:
    """Centroids and projection as tensors."""
    tensors = {"centroids": torch.from_numpy(centroids.vectors)}
    if projection is not None:
        tensors |= {f"projection/{name}": torch.from_numpy(array) for name, array in projection.arrays().items()}
    return tensors


def stored_projection(tensors: Mapping[str, Tensor]) -> Projection | None:
    """The projection among the tensors that `classes_tensors` made."""
    arrays = {n.removeprefix("projection/"): t.numpy() for n, t in tensors.items() if n.startswith("projection/")}
    return Projection.from_arrays(arrays) if arrays else None


def find_centroids(
    banks: Mapping[str, Bank], statistics: Statistics, settings: TransFGUSettings, seed: int, folder: Path
) -> tuple[Centroids, Projection | None]:
    """Centroids, and for token similarity their projection; those of an interrupted run where there are some."""
    path = folder / "centroids.safetensors"
    if path.is_file():
        tensors, record = load_checkpoint(path)
        members = tensors["members"].numpy()
        return Centroids(tensors["centroids"].numpy(), members, int(record["empty_images"])), stored_projection(tensors)
    projection: Projection | None = None
    if settings.pseudo_label == "token_similarity":
        fitted = fit_token_classes(banks["whole"], statistics, settings, seed)
        centroids, projection = fitted.centroids, fitted.projection
    else:
        features = banks["whole" if settings.window_feature == "pooled" else "windows"]
        centroids = make_centroids(features, settings, seed)
    tensors = {**classes_tensors(centroids, projection), "members": torch.from_numpy(centroids.members)}
    save_tensors(path, tensors, {"empty_images": centroids.empty_images})
    return centroids, projection
