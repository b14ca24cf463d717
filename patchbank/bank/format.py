"""The bank's format on disk.

``<bank_root>/<dataset>/<split>/<backbone>-b<block>-<size>-<precision>/<recipe>-<8 hex>/`` holds ``0000.h5 ...`` and
``bank.json``. The 8 hex digits are the hash of what shapes the values of the bank (weights, preprocessing, recipe,
precision, dtype, format, code of `patchbank.bank.identity`), of its images and of their cut. One shard is one HDF5
file, contiguous and uncompressed:

| dataset | shape | dtype | unit |
|---|---|---|---|
| `tokens` | (samples, views, N, D) | float16, float32, or int8 (`patchbank.bank.coding`) | features |
| `cls` | (samples, views, D) | float16 or float32 | features |
| `cls_attention` | (samples, views, heads, N) | as `cls` | share of attention |
| `boxes` | (samples, views, 4) | float32 | pixels of the image (or as the recipe says), x0 y0 x1 y1 |
| `flip` | (samples, views) | uint8 | 1 = mirrored |
| `image` | (samples,) | S16 | content id |
| `crc` | (samples,) | uint32 | CRC-32 over the row's bytes of all datasets above, in their order |
| `sum`, `square_sum`, `square_sum_about_mean` | (D,) | float64 | over all tokens of the shard, as readers get them |

A recipe may store other datasets instead (`views.lastblock`, `views.pixels`, `views.windows`), and an encoder without a
class token has neither `cls` nor `cls_attention`: the record then lists `fields`, in the order in which the checksum
reads them. Sums stand beside `tokens` only, the last of them not in older shards.

One sample is one (image, draw) with its views adjacent; draws of an image stand together. Shard attributes: `format`,
`content` (hash of what shapes the values of a row), `count` (tokens summed), `complete` (written last). Images are cut
into a power of two of shards by the leading bits of their id, so that adding an image changes one shard only. Shards
of an older bank with the same values and the same ids are linked instead of computed again; `bank.json` lists the
`content` hashes of its shards under `contents`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError
from patchbank.files import digest, read_json
from patchbank.recognise import mistaken

FORMAT = 1
AGAIN = "Extract again: snakemake eval_<set> --forcerun extract (complete shards are kept, later stages run again)."
"""The way out of a bank that is not whole; Snakemake does not look into it by itself."""
NAMED = "A bank is named by its folder, its bank.json, or a pointer such as results/demo/bank/train-whole.json."
"""How a bank is named."""
FIELDS = ("tokens", "cls", "cls_attention", "boxes", "flip", "image")
"""Datasets of a row of most recipes, in the order in which its checksum reads them."""
OF_CLASS = ("cls", "cls_attention")
"""Those of them that an encoder without a class token does not have."""
_IMAGES = ("manifest", "shards", "images", "ids", "contents")
_VALUES = ("format", "code", "recipe", "precision", "dtype")
_OF_SOME = ("depth", "coding")
"""Keys of the records of some banks: sets with deep pictures, small tokens."""
_LABELS = ("name",)
"""Keys of a record's `backbone` that only name it."""


def shard_count(images: int, images_per_shard: int) -> int:
    """Smallest power of two of shards that holds `images_per_shard` images or fewer each on average."""
    count = 1
    while count * images_per_shard < images:
        count *= 2
    return count


def shard_of(image_id: str, shards: int) -> int:
    """The shard of an image: the leading bits of its content id (16 hexadecimal digits); `shards` a power of two."""
    return int(image_id, 16) >> (64 - (shards.bit_length() - 1))


def cut(ids: Sequence[str], shards: int) -> list[list[str]]:
    """Sorted ids of every shard; a shard may be empty."""
    parts: list[list[str]] = [[] for _ in range(shards)]
    for image_id in sorted(ids):
        parts[shard_of(image_id, shards)].append(image_id)
    return parts


