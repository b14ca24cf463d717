"""The corpus of odd inputs, second part: what is no file, names, and lists."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from odd_files import GREY, RGB, jpeg, png, tiff
from odd_inputs import CASES, GREYS, LABELS, PIXELS, YCC, Case, large


def thing(case: str, make: Callable[[Path], None], by: str, says: str, name: str = "images/val/odd.png") -> None:
    """Something that is no file with bytes, made by `make(root)`; without masks."""
    CASES[case] = Case(case, make=make, name=name, by=by, says=says, masks=False)


def listed(case: str, names: bytes, by: str = "", says: str = "", name: str = "", row: str = "") -> None:
    """A VOC tree (images a.jpg, b.png) whose list `val` is `names`; read, or refused."""
    files = {
        "images/a.jpg": jpeg(YCC),
        "images/b.png": png(PIXELS, 8, RGB),
        "SegmentationClass/a.png": png(np.zeros((16, 16), np.uint8), 8, GREY),
        "SegmentationClass/b.png": png(LABELS, 8, GREY),
        "sets/train.txt": b"a\n",
        "sets/val.txt": names,
    }
    read = None if by else large(GREYS)
    CASES[case] = Case(row or case, files, image=read, name=name or "images/a.jpg", by=by, says=says, layout="voc")


# ---- what is no file, and names
def _made(path: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda root: make(root / path) and None


ODD = "images/val/odd.png"
thing("link to itself", _made(ODD, lambda p: p.symlink_to("odd.png")), "list", "cannot be read")
thing("link to nothing", _made(ODD, lambda p: p.symlink_to("gone.png")), "list", "link to a missing file")
thing("link through a file", _made(ODD, lambda p: p.symlink_to("ok.png/x")), "list", "cannot be read")
thing("folder named .png", _made(ODD, Path.mkdir), "list", "is a folder")
thing("pipe", _made(ODD, os.mkfifo), "list", "is a pipe")
thing("device", _made(ODD, lambda p: p.symlink_to("/dev/zero")), "list", "is a pipe, socket or device")
thing(
    "file larger than 1 GiB",
    _made(ODD, lambda p: p.touch() or os.truncate(p, 1 << 40)),
    "list",
    "at most 1,073,741,824",
)
LATIN = os.fsdecode(b"images/val/caf\xe9.png")
thing(
    "name that is not UTF-8",
    _made(LATIN, lambda p: p.write_bytes(png(PIXELS, 8, RGB))),
    "list",
    "not UTF-8",
    "caf\\xe9",
)
GOOD = {"images/val/odd.png": png(PIXELS, 8, RGB), "masks/val/odd.png": png(LABELS, 8, GREY)}
STRANGE = "a 'b'\n\"c\" ü%s"
CASES["strange name"] = Case(
    "name with blanks, quotes, line ends",
    {f"images/val/{STRANGE}.png": GOOD[ODD], f"masks/val/{STRANGE}.png": GOOD["masks/val/odd.png"]},
    image=PIXELS,
    name=f"images/val/{STRANGE}.png",
)
CASES["two images of one stem"] = Case(
    "two images, or two masks, of one stem",
    GOOD | {"images/val/odd.jpg": jpeg(YCC)},
    by="list",
    says="odd.jpg and odd.png have the same stem",
)
CASES["two masks of one stem"] = Case(
    "two images, or two masks, of one stem",
    GOOD | {"masks/val/odd.tif": tiff(LABELS, 1)},
    by="list",
    says="odd.png and odd.tif have the same stem",
)
CASES["mask without an image"] = Case(
    "mask without an image",
    {"masks/val/odd.png": GOOD["masks/val/odd.png"]},
    by="list",
    says=r"odd\.png has no picture",
)
CASES["pictures beside folders"] = Case(
    "pictures beside split folders", {"images/odd.png": GOOD[ODD]}, by="list", says="folders and pictures"
)
# ---- lists
LIST_ROW = "list with Windows line ends, blank lines, suffixes, a byte order mark, no last line end"
listed("list, Windows", b"a\r\n\r\nb\r\n", row=LIST_ROW)
listed("list, suffixes and no end", b"\xef\xbb\xbf  a.jpg\n\nb.png", row=LIST_ROW)
listed("list that names an absent file", b"a\ngone\n", "list", "does not exist", "images/gone.jpg")
listed("list that names a file twice", b"a\nb\na.jpg\n", "list", "names it 2 times")
listed("list that leads out of the set", b"a\n../../odd\n", "list", "leads out of the set", "images/../../odd.jpg")
listed("list with an absolute path", b"a\n/etc/odd\n", "list", "leads out of the set", "/etc/odd")
listed("empty list", b"\n \n", "list", "names no image", "val.txt")
listed("list with a NUL", b"a\nb\0c\n", "list", "cannot be read", "images/")
listed("list with a name of 300 letters", b"a\n" + b"x" * 300, "list", "cannot be read", "images/xxx")
listed("list in UTF-16", "a\nb\n".encode("utf-16"), "list", "cannot be read", "images/")
listed("list in Latin-1", "a\ncafé\n".encode("latin-1"), "list", "not UTF-8", "caf\\xe9")
CASES["list that is a folder"] = Case(
    "list that is a folder",
    {name: data for name, data in CASES["empty list"].files.items() if name != "sets/val.txt"},
    make=_made("sets/val.txt", Path.mkdir),
    name="val.txt",
    by="list",
    says="cannot be read",
    layout="voc",
)
