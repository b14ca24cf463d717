"""The bank's format on disk.

``<bank_root>/<dataset>/<split>/<backbone>-b<block>-<size>-<precision>/<recipe>-<8 hex>/`` holds ``0000.h5 ...`` and
``bank.json``. The 8 hex digits are the hash of the full record (weights' SHA-256, preprocessing, manifest
fingerprint, recipe, code, package and format version). One shard is one HDF5 file, contiguous and uncompressed:

| dataset | shape | dtype | unit |
|---|---|---|---|
| `tokens` | (samples, views, N, D) | float16 or float32 | features |
| `cls` | (samples, views, D) | as tokens | features |
| `cls_attention` | (samples, views, heads, N) | as tokens | share of attention |
| `boxes` | (samples, views, 4) | float32 | pixels of the image (or as the recipe says), x0 y0 x1 y1 |
| `flip` | (samples, views) | uint8 | 1 = mirrored |
| `image` | (samples,) | S16 | content id |
| `crc` | (samples,) | uint32 | CRC-32 over the row's bytes of all datasets above, in this order |
| `sum`, `square_sum` | (D,) | float64 | over all stored tokens of the shard |

A recipe may store other datasets instead (`views.lastblock`, `views.windows`; the record lists them under
`recipe.fields`): `last_values`, `last_mixed`, `last_residual`, `window`. `sum` and `square_sum` stand beside
`tokens` only.

One sample is one (image, draw) with its views adjacent; draws of an image stand together. Shard attributes: `format`,
`content` (hash of the record without the manifest's fingerprint: what shapes the values of a row), `count` (tokens
summed), `complete` (written last). Images are cut into a power of two of shards by the leading bits of their id, so
that adding an image changes one shard only, and shards of an older record with the same content and the same ids are
linked instead of computed again.
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

FORMAT = 1
AGAIN = "Extract again: snakemake eval_<set> --forcerun extract (complete shards are kept, later stages run again)."
"""The way out of a bank that is not whole; Snakemake does not look into it by itself."""
FIELDS = ("tokens", "cls", "cls_attention", "boxes", "flip", "image")
"""Datasets of a row of most recipes."""
_OTHERS = ("last_values", "last_mixed", "last_residual", "window")
ORDER = (*FIELDS[:3], *_OTHERS, *FIELDS[3:])
"""All datasets that a row can have, in the order in which its checksum reads them."""


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


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"{index:04d}.h5"


def content_hash(record: Mapping[str, Any]) -> str:
    """Hash of what shapes the values of a row: the record without the manifest (fingerprint, ids, counts)."""
    return digest(
        {key: value for key, value in record.items() if key not in ("manifest", "shards", "images", "ids")}, 16
    )


def bank_folder(root: str | Path, record: Mapping[str, Any]) -> Path:
    """Folder of the bank with that record."""
    backbone, recipe = record["backbone"], record["recipe"]
    kind = f"{backbone['name']}-b{backbone['block']}-{recipe['size'][0]}-{record['precision']}"
    return Path(root, record["dataset"], record["split"], kind, f"{recipe['name']}-{digest(dict(record))}")


def row_fields(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Datasets of a row of the bank with that record, in the order of the checksum."""
    own = record["recipe"].get("fields", FIELDS)
    return tuple(name for name in ORDER if name in own)


def row_bytes(shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> int:
    """Bytes of one row with those per-row shapes and dtypes."""
    return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes.values())


def row_crc(row: Mapping[str, NDArray[Any]]) -> int:
    """CRC-32 over the bytes of one row's fields."""
    crc = 0
    for field in ORDER:
        if field in row:
            crc = zlib.crc32(np.ascontiguousarray(row[field]).tobytes(), crc)
    return crc


def images_of(shard: h5py.File) -> list[str]:
    """Content ids of an open shard's samples, each once, in order."""
    return list(dict.fromkeys(image.decode(errors="replace") for image in shard["image"][:]))


def damaged_rows(path: str | Path) -> list[tuple[int, str]]:
    """Rows of a shard whose checksum differs, with their image's id; the whole shard is read, row by row."""
    with h5py.File(path, "r") as shard:
        expected = shard["crc"][:]
        fields = [name for name in ORDER if name in shard]
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
    content = read_json(file)
    if isinstance(content, dict) and "bank" in content:
        file = file.parent / content["bank"] / "bank.json"
        if not file.is_file():
            raise UserError(f"{file} does not exist any more. {AGAIN}")
        content = read_json(file)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise UserError(f"{file} is no bank of format {FORMAT} (found {found!r}). {AGAIN}")
    return file.parent, content
