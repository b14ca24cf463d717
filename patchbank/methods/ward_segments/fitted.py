"""What a training of `ward-segments` finds, and how an image gets its classes by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.centring import EPSILON
from patchbank.clustering.kmeans import KMeansSettings, scores
from patchbank.clustering.projection import Projection
from patchbank.methods.tools.coded import Coder
from patchbank.methods.tools.foreground_split import Split, with_background
from patchbank.methods.tools.image_segments import image_segments
from patchbank.variants import is_variant

EQUAL = np.float32(0.5**0.5)
"""Factor of each of two parts of unit length, of which the whole has unit length."""


@dataclass(frozen=True)
class Segments:
    """Segments of one image.

    Attributes:
        labels: (N,), the segment of every patch, 0 to S - 1; each has a patch.
        means: (S, E), the mean features of each, of unit length.
        margins: (S,), how far each lies in the foreground, in the mean over its patches; None without a background.
    """

    labels: NDArray[np.int64]
    means: NDArray[np.float32]
    margins: NDArray[np.float32] | None

    def foreground(self) -> NDArray[np.float32]:
        """The means of those that are no background."""
        return self.means if self.margins is None else self.means[self.margins > 0]


@dataclass(frozen=True)
class Segmenter:
    """How tokens are compared, and the segments of one image by it.

    Attributes:
        whitening: of tokens; its results have unit length.
        coder: codes of tokens; None where whitened tokens are compared alone.
        settings: resolved ones of the method.
        seed: of the row.
        split: foreground against background; None where no class is the background.
    """

    whitening: Projection
    coder: Coder | None
    settings: Mapping[str, Any]
    seed: int
    split: Split | None = None

    def features(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(N, E) of unit length, of tokens (N, D): whitened ones, and codes that count as much."""
        white = self.whitening(tokens)
        return white if self.coder is None else np.concatenate([white, self.coder(tokens)], 1) * EQUAL

    def segments(self, tokens: NDArray[np.floating[Any]], image: str) -> Segments:
        """Segments of one image.

        Args:
            tokens: (N, D).
            image: content id.
        """
        q = int(self.settings["segments"])
        points = self.features(tokens)
        labels = image_segments(points, q, self.seed, image, KMeansSettings(**self.settings["kmeans"]))
        used, labels = np.unique(labels, return_inverse=True)
        sums = np.zeros((len(used), points.shape[1]), np.float32)
        np.add.at(sums, labels, points)
        means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), EPSILON)
        margins = None
        if self.split is not None:
            sizes = np.bincount(labels)
            margins = (np.bincount(labels, self.split.margins(tokens)) / sizes).astype(np.float32)
        return Segments(labels, means, margins)


@dataclass(frozen=True)
class Fitted:
    """A training's result.

    Attributes:
        segmenter: of images.
        centres: variant -> (K, E) float32, the mean of the segments of each class; the background, which is class 0
            where there is one, has none.
    """

    segmenter: Segmenter
    centres: Mapping[str, NDArray[np.float32]]

    @property
    def classes(self) -> dict[str, int]:
        """Number K of classes by variant, the background among them."""
        backgrounds = int(self.segmenter.split is not None)
        return {name: backgrounds + len(centres) for name, centres in self.centres.items()}

    def scores(self, tokens: NDArray[np.floating[Any]], image: str) -> dict[str, NDArray[np.float32]]:
        """Scores (K, N) of one image's tokens (N, D) by variant: every patch has those of its segment.

        The highest is the class whose mean is nearest to that of the segment. Where there is a background, that of a
        foreground segment is its margin, all of a background segment are its margin, and the background's is 0.
        """
        segments, values = self.segmenter.segments(tokens, image), {}
        for name, centres in self.centres.items():
            near = scores(segments.means, centres, False)
            if segments.margins is not None:
                near[segments.margins <= 0] = 0  # no class is nearer, so that none shows at an object's border
                near = with_background(near, segments.margins)
            values[name] = near[segments.labels].T
        return values

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, for storage."""
        stored: dict[str, NDArray[Any]] = dict(self.centres)
        for part in (self.segmenter.whitening, self.segmenter.coder, self.segmenter.split):
            stored |= {} if part is None else part.arrays()
        return stored

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> Fitted:
        """The inverse of `arrays`, with the checkpoint's record."""
        coder = Coder.from_arrays(arrays, record["after"]["head"]) if "after" in record else None
        whitening = Projection.from_arrays(arrays)
        split = Split.from_arrays(arrays) if record["settings"].get("background") else None
        segmenter = Segmenter(whitening, coder, record["settings"], int(record["seed"]), split)
        return cls(segmenter, {name: array for name, array in arrays.items() if is_variant(name)})