def made_and_kept(shards: Sequence[str]) -> str:
    """The way out for damaged shards that carry the bank's own hash; "" for none of them.

    Extraction writes over what is not a complete shard of the bank; one that it made and finished it keeps. Only of
    such ones is it known that deleting them loses nothing of the user's.
    """
    return f"Delete {', '.join(shards)} of it, which extraction made and would keep. " if shards else ""


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"{index:04d}.h5"


def _values(record: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the values of a row."""
    backbone = {key: value for key, value in record["backbone"].items() if key not in _LABELS}
    some = {key: record[key] for key in _OF_SOME if key in record}
    return {"backbone": backbone, **some, **{key: record[key] for key in _VALUES}}


def content_hash(record: Mapping[str, Any]) -> str:
    """Hash of what shapes the values of a row: the record without names and images."""
    if "package" in record:  # the first records: all but the images
        return digest({key: value for key, value in record.items() if key not in _IMAGES}, 16)
    return digest(_values(record), 16)


def contents_of(record: Mapping[str, Any]) -> frozenset[str]:
    """Content hashes that shards of the bank with that `bank.json` may carry: some may be taken from older banks."""
    return frozenset(record.get("contents", ())) | {content_hash(record)}


def bank_folder(root: str | Path, record: Mapping[str, Any]) -> Path:
    """Folder of the bank with that record."""
    backbone, recipe = record["backbone"], record["recipe"]
    identity = {**_values(record), "manifest": record["manifest"], "shards": record["shards"]}
    kind = f"{backbone['name']}-b{backbone['block']}-{recipe['size'][0]}-{record['precision']}"
    return Path(root, record["dataset"], record["split"], kind, f"{recipe['name']}-{digest(identity)}")


def row_fields(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Datasets of a row of the bank with that record, in the order of the checksum."""
    return tuple(record["recipe"].get("fields", FIELDS))


def row_bytes(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> int:
    """Bytes of one row with those per-row shapes and dtypes."""
    return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes.values())


def row_crc(row: Mapping[str, NDArray[Any]]) -> int:
    """CRC-32 over the bytes of one row's fields, in their order."""
    crc = 0
    for value in row.values():
        crc = zlib.crc32(np.ascontiguousarray(value).data, crc)
    return crc


def images_of(shard: h5py.File) -> list[str]:
    """Content ids of an open shard's samples, each once, in order."""
    return list(dict.fromkeys(image.decode(errors="replace") for image in shard["image"][:]))


def damaged_rows(path: str | Path, fields: Sequence[str]) -> list[tuple[int, str]]:
    """Rows of a shard with these datasets whose checksum differs, with their image's id; all of it is read by rows."""
    with h5py.File(path, "r") as shard:
        expected = shard["crc"][:]
        return [
            (row, shard["image"][row].decode(errors="replace"))
            for row in range(len(expected))
            if row_crc({name: np.asarray(shard[name][row]) for name in fields}) != int(expected[row])
        ]


def read_record(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """Folder and content of a bank.

    Args:
        path: a folder with `bank.json`, that file, or the pipeline's pointer file (a json whose key
            `bank` is the folder, relative to the pointer).

    Raises:
        UserError: when there is no bank of this format there.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "bank.json"
    try:
        content = read_json(file)
    except UserError:
        raise mistaken(path, "a bank", NAMED) from None
    if isinstance(content, dict) and "bank" in content and "method" not in content:  # a checkpoint names its bank, too
        file = file.parent / content["bank"] / "bank.json"
        if not file.is_file():
            raise UserError(f"{file} does not exist any more. {AGAIN}")
        content = read_json(file)
    if not isinstance(content, dict) or (file.name != "bank.json" and "shards" not in content):
        raise mistaken(file, "a bank", NAMED)
    if content.get("format") != FORMAT:
        raise UserError(f"{file} is a bank of format {content.get('format')}, this version reads {FORMAT}. {AGAIN}")
    if not {"ids", "shards", "recipe"} <= set(content):
        raise UserError(f"{file} is not complete. {AGAIN}")
    return file.parent, content
