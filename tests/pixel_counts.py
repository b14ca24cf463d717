"""Counts made of a few predicted and true pixels, and scenes to draw them from."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from patchbank.evaluation.counts import (
    Counts,
    count_image,
    count_instances,
)

Images = list[tuple[np.ndarray, np.ndarray]]
C = 4
"""Classes of `scenes`."""


def make_counts(images: list[tuple[np.ndarray, np.ndarray]], k: int, c: int) -> Counts:
    triples = [count_image(p, t, k, c) for p, t in images]
    segment, klass, count = (np.concatenate(parts) for parts in zip(*triples, strict=True))
    image = np.repeat(np.arange(len(images), dtype=np.int32), [len(t[0]) for t in triples])
    names = tuple(f"{i:016x}" for i in range(len(images)))
    return Counts(names, image, segment.astype(np.int32), klass.astype(np.int32), count, k, c, "full")


def instance_counts(images: Images, k: int) -> Counts:
    triples = [count_instances(p, t, k) for p, t in images]
    segment, klass, count = (np.concatenate(parts) for parts in zip(*triples, strict=True))
    image = np.repeat(np.arange(len(images), dtype=np.int32), [len(t[0]) for t in triples])
    names = tuple(str(i) for i in range(len(images)))
    parts = (image, segment.astype(np.int32), klass.astype(np.int32), count)
    return Counts(names, *parts, k, int(klass.max()) + 1, "full", "instance")


@st.composite
def scenes(draw: st.DrawFn, k: int) -> Images:
    """Images with ids 0..k-1 and few labels, so that classes and clusters are absent often; 255 = ignored."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.choice([*range(C), 255], draw(st.integers(1, 4)))
    used = rng.integers(0, k, draw(st.integers(1, k)))
    size = draw(st.integers(1, 30))
    images = [(rng.choice(used, size), rng.choice(labels, size)) for _ in range(draw(st.integers(1, 3)))]
    images[0][1][0] = rng.integers(0, C)  # at least one labelled pixel
    return images


def iou(mask: np.ndarray, other: np.ndarray, empty: float = 0.0) -> float:
    union = (mask | other).sum()
    return float((mask & other).sum() / union) if union else empty
