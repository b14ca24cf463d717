"""The archives of published sets, in small."""

from __future__ import annotations

import io
import tarfile
import zipfile

CURATED = "COCO/CocoStuff164k/curated/{}2017/Coco164kFull_Stuff_Coarse_7.txt"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


VOC = "VOCdevkit/VOC2012"


ARCHIVES = {
    "VOCtrainval_11-May-2012.tar": tarred(
        {
            **{f"{VOC}/JPEGImages/{stem}.jpg": stem.encode() for stem in "abcd"},
            **{f"{VOC}/SegmentationClass/{stem}.png": b"m" for stem in "ad"},
            f"{VOC}/ImageSets/Segmentation/train.txt": b"a\n",
            f"{VOC}/ImageSets/Segmentation/val.txt": b"d\n",
        }
    ),
    "SegmentationClassAug.zip": zipped(
        {
            "SegmentationClassAug/": b"",
            **{f"SegmentationClassAug/{stem}.png": b"m" for stem in "abcd"},
            "__MACOSX/SegmentationClassAug/._a.png": b"x",
        }
    ),
    "train2017.zip": zipped({f"train2017/{number:012d}.jpg": b"i" for number in range(3)}),
    "val2017.zip": zipped({"val2017/000000000009.jpg": b"i"}),
    "annotations_trainval2017.zip": zipped(
        {
            f"annotations/{kind}_{split}2017.json": b"{}"
            for kind in ("instances", "captions")
            for split in ("train", "val")
        }
    ),
    "stuffthingmaps_trainval2017.zip": zipped(
        {
            **{f"train2017/{number:012d}.png": b"m" for number in range(3)},
            "val2017/000000000009.png": b"m",
        }
    ),
    "COCOStuff164kCurated.tar.gz": tarred(
        {CURATED.format(split): b"000000000009" for split in ("train", "val")}, "w:gz"
    ),
}
