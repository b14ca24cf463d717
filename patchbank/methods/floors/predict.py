"""Segments of the floors, image by image; a decision is seeded by (floor, q, seed, image)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.methods.floors.settings import FloorSettings
from patchbank.methods.jobs import PredictJob
from patchbank.methods.tools.image_segments import image_segments
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track
from patchbank.seeds import generator


def predict(job: PredictJob) -> None:
    """Write the floor's segments of one split."""
    options = FloorSettings.parse(job.settings)
    bank = open_bank(job.banks["whole"])
    moments = Statistics.load(job.statistics)
    centring = fit_projection(np.zeros((1, bank.dim)), ProjectionSettings(options.centre, normalise=True), moments)
    record = PredictionRecord(
        job.dataset, job.split, job.row, "segments", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    with PredictionWriter(job.out, record, bank.images, {"segments": options.q}, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            points = np.zeros((0, bank.dim), dtype=np.float32)
            if options.floor == "image-kmeans":
                points = centring(bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim))
            labels = segments_of(options, job.seed, bank.images[row], bank.grid, points)
            writer.write_labels("segments", row, labels[None])


def segments_of(
    options: FloorSettings, seed: int, image: str, grid: tuple[int, int], points: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Segments (h, w) of one image.

    Args:
        options: which floor.
        seed: of the row.
        image: content id.
        grid: (h, w).
        points: (N, D) centred tokens of unit length; read by `image-kmeans` alone.
    """
    if options.floor == "voronoi":
        return voronoi(grid, options.q, generator("voronoi", options.q, seed, image))
    if options.floor == "image-kmeans":
        return image_segments(points, options.q, seed, image, options.kmeans).reshape(grid)
    return np.zeros(grid, dtype=np.int64)


def voronoi(grid: tuple[int, int], q: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels (h, w) of random Voronoi cells: q points uniform in the unit square, nearest point wins, first on ties."""
    points = rng.random((q, 2))
    y, x = np.meshgrid((np.arange(grid[0]) + 0.5) / grid[0], (np.arange(grid[1]) + 0.5) / grid[1], indexing="ij")
    distance = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    nearest: NDArray[np.int64] = distance.argmin(-1)
    return nearest
