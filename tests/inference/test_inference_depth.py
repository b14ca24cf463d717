"""A deep picture, its 8-bit twin and one with dead pixels get the same segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from bank_factory import TINY
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans

from patchbank.backbones.vit import FrozenViT
from patchbank.datasets.demo import generate
from patchbank.datasets.depth import Scale, Treatment
from patchbank.datasets.images import load_image
from patchbank.inference.tokens import squashed, whole_tokens

TWINS = ("twelve.tif", "eight.png", "dead.tif")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of 12 bits in a 16-bit TIFF, its upper 8 bits, and the same with two dead pixels."""
    folder = tmp_path_factory.mktemp("twins")
    generate(folder / "demo", train=1, val=1, size=112)
    with Image.open(next((folder / "demo" / "images" / "val").iterdir())) as image:
        eight = np.asarray(image.convert("RGB"))
    twelve = eight.astype(np.uint16) * 16 + np.random.default_rng(0).integers(0, 16, eight.shape, dtype=np.uint16)
    Image.fromarray((twelve >> 4).astype(np.uint8)).save(folder / TWINS[1])
    for name, dead in ((TWINS[0], []), (TWINS[2], [(17, 40), (90, 99)])):
        values = twelve.copy()
        for row, column in dead:
            values[row, column] = 65535
        tifffile.imwrite(folder / name, values, photometric="rgb", compression="zlib", rowsperstrip=16)
    return folder


@pytest.fixture(scope="module")
def vit() -> FrozenViT:
    torch.manual_seed(0)
    return FrozenViT(TINY, None, device="cpu")


def segments(folder: Path, vit: FrozenViT, scale: Scale) -> list[NDArray[np.int64]]:
    """Cluster of every patch of the twins, the clusters being those of the first."""
    pictures = [squashed(load_image(folder / name, Treatment(scale)), vit.patch, 224) for name in TWINS]
    with torch.inference_mode():
        tokens = [whole_tokens(vit, [one])[0][0].float().numpy() for one in pictures]
    head = KMeans(5, n_init=4, random_state=0).fit(tokens[0])
    return [np.asarray(head.predict(one)) for one in tokens]


def test_twins_get_the_same_segments(twins: Path, vit: FrozenViT) -> None:
    deep, eight, dead = segments(twins, vit, "percentile")
    assert len(set(deep)) == 5
    assert [(one != deep).mean() <= 0.02 for one in (eight, dead)] == [True, True]


def test_dead_pixels_darken_a_picture_that_is_scaled_by_its_extremes(twins: Path, vit: FrozenViT) -> None:
    deep, _, dead = segments(twins, vit, "minmax")
    assert (dead != deep).mean() > 0.02
