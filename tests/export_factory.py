"""A folder as `patchbank segment` leaves it, one of its pictures a GeoTIFF; and a reader of Label Studio's brushes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import Affine

from patchbank.clustering.projection import Projection
from patchbank.inference.naming import Naming, SegmentClusters
from patchbank.inference.pictures import GridSegments, PictureWriter

SIZES = {"a": (40, 56), "deep/b é": (33, 21), "map": (48, 48)}
SUFFIXES = {"a": ".jpg", "deep/b é": ".png", "map": ".tif"}
COLOURS = np.array([[230, 159, 0], [86, 180, 233], [0, 158, 115], [86, 180, 233]], dtype=np.uint8)
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)
EPSG = 32632


def make_segmented(folder: Path) -> Path:
    """Label maps of three pictures in four clusters, the last of which has the colour of the second; returns `out`."""
    random, sources = np.random.default_rng(0), {}
    for name, (height, width) in SIZES.items():
        path = folder / "pictures" / f"{name}{SUFFIXES[name]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if path.suffix == ".tif":
            shape = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"}
            with rasterio.open(path, "w", **shape, crs=f"EPSG:{EPSG}", transform=TRANSFORM) as raster:
                raster.write(pixels.transpose(2, 0, 1))
        else:
            Image.fromarray(pixels).save(path)
        sources[name] = path
    nothing = np.zeros(0)
    clusters = SegmentClusters(nothing, nothing, Projection(nothing, nothing, False), nothing, True, nothing)  # type: ignore[arg-type]
    names = tuple(f"cluster {index}" for index in range(4))
    naming = Naming("clusters", names, COLOURS, "a run", clusters, "k4-s0")
    run = {"clusters": "0123456789abcdef", "checkpoint": "ff"}
    writer = PictureWriter(folder / "out", naming, run=run, sources=sources)
    writer.write_legend()
    for number, name in enumerate(SIZES):
        scores = np.random.default_rng(number).random((5, 4, 5), dtype=np.float32) * 8
        with Image.open(sources[name]) as image:
            writer(name, image.convert("RGB"), GridSegments(scores, np.array([0, 1, 2, 3, -1])))
    return folder / "out"


def labels_of(out: Path, name: str) -> NDArray[np.uint8]:
    """(H, W) ids, 255 where there is none."""
    with Image.open(out / "labels" / f"{name}.png") as image:
        return np.asarray(image)


def decode_brush(packed: list[int], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask of an `rle`, by the published scheme: a bit stream read number by number."""
    bits, position = "".join(f"{byte:08b}" for byte in packed), 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    rgba = np.array(values, dtype=np.uint8).reshape(*size, 4)
    assert total == rgba.size
    assert (rgba == rgba[..., :1]).all()
    assert set(np.unique(rgba)) <= {0, 255}
    return rgba[..., 3] > 0
