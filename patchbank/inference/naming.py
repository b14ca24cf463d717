"""What a segment is called: an id inside its picture, a cluster of the dataset, or a class.

AlignSeg's segments mean something inside one picture only. Where the run has segment clusters (`clusters.npz` of stage
`segment_clusters`), a segment's mean token is given to the nearest cluster, exactly as that stage does it. Where the
run was also scored, clusters become classes through the matching in `scores.json`, which was made with the labels of
the evaluation split: good for pictures, and no result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.kmeans import assign
from patchbank.clustering.projection import Projection
from patchbank.datasets.manifest import Manifest, manifest_above
from patchbank.drawing.overlay import UNMATCHED, class_colours, palette
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.recognise import read_arrays
from patchbank.segments.cluster import embed_segments
from patchbank.variants import k_and_seed, variant_name

MOST = 255
"""Ids that a palette PNG can hold beside the one for pixels without an id."""
NAMED = "Segment clusters are named by their file, results/<set>/<method>/seed<n>/clusters.npz."


@dataclass(frozen=True)
class Naming:
    """From segments to ids.

    Attributes:
        kind: what an id is.
        names: of each id.
        colours: (ids, 3) uint8 RGB of each id.
        source: a few words on where the ids come from.
        clusters: None for ids inside one picture.
        variant: number and seed of the clusters, ``k8-s0``; "" for ids inside one picture.
        assignment: (segments,) int64, the id of each segment of a method whose segments mean the same in every picture,
            `UNMATCHED` for none; None where an id is the segment's number.
    """

    kind: Literal["segments", "clusters", "classes"]
    names: tuple[str, ...]
    colours: NDArray[np.uint8]
    source: str
    clusters: SegmentClusters | None = None
    variant: str = ""
    assignment: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.names) > MOST:
            raise UserError(f"{self.source}: {len(self.names)} {self.kind}, but a palette PNG holds {MOST} ids.")


@dataclass(frozen=True)
class SegmentClusters:
    """Fitted segment clusters.

    Attributes:
        token_shift, token_scale: (D,), what is done to the mean token of a segment.
        projection: what is done to its embedding.
        centroids: (K, d) float32.
        spherical: whether the nearest centroid is the one with the largest inner product.
        assignment: (K,) int64, the id of each cluster, `UNMATCHED` for none.
    """

    token_shift: NDArray[np.float64]
    token_scale: NDArray[np.float64]
    projection: Projection
    centroids: NDArray[np.float32]
    spherical: bool
    assignment: NDArray[np.int64]

    def ids(self, labels: NDArray[np.int64], tokens: NDArray[Any], segments: int) -> NDArray[np.int64]:
        """Id (Q,) of each segment from labels (N,) and tokens (N, D); `UNMATCHED` where a segment has no patch."""
        embeddings, used = embed_segments(labels, tokens, segments, self.token_shift, self.token_scale)
        nearest = assign(self.projection(embeddings), self.centroids, self.spherical)
        return np.where(used, self.assignment[nearest], UNMATCHED)


def own_segments(segments: int) -> Naming:
    """Ids inside each picture."""
    return Naming("segments", tuple(f"segment {i}" for i in range(segments)), palette(segments), "each picture")


def head_ids(checkpoint: str | Path, record: Mapping[str, Any], segments: int) -> Naming:
    """Ids of a method whose segments mean the same in every picture: classes where they were matched, else clusters.

    Args:
        checkpoint: ``results/<set>/<row>/seed<n>/checkpoint.safetensors``, or one that stands elsewhere.
        record: of the checkpoint; the first of `variants` names the clusters.
        segments: their number.
    """
    path = Path(checkpoint)
    variants = record.get("variants") or [[variant_name(segments, 0), segments]]
    variant = str(variants[0][0])
    matching, manifest = _matching(path), manifest_above(path.resolve(), 2)
    assignment = np.array(matching.get("assignment") or (), dtype=np.int64)
    if manifest is None or matching.get("variant") != variant or len(assignment) != segments:
        names = tuple(f"cluster {i}" for i in range(segments))
        return Naming("clusters", names, palette(segments), f"{path}, {variant}", None, variant)
    known = Manifest.load(manifest)
    colours = class_colours(known.colours, len(known.classes))
    source = f"{known.dataset} ({path}, {variant})"
    return Naming("classes", known.classes, colours, source, None, variant, assignment)


def dataset_ids(path: str | Path, dim: int) -> Naming:
    """Dataset-wide ids from a run's segment clusters.

    Classes where `scores.json` beside the run's seeds holds a matching of this seed and `manifest.json` above names
    classes; else the clusters of the smallest K and seed.

    Args:
        path: ``results/<set>/<method>/seed<n>/clusters.npz``.
        dim: width D of the tokens.

    Raises:
        UserError: an unreadable file, one without what inference needs, of another width, or with too many ids.
    """
    path = Path(path)
    arrays = read_arrays(path, ("tables",), "a file of segment clusters", NAMED)
    if "token_shift" not in arrays:
        raise UserError(f"{path} holds no segment clusters that other pictures can use; run `snakemake {path}` again.")
    if len(arrays["token_shift"]) != dim:
        raise UserError(f"{path} clusters tokens of width {len(arrays['token_shift'])}, the checkpoint's have {dim}.")
    matching, manifest = _matching(path), manifest_above(path.resolve(), 2)
    named = bool(matching) and manifest is not None
    variant = matching["variant"] if named else min(map(str, arrays["tables"]), key=k_and_seed)
    centroids = arrays.get(f"centroids/{variant}", np.empty((0, dim), np.float32))
    clusters = SegmentClusters(
        token_shift=arrays["token_shift"],
        token_scale=arrays["token_scale"],
        projection=Projection.from_arrays(arrays),
        centroids=centroids,
        spherical=bool(arrays["spherical"]),
        assignment=np.array(matching["assignment"] if named else range(len(centroids)), dtype=np.int64),
    )
    if len(clusters.assignment) != len(centroids):
        raise UserError(
            f"{path} has {len(centroids)} clusters, scores.json matches {len(clusters.assignment)}; score again."
        )
    if manifest is None or not named:
        names = tuple(f"cluster {i}" for i in range(len(centroids)))
        return Naming("clusters", names, palette(len(centroids)), f"{path}, {variant}", clusters, variant)
    known = Manifest.load(manifest)
    colours = class_colours(known.colours, len(known.classes))
    return Naming("classes", known.classes, colours, f"{known.dataset} ({path}, {variant})", clusters, variant)


def _matching(path: Path) -> Mapping[str, Any]:
    """The matching of clusters and classes of this run's seed, empty where there is none."""
    run = path.resolve().parent
    scores = run.parent / "scores.json"
    matching: Mapping[str, Any] = (read_json(scores).get("matching") if scores.is_file() else None) or {}
    if not matching.get("assignment") or run.name != f"seed{matching['training_seed']}":
        return {}
    return matching
