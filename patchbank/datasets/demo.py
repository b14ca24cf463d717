"""The demo set: generated photographs of toys on three grounds, with exact class and instance masks.

It stands in for a dataset where there is none on disk, so that the whole pipeline can be tried. Each image has one
textured ground (meadow, water, cobbles) and up to 6 overlapping toys of 9 classes that differ in shape, texture and
hue, with random size, turn, jitter, shadow, lighting and noise. Every pixel's label is that of the topmost toy whose
outline contains the pixel's centre.

Output tree (layout `folder`): `images/{train,val}/NNNN.png` RGB, `masks/{train,val}/NNNN.png` palette PNG with class
ids, `instances/{train,val}/NNNN.png` 8-bit instance ids (0 = ground), and `demo.json`, which says how it was made.
An image depends on its seed, split and number only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from patchbank.datasets.classes import load_table
from patchbank.datasets.demo_textures import GROUNDS, TOYS, Field
from patchbank.errors import UserError
from patchbank.files import atomic_folder, atomic_path, write_json
from patchbank.progress import track
from patchbank.seeds import generator

TOYS_PER_IMAGE = (4, 6)
KINDS_PER_IMAGE = (2, 3)
"""Toys of one image are of this many classes at most: repeated toys are separate instances."""
RADIUS = (0.20, 0.32)
"""A toy's radius as a share of the image's side; 0.20 of 448 pixels covers 12 patches of 14 pixels across."""
VISIBLE = 0.5
"""At least this share of every toy stays visible under the toys above it (counted as discs)."""
INSIDE = 0.75
"""At least this share of every toy lies within the image."""
TRIES = 40
"""Tries a toy; a crowded image has fewer toys than were drawn."""
HUE_JITTER = 0.025
"""Largest turn of a toy's hue, as a share of the colour circle."""
LIGHT = 0.22
"""Brightness falls from 1 + LIGHT to 1 - LIGHT across the image."""
NOISE = 5.0
"""Standard deviation of the sensor noise, in grey levels."""
SHADOW = 0.45
"""How dark a toy's shadow is, 0 to 1."""
MARKER = "demo.json"


def generate(folder: str | Path, seed: int = 0, train: int = 64, val: int = 32, size: int = 224) -> None:
    """Write the demo set to `folder`, whole or not at all.

    Args:
        folder: target; an older demo set there is replaced, any other content is refused.
        seed: whole number; the same seed gives the same pixels.
        train: number of training images.
        val: number of validation images.
        size: side of the square images in pixels.

    Raises:
        UserError: `folder` holds something that is not a demo set.
    """
    target = Path(folder)
    if target.exists() and not (target / MARKER).is_file() and any(target.iterdir()):
        raise UserError(f"{target} holds files that are not a demo set; name an empty folder.")
    with atomic_folder(target) as temporary:
        _fill(temporary, seed, {"train": train, "val": val}, size)


def render(seed: int, split: str, number: int, size: int) -> tuple[NDArray[np.uint8], ...]:
    """One image with its labels.

    Returns:
        image (size, size, 3) uint8 RGB, class ids (size, size) uint8, instance ids (size, size) uint8, 0 = ground.
    """
    rng = generator("demo", seed, split, number)
    grounds, names = list(GROUNDS), list(TOYS)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64) + 0.5
    ground = int(rng.integers(len(grounds)))
    image = GROUNDS[grounds[ground]](x * 224 / size, y * 224 / size, rng)
    classes = np.full((size, size), ground, np.uint8)
    instances = np.zeros((size, size), np.uint8)
    for index, (kind, centre, radius, turn) in enumerate(_place(rng, len(names), size), start=1):
        u, v = _local(x - centre[0], y - centre[1], radius, turn)
        distance, colour = TOYS[names[kind]](u, v, rng)
        distance = distance * radius
        alpha = np.clip(0.5 - distance, 0, 1)
        _shade(image, alpha)
        seen = _box(alpha)
        share = alpha[seen][..., None]
        image[seen] = image[seen] * (1 - share) + _relief(_jitter(colour, rng, seen), distance[seen], radius) * share
        inside = distance < 0
        classes[inside] = len(grounds) + kind
        instances[inside] = index
    return _photograph(image, x / size, y / size, rng), classes, instances


