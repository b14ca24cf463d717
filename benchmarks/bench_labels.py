"""Masks a second through label map and resizing, PNG decode included, in threads as the count stage has them.

    python benchmarks/bench_labels.py [--masks 1000] [--repetitions 5] [--threads 2] [--table voc]

Masks are made: 500x375 palette PNGs of a background and one to four ellipses with ignored borders, each a file of its
own in the page cache; read, decoded, sampled to 100x100 and mapped (`squash_448_100`).
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from timing import machine, paired, spread

from patchbank.datasets import Manifest, load_table, make_spec
from patchbank.datasets.images import load_raw
from patchbank.evaluation.preprocessing import frame
from patchbank.evaluation.truth import class_labels

WIDTH, HEIGHT = 500, 375


def write_masks(folder: Path, count: int) -> None:
    """`count` masks named by their number."""
    palette = [channel for colour in load_table("voc").colours for channel in colour]
    rng = np.random.default_rng(0)
    for index in range(count):
        mask = Image.new("P", (WIDTH, HEIGHT))
        mask.putpalette(palette)
        draw = ImageDraw.Draw(mask)
        for _ in range(rng.integers(1, 5)):
            x, y = rng.integers(0, WIDTH - 60), rng.integers(0, HEIGHT - 60)
            box = (int(x), int(y), int(rng.integers(x + 40, WIDTH)), int(rng.integers(y + 40, HEIGHT)))
            draw.ellipse(box, fill=int(rng.integers(1, 21)), outline=255, width=5)
        mask.save(folder / f"{index}.png")


def main() -> None:
    """Print masks a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", default="voc")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_masks(folder, options.masks)
        spec = make_spec("made", "coco" if options.table.startswith("coco") else "voc", folder, table=options.table)
        manifest = Manifest(
            "made", folder, spec.classes, spec.colours, spec.lut(), {"val": ()}, label_rule=spec.label_rule
        )

        def one(index: int) -> int:
            raw = load_raw(folder / f"{index}.png")
            view = frame("squash_448_100", (raw.shape[0], raw.shape[1]), (448, 448))
            return class_labels(raw, view, manifest, f"{index}.png").size

        def everything() -> None:
            with ThreadPoolExecutor(options.threads) as pool:
                assert set(pool.map(one, range(options.masks))) == {100 * 100}

        (seconds,) = paired([everything], options.repetitions)
    print(machine())
    speed = spread([options.masks / second for second in seconds], 0)
    print(f"{options.masks} masks, {options.threads} threads: {speed} masks/s")


if __name__ == "__main__":
    main()
