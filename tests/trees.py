"""Small sets in their published trees, made of noise: for tests that go from a tree to a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZE = (48, 64)
TRAIN, VAL = ("t1", "t2", "t3", "t4"), ("v1", "v2")


def picture(path: Path, seed: int) -> None:
    """A photograph-like file: noise at two scales."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 200, (*(side // 8 for side in SIZE), 3)), np.ones((8, 8, 1), int))
    pixels = (coarse + rng.integers(0, 56, (*SIZE, 3))).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def values(seed: int, raw: Sequence[int]) -> np.ndarray:
    """Raw values (H, W) in blocks of 16 pixels, all of `raw` drawn alike."""
    blocks = np.random.default_rng(seed).choice(np.array(raw), tuple(side // 16 for side in SIZE))
    return np.kron(blocks, np.ones((16, 16), int)).astype(np.uint8)


def mask(path: Path, seed: int, raw: Sequence[int]) -> None:
    """An indexed PNG of `values`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values(seed, raw)).save(path)


def listed(path: Path, names: Sequence[str], end: str = "\n") -> None:
    """A list file without a last newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(end.join(names).encode())


def voc_alignseg(root: Path) -> None:
    """`PVOC` as AlignSeg has it, with trainaug masks."""
    for seed, name in enumerate((*TRAIN, *VAL)):
        picture(root / "PVOC" / "images" / f"{name}.jpg", seed)
        folder = "SegmentationClassAug" if name in TRAIN else "SegmentationClass"
        mask(root / "PVOC" / folder / f"{name}.png", seed, [0, 1, 12, 20, 255])
    listed(root / "PVOC" / "sets" / "trainaug.txt", [f"{name}.jpg" for name in TRAIN], "\r\n")
    listed(root / "PVOC" / "sets" / "val.txt", VAL)
    (root / "PVOC" / "SegmentationClass").mkdir(exist_ok=True)


def voc_archive(root: Path) -> None:
    """`VOCdevkit/VOC2012` as the archive has it (TransFGU's tree)."""
    base = root / "VOCdevkit" / "VOC2012"
    for seed, name in enumerate((*TRAIN, *VAL)):
        picture(base / "JPEGImages" / f"{name}.jpg", seed)
        mask(base / "SegmentationClass" / f"{name}.png", seed, [0, 1, 12, 20, 255])
    listed(base / "ImageSets" / "Segmentation" / "train.txt", TRAIN)
    listed(base / "ImageSets" / "Segmentation" / "val.txt", VAL)


COCO_RAW = [0, 1, 15, 23, 50, 89, 91, 105, 123, 156, 181, 255]


def coco_transfgu(root: Path) -> None:
    """TransFGU's COCO: masks beside the json files; one image of each split has no annotation."""
    for split, names in (("train2017", TRAIN), ("val2017", VAL)):
        images = []
        for seed, name in enumerate((*names, "plain")):
            picture(root / "images" / split / f"{name}.jpg", seed)
            mask(root / "annotations" / split / f"{name}.png", seed, COCO_RAW)
            images.append({"file_name": f"{name}.jpg", "id": seed})
        annotations = [{"image_id": image["id"], "id": 1} for image in images[:-1]]
        path = root / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations}))


def coco_alignseg(root: Path) -> None:
    """AlignSeg's COCO, with IIC's curated lists."""
    for split, names in (("train2017", TRAIN), ("val2017", VAL)):
        for seed, name in enumerate((*names, "plain")):
            picture(root / "coco" / "images" / split / f"{name}.jpg", seed)
            folder = root / "annotations" / "annotations" / "stuffthingmaps_trainval2017" / split
            mask(folder / f"{name}.png", seed, COCO_RAW)
        listed(root / "curated" / split / "Coco164kFull_Stuff_Coarse_7.txt", names)


def coco_pixelmaps(root: Path) -> None:
    """AlignSeg's `coco-stuff` and `coco-thing`: category ids."""
    annotations = root / "annotations"
    for split, names in (("train2017", TRAIN), ("val2017", VAL)):
        for seed, name in enumerate(names):
            picture(root / "images" / split / f"{name}.jpg", seed)
            stuff = annotations / "stuff_annotations" / f"stuff_{split}_pixelmaps"
            mask(stuff / f"{name}.png", seed, [0, 92, 106, 124, 157, 182, 183])
            thing = annotations / "panoptic_annotations" / f"semantic_segmentation_{split}"
            mask(thing / f"{name}.png", seed, [0, 1, 16, 51, 72, 90, 200])


def cityscapes(root: Path) -> None:
    """Two cities, one a split."""
    for split, city, names in (("train", "bonn", TRAIN), ("val", "ulm", VAL)):
        for seed, name in enumerate(names):
            picture(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", seed)
            mask(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", seed, [0, 4, 7, 8, 11, 26, 33])


def lip(root: Path) -> None:
    """Flat folders and lists."""
    for split, names in (("train", TRAIN), ("val", VAL)):
        for seed, name in enumerate(names):
            picture(root / f"{split}_images" / f"{name}.jpg", seed)
            mask(root / f"{split}_segmentations" / f"{name}.png", seed, range(20))
        listed(root / f"{split}_id.txt", names)


def movi(root: Path) -> None:
    """Frames without masks, images with instance ids."""
    for seed, name in enumerate(TRAIN):
        picture(root / "frames" / f"{name}.png", seed)
    for seed, name in enumerate(VAL):
        picture(root / "images" / f"{name}.png", seed)
        mask(root / "masks" / f"{name}.png", seed, range(5))


def potsdam(root: Path) -> None:
    """IIC's tiles: MATLAB files of four channels, named by numbers."""
    for folder in ("imgs", "gt"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(len(TRAIN) + len(VAL)):
        tile = np.random.default_rng(index).integers(0, 256, (*SIZE, 4), dtype=np.uint8)
        savemat(root / "imgs" / f"{index}.mat", {"img": tile})
        savemat(root / "gt" / f"{index}.mat", {"gt": values(index, range(6)).astype(np.int32)})
    listed(root / "labelled_train.txt", [str(index) for index in range(len(TRAIN))])
    listed(root / "labelled_test.txt", [str(len(TRAIN) + index) for index in range(len(VAL))])
    listed(root / "unlabelled_train.txt", ["0"])