def _place(rng: np.random.Generator, kinds: int, size: int) -> list[tuple[int, Field, float, float]]:
    """Class, centre (x, y), radius and turn of each toy, lowest first; toys count as discs here."""
    count = int(rng.integers(TOYS_PER_IMAGE[0], TOYS_PER_IMAGE[1] + 1))
    chosen = rng.permutation(kinds)[: rng.integers(KINDS_PER_IMAGE[0], KINDS_PER_IMAGE[1] + 1)]
    y, x = np.ogrid[0:size, 0:size]
    topmost = np.full((size, size), -1, np.int8)
    areas: list[float] = []
    toys: list[tuple[int, Field, float, float]] = []
    for _ in range(count * TRIES):
        radius, centre = float(size * rng.uniform(*RADIUS)), size * rng.uniform(0.08, 0.92, 2)
        disc = np.hypot(x - centre[0], y - centre[1]) < radius
        if np.count_nonzero(disc) < INSIDE * np.pi * radius**2:
            continue
        if not all(np.count_nonzero((topmost == i) & ~disc) >= VISIBLE * area for i, area in enumerate(areas)):
            continue
        topmost[disc] = len(toys)
        areas.append(float(np.count_nonzero(disc)))
        toys.append((int(chosen[len(toys) % len(chosen)]), centre, radius, float(rng.uniform(0, 2 * np.pi))))
        if len(toys) == count:
            break
    return toys


def _local(x: Field, y: Field, radius: float, turn: float) -> tuple[Field, Field]:
    """Coordinates of a toy: 1 = its radius, turned by `turn`."""
    cos, sin = np.cos(turn) / radius, np.sin(turn) / radius
    return cos * x + sin * y, cos * y - sin * x


def _box(alpha: Field, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold all of `alpha` (H, W) above 0, and `margin` more to each side."""
    spans = []
    for axis, side in ((1, alpha.shape[0]), (0, alpha.shape[1])):
        above = np.flatnonzero(alpha.any(axis))
        spans.append(slice(max(0, above[0] - margin), min(side, above[-1] + 1 + margin)) if len(above) else slice(0))
    return spans[0], spans[1]


def _shade(image: Field, alpha: Field) -> None:
    """Draw the soft shadow of a toy into `image`, to the lower right; beyond the box it is 0."""
    size = len(image)
    box = _box(alpha, margin=size // 8 + 4)  # four deviations of the filter are size / 12.5, the shift is size / 40
    shadow = ndimage.gaussian_filter(alpha[box], size / 50)
    shadow = ndimage.shift(shadow, (size / 40, size / 50), order=1)
    image[box] *= 1 - SHADOW * shadow[..., None]


def _relief(colour: Field, distance: Field, radius: float) -> Field:
    """A toy's colours, darker towards its outline."""
    depth = np.clip(-distance / (0.3 * radius), 0, 1)
    return colour * (0.7 + 0.35 * depth * (2 - depth))[..., None]


def _jitter(colour: Field, rng: np.random.Generator, seen: tuple[slice, slice]) -> Field:
    """The part `seen` with all hues turned about the grey axis, and brightness and contrast scaled a little."""
    angle = 2 * np.pi * rng.uniform(-HUE_JITTER, HUE_JITTER)
    grey = np.full((3, 3), 1 / 3)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turned = colour @ (grey + np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * axis)
    mean = turned.mean(axis=(0, 1))
    scaled: Field = np.clip((turned[seen] - mean) * rng.uniform(0.85, 1.1) + mean * rng.uniform(0.85, 1.1), 0, 1)
    return scaled


def _photograph(image: Field, x: Field, y: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light that falls off across the image, then noise and rounding to 8 bits."""
    turn = rng.uniform(0, 2 * np.pi)
    light = 1 + LIGHT * 1.4 * ((x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn)) * rng.uniform(0.5, 1)
    grey_levels = image * light[..., None] * 255 + NOISE * rng.standard_normal(image.shape)
    rounded: NDArray[np.uint8] = np.clip(np.rint(grey_levels), 0, 255).astype(np.uint8)
    return rounded


def _fill(folder: Path, seed: int, splits: dict[str, int], size: int) -> None:
    """Write all files of the set to `folder`."""
    palette = [channel for colour in load_table("demo").colours for channel in colour]
    work = [(split, number) for split, count in splits.items() for number in range(count)]
    for split, number in track(work, "demo", "image"):
        image, classes, instances = render(seed, split, number, size)
        mask = Image.fromarray(classes)
        mask.putpalette(palette)
        files = {"images": Image.fromarray(image), "masks": mask, "instances": Image.fromarray(instances)}
        for kind, picture in files.items():
            with atomic_path(folder / kind / split / f"{number:04d}.png") as path:
                picture.save(path, format="PNG")
    write_json(folder / MARKER, {"generator": "patchbank.datasets.demo", "seed": seed, "size": size, **splits})
