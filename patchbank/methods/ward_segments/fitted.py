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
from patchbank.methods.tools.image_segments import image_segments
from patchbank.variants import is_variant

EQUAL = np.float32(0.5**0.5)
"""Factor of each of two parts of unit length, of which the whole has unit length."""


@dataclass(frozen=True)
class Segmenter:
    """How tokens are compared, and the segments of one image by it.

    Attributes:
        whitening: of tokens; its results have unit length.
        coder: codes of tokens; None where whitened tokens are compared alone.
        settings: resolved ones of the method.
        seed: of the row.
    """

    whitening: Projection
    coder: Coder | None
    settings: Mapping[str, Any]
    seed: int

    def features(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(N, E) of unit length, of tokens (N, D): whitened ones, and codes that count as much."""
        white = self.whitening(tokens)
        return white if self.coder is None else np.concatenate([white, self.coder(tokens)], 1) * EQUAL

    def segments(self, tokens: NDArray[np.floating[Any]], image: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Segments of one image, those without a patch left out.

        Args:
            tokens: (N, D).
            image: content id.

        Returns:
            Segment (N,) of every patch, 0 to S - 1, and the mean features (S, E) of the segments, of unit length.
        """
        q = int(self.settings["segments"])
        points = self.features(tokens)
        labels = image_segments(points, q, self.seed, image, KMeansSettings(**self.settings["kmeans"]))
        used, labels = np.unique(labels, return_inverse=True)
        sums = np.zeros((len(used), points.shape[1]), np.float32)
        np.add.at(sums, labels, points)
        return labels, sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), EPSILON)


@dataclass(frozen=True)
class Fitted:
    """A training's result.

    Attributes:
        segmenter: of images.
        centres: variant -> (K, E) float32, the mean of the segments of each class.
    """

    segmenter: Segmenter
    centres: Mapping[str, NDArray[np.float32]]

    def scores(self, tokens: NDArray[np.floating[Any]], image: str) -> dict[str, NDArray[np.float32]]:
        """Scores (K, N) of one image's tokens (N, D) by variant: every patch has those of its segment.

        The highest is the class whose mean is nearest to that of the segment.
        """
        labels, means = self.segmenter.segments(tokens, image)
        return {name: scores(means, centres, False)[labels].T for name, centres in self.centres.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, for storage."""
        coder = self.segmenter.coder
        return {**self.segmenter.whitening.arrays(), **({} if coder is None else coder.arrays()), **self.centres}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> Fitted:
        """The inverse of `arrays`, with the checkpoint's record."""
        coder = Coder.from_arrays(arrays, record["after"]["head"]) if "after" in record else None
        whitening = Projection.from_arrays(arrays)
        segmenter = Segmenter(whitening, coder, record["settings"], int(record["seed"]))
        return cls(segmenter, {name: array for name, array in arrays.items() if is_variant(name)})
