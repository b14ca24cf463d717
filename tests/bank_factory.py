"""Small banks for tests: random pictures, a tiny ViT with random weights, the real extract stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.files import sha256_file, write_json
from patchbank.weights.model import build_model
from patchbank.weights.spec import BackboneSpec

TINY = BackboneSpec("tiny", "vit_tiny_patch16_224", block=1, norm=False)


def make_images(folder: Path, count: int, start: int = 0, classes: int = 3) -> list[str]:
    """Add random pictures with masks to ``folder/data`` (layout folder), write manifest and weights; ids of the new."""
    rng = np.random.default_rng(start)
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            (folder / "data" / kind / split).mkdir(parents=True, exist_ok=True)
    names = [f"{i:03d}" for i in range(start, start + count)]
    for split in ("train", "val"):
        for name in names:
            height, width = int(rng.integers(40, 90)), int(rng.integers(40, 90))
            small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(small).resize((width, height)).save(folder / "data" / "images" / split / f"{name}.png")
            mask = rng.integers(0, classes, (height, width), dtype=np.uint8)
            Image.fromarray(mask).save(folder / "data" / "masks" / split / f"{name}.png")
    spec = make_spec("toy", "folder", folder / "data", classes=[f"class {i}" for i in range(classes)])
    manifest = scan(spec, workers=1)
    manifest.save(folder / "manifest.json")
    if not (folder / "weights.safetensors").is_file():
        torch.manual_seed(0)
        save_file(build_model(TINY.model).state_dict(), folder / "weights.safetensors")
        write_json(folder / "weights.json", {"sha256": sha256_file(folder / "weights.safetensors")})
    return [entry.id for entry in manifest.entries("train") if Path(entry.image).stem in names]


def extract_all(folder: Path, settings: ExtractSettings, split: str = "train", parts: int = 1) -> Path:
    """Run extract and finish as the workflow does; the pointer is ``folder/<recipe>.json`` (val: ``val-<recipe>``)."""
    jobs = []
    for part in range(parts):
        jobs.append(folder / f"part{part}-{split}-{settings.recipe}.json")
        files = (folder / "weights.safetensors", folder / "weights.json")
        destination = (folder / "bank", jobs[-1], (part, parts))
        extract(ExtractJob(folder / "manifest.json", split, TINY, *files, settings, *destination, threads=1))
    pointer = folder / (f"{settings.recipe}.json" if split == "train" else f"{split}-{settings.recipe}.json")
    finish(jobs, folder / "manifest.json", pointer)
    return pointer
