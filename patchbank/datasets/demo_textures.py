"""What the demo set's grounds and toys look like: outlines as signed distances, textures as functions of position.

A ground is a function (x, y, rng) -> (H, W, 3); x and y are pixels of a 224-pixel image. A toy is a function
(u, v, rng) -> (distance (H, W), colour (H, W, 3)); u and v are the toy's own coordinates, 1 = its radius, and the
distance is negative inside. Colours are 0 to 1. The order of `GROUNDS`, then of `TOYS`, is the order of the classes in
`tables/demo.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Field = NDArray[np.float64]
Ground = Callable[[Field, Field, np.random.Generator], Field]
Toy = Callable[[Field, Field, np.random.Generator], tuple[Field, Field]]


def _rgb(text: str) -> Field:
    return np.array([int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def _mix(share: Field, first: str, second: str) -> Field:
    """Colour `first` where `share` is 1, `second` where it is 0."""
    weight = np.clip(share, 0, 1)
    rest, colour = 1 - weight, np.empty((*weight.shape, 3))
    for channel, (one, other) in enumerate(zip(_rgb(first), _rgb(second), strict=True)):
        np.add(weight * one, rest * other, out=colour[..., channel])
    return colour


def _steps(wave: Field, sharpness: float = 5.0) -> Field:
    """A wave of -1 to 1 as soft-edged bands of 0 to 1."""
    return 0.5 + 0.5 * np.tanh(sharpness * wave)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, float]) -> Field:
    """Smooth noise of mean 0 and deviation 1."""
    field: Field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    scaled: Field = field / field.std()
    return scaled


def meadow(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Grass: upright blades over patches of light and dark green."""
    scale = x.shape[0] / 224
    patches = _noise(rng, x.shape, 16 * scale)
    blades = _noise(rng, x.shape, (4.5 * scale, 0.8 * scale)) + 0.8 * _noise(rng, x.shape, (2.0 * scale, 0.6 * scale))
    return _mix(0.5 + 0.14 * patches + 0.22 * blades, "b4d468", "2f6a2c")


