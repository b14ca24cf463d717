"""The full scan of a set, and the scan that remembers it; on a corpus made here.

    python benchmarks/bench_datasets.py [--pairs 10000] [--repetitions 3]

Images are 640x480 JPEGs of coloured noise on smooth ground (about 130 kB each, which is less compressible than most
photographs), masks 8-bit PNGs of 12 smooth regions. Every file has its own bytes, but they derive from a few dozen
pictures that are encoded once: the corpus must not take longer than what is measured. Files are in the page cache.
Each scan is a new process, its start included. Bars, on 2 CPUs: 10,000 pairs in 45 s, the second scan in 3 s.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from timing import machine, spread, timed

PICTURES = 24
CLASSES = 12
SCAN = """
import sys
from pathlib import Path
from patchbank.datasets import make_spec
from patchbank.datasets.scan import examine
root, memory = map(Path, sys.argv[1:])
spec = make_spec("bench", "folder", root, classes=[str(index) for index in range(12)])
found = examine(spec, memory=memory)
assert found.manifest is not None and sum(split.images for split in found.summary.splits.values()) == int(root.name)
"""


def regions(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth regions of `CLASSES` classes, uint8 (height, width)."""
    noise = np.random.default_rng(seed).standard_normal((CLASSES, height, width)).astype(np.float32)
    return ndimage.gaussian_filter(noise, (0, 25, 25)).argmax(0).astype(np.uint8)


def photograph(seed: int) -> bytes:
    """A noisy 640x480 JPEG."""
    rng = np.random.default_rng(seed)
    ground = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((640, 480), Image.BICUBIC)
    noisy = np.asarray(ground).astype(int) + rng.integers(-12, 13, (480, 640, 3))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def mask(labels: np.ndarray) -> bytes:
    """A PNG of class ids."""
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def with_comment(data: bytes, text: bytes) -> bytes:
    """The same picture in other bytes: a JPEG comment or a PNG text chunk."""
    if data[:2] == b"\xff\xd8":
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[2:]
    body = b"tEXtComment\0" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


def make_set(root: Path, pairs: int) -> None:
    """A `folder` set: one pair in `train`, the others in `val`."""
    photographs = [photograph(seed) for seed in range(PICTURES)]
    masks = [mask(regions(480, 640, seed)) for seed in range(PICTURES)]
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            (root / kind / split).mkdir(parents=True)
    for number in range(pairs):
        split, text = "val" if number else "train", str(number).encode()
        (root / "images" / split / f"{number:06d}.jpg").write_bytes(with_comment(photographs[number % PICTURES], text))
        (root / "masks" / split / f"{number:06d}.png").write_bytes(with_comment(masks[number % PICTURES], text))


def scan(root: Path, memory: Path) -> tuple[float, float]:
    """Seconds of one scan in a new process: on the clock, and of processors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = timed(lambda: subprocess.run([sys.executable, "-c", SCAN, root, memory], check=True))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the corpus is written (default: a temporary folder)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-datasets-", dir=options.folder))
    try:
        root = folder / str(options.pairs)
        make_set(root, options.pairs)
        first, second = [], []
        for number in range(options.repetitions):
            memory = folder / f"memory-{number}"
            first.append(scan(root, memory))
            second.append(scan(root, memory))
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
    print(machine())
    print(f"{options.pairs} pairs of 640x480, {size / 1e9:.2f} GB")
    for name, runs in (("first scan", first), ("second scan", second)):
        wall, cpu = zip(*runs, strict=True)
        print(f"{name:18} s {spread(wall)}, of processors {spread(cpu)}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"largest process   MB {peak / 1e3:.0f}")


if __name__ == "__main__":
    main()