def water(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """A pond: crossing waves, bent by slow noise, with bright crests."""
    scale = x.shape[0] / 224
    turn = rng.uniform(-0.35, 0.35)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    bend = 7 * _noise(rng, x.shape, 14 * scale)
    length = rng.uniform(15, 21)
    wave = np.sin(2 * np.pi * (across + bend + 3 * np.sin(along / 19)) / length)
    wave = 0.7 * wave + 0.3 * np.sin(2 * np.pi * (across * 1.9 - bend + along * 0.35) / length)
    crests: Field = 0.5 * np.clip(wave - 0.72, 0, 1)[..., None]
    return _mix(0.42 + 0.3 * wave, "58a8d8", "165a96") + crests


def cobbles(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """A pavement: rounded grey stones of different brightness with dark joints."""
    pitch = rng.uniform(19, 25)
    steps = np.arange(-pitch, 224 + 2 * pitch, pitch)
    corners = np.stack(np.meshgrid(steps, steps), -1)
    corners[1::2, :, 0] += pitch / 2
    seeds = corners.reshape(-1, 2) + rng.uniform(-0.22, 0.22, (corners.size // 2, 2)) * pitch
    distances, nearest = cKDTree(seeds).query(np.stack([x, y], -1), k=2)
    joint = np.clip((distances[..., 1] - distances[..., 0]) / 5, 0, 1)
    tone = rng.normal(0.0, 0.16, len(seeds))[nearest[..., 0]]
    rough = 0.06 * _noise(rng, x.shape, 0.8 * x.shape[0] / 224)
    depth: Field = (0.35 + 0.65 * joint)[..., None]
    return _mix(0.55 + tone + rough + 0.1 * joint, "c8c0c4", "62606c") * depth


def ball(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A disc with red and cream stripes."""
    stripes = _steps(np.sin(rng.uniform(6.5, 8.5) * u + rng.uniform(0, 6.3)))
    return np.hypot(u, v) - 1, _mix(stripes, "e23e3a", "fff2dc")


def chequers(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A square board of yellow and black fields."""
    fields = rng.uniform(6.5, 8.5)
    board = _steps(2 * np.sin(fields * u) * np.sin(fields * v))
    return np.maximum(abs(u), abs(v)) - 0.86, _mix(board, "f6d03e", "2a2620")


def dotted_triangle(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A magenta triangle with white dots."""
    distance = np.maximum.reduce([v - 0.55, 0.866 * abs(u) - 0.5 * v - 0.55])
    pitch = rng.uniform(0.34, 0.42)
    row = np.floor(v / pitch)
    across = (u / pitch + 0.5 * (row % 2)) % 1 - 0.5
    dots = _steps(0.3 - np.hypot(across, v / pitch - row - 0.5), 14)
    return distance, _mix(dots, "fff4fb", "c8409c")


def wooden_ring(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A brown ring with the grain of wood."""
    radius = np.hypot(u, v)
    shift = rng.uniform(-3, 3, 2)
    grain = np.sin(17 * (u + 0.12 * np.sin(3.1 * v + shift[0])) + 1.6 * np.sin(1.7 * v + shift[1]))
    return abs(radius - 0.68) - 0.32, _mix(0.5 + 0.42 * grain, "b98046", "6e4420")


def leaf(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """An orange autumn leaf with a midrib and veins."""
    distance = np.maximum(np.hypot(u - 0.5, v), np.hypot(u + 0.5, v)) - 1.12
    veins = np.cos(rng.uniform(15, 18) * (v + 0.85 * abs(u)))
    bright = np.maximum(np.clip(veins - 0.55, 0, 1) * 2, _steps(0.05 - abs(u), 40))
    return distance, _mix(bright, "ffd27a", "dd6e1c")


def star(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A turquoise star with zigzag lines."""
    sector = 2 * np.pi / 5
    angle = abs((np.arctan2(u, v) + sector / 2) % sector - sector / 2)
    radius = np.hypot(u, v)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    # The edge runs from the tip (1.05, 0) to the inner corner at half a sector and 0.5 of the radius.
    cx, cy = 0.5 * np.cos(sector / 2), 0.5 * np.sin(sector / 2)
    ex, ey = cx - 1.05, cy
    distance = (ey * (px - 1.05) - ex * py) / np.hypot(ex, ey)
    zigzag = abs((u * 2.4 + rng.uniform(0, 1)) % 1 - 0.5)
    return distance, _mix(_steps(np.sin(13 * (v + 0.55 * zigzag))), "b6f2e4", "169a8e")


def flower(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A violet flower of six petals with a yellow middle."""
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    outline = 0.76 + 0.24 * np.cos(6 * angle)
    petals = _mix(0.5 + 0.5 * np.cos(6 * angle) - 0.25 * radius, "a078f0", "4a2ca0")
    middle = _steps(rng.uniform(0.3, 0.36) - radius, 16)[..., None]
    return (radius - outline) * 0.7, petals * (1 - middle) + _rgb("ffe04a") * middle


def bricks(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A long piece of wall: terracotta bricks with pale joints."""
    rows = v / 0.3 + 0.5
    along = u / rng.uniform(0.5, 0.6) + 0.5 * (np.floor(rows) % 2)
    joint = np.minimum(abs((along + 0.5) % 1 - 0.5) * 0.55, abs((rows + 0.5) % 1 - 0.5) * 0.3)
    tone = 0.5 + 0.5 * np.sin(12.9 * np.floor(along) + 78.2 * np.floor(rows))
    wall = _mix(0.35 + 0.5 * tone, "b4532e", "8a3420")
    mortar = _steps(0.035 - joint, 50)[..., None]
    return np.maximum(abs(u) - 1.0, abs(v) - 0.6), wall * (1 - mortar) + _rgb("e8d8c4") * mortar


def cross(u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field]:
    """A navy cross with outlines of lime one inside the other."""
    width = 0.42
    long, short = np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    distance = np.maximum(long - 0.98, short - width)
    lines = _steps(np.sin(2 * np.pi * (-distance) / rng.uniform(0.2, 0.25) - 1.2), 3)
    return distance, _mix(lines, "c2ea3c", "1e2a66")


GROUNDS: dict[str, Ground] = {"meadow": meadow, "water": water, "cobbles": cobbles}
TOYS: dict[str, Toy] = {
    "ball": ball,
    "chequers": chequers,
    "dotted triangle": dotted_triangle,
    "wooden ring": wooden_ring,
    "leaf": leaf,
    "star": star,
    "flower": flower,
    "bricks": bricks,
    "cross": cross,
}
