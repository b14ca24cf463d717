"""A checkpoint of ours: named tensors and a record of what made them.

| file | content |
|---|---|
| `<name>.safetensors` | the tensors; the record as JSON in the header under `record` |
| `<name>.json` | the same record, for people and other tools |

The safetensors file is complete in itself and is what `load_checkpoint` reads; both appear atomically. What needs no
torch saves and loads arrays instead, without importing it: the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from patchbank.errors import UserError
from patchbank.files import atomic_path, write_json
from patchbank.recognise import mistaken

if TYPE_CHECKING:
    from torch import Tensor

NAMED = "A checkpoint is named by its file, e.g. results/SET/METHOD/seed0/checkpoint.safetensors."
"""How a checkpoint is named."""


def save_checkpoint(path: str | Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write tensors and record to `path` (``.safetensors``) and the record again to the ``.json`` beside it.

    Args:
        path: file to write; its folder is made.
        tensors: name -> tensor of any shape, dtype and device.
        record: JSON values that describe them.
    """
    save_tensors(path, tensors, record)
    write_json(Path(path).with_suffix(".json"), record)


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write one safetensors file with `record` in its header, atomically."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata=_header(record))


def save_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> None:
    """`save_checkpoint` of arrays."""
    from safetensors.numpy import save_file

    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata=_header(record))
    write_json(Path(path).with_suffix(".json"), record)


def _header(record: Mapping[str, Any]) -> dict[str, str]:
    """One entry only: safetensors orders several at random, and equal content should be equal bytes."""
    return {"record": json.dumps(record, sort_keys=True, allow_nan=False)}


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Returns:
        name -> tensor on the CPU, and the record.

    Raises:
        UserError: the file is missing, broken, or not one of ours.
    """
    return _load(Path(path), "pt")


def load_arrays(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """`load_checkpoint` with arrays in place of tensors."""
    return _load(Path(path), "np")


def load_own_arrays(path: str | Path, method: str, backbone: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Arrays of a checkpoint of `method` that was trained on tokens of `backbone`; see the two checks."""
    arrays, record = load_arrays(path)
    check_method(record, method, path)
    check_backbone(record, backbone, path)
    return arrays


def check_method(record: Mapping[str, Any], method: str, path: str | Path) -> None:
    """Raise `UserError` where a record says another method than the folder `method`."""
    if record.get("method") != method:
        raise UserError(f"{path} is a checkpoint of {record.get('method')!r}, not of {method!r}.")


def check_backbone(record: Mapping[str, Any], backbone: Mapping[str, Any], path: str | Path) -> None:
    """Raise `UserError` when the bank's backbone differs from the one that the head was trained on.

    Args:
        record: of the head; one imported from elsewhere knows no backbone and passes.
        backbone: `backbone` of the bank's record.
        path: the checkpoint, for the message.
    """
    expected = record.get("backbone") or {}
    differing = [f"{k} {backbone.get(k)!r} instead of {v!r}" for k, v in expected.items() if backbone.get(k) != v]
    if differing:
        raise UserError(f"The bank's backbone is not the one that {path} was trained on: {'; '.join(differing)}.")


def _load(path: Path, framework: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values in the types of a framework of safetensors, and the record."""
    if not path.exists():
        raise UserError(f"{path} does not exist; train first, or name another checkpoint.")
    try:
        with safe_open(path, framework=framework) as file:
            header = file.metadata() or {}
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError):
        raise mistaken(path, "a checkpoint", NAMED) from None
    try:
        record = json.loads(header["record"])
    except (KeyError, json.JSONDecodeError):
        raise mistaken(path, "a checkpoint of ours (there is no record in its header)", NAMED) from None
    return values, record


def check_keys(path: str | Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise one `UserError` that names missing keys, foreign keys and differing shapes, if there are any.

    Args:
        path: where `found` comes from, for the message.
        tensors: of the file.
        expected: tensors of the model.
    """
    wrong = [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(set(tensors) & set(expected))
        if tensors[name].shape != expected[name].shape
    ]
    missing, foreign = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    parts = [
        *([f"missing keys {_list(missing)}"] if missing else []),
        *([f"foreign keys {_list(foreign)}"] if foreign else []),
        *([_list(wrong)] if wrong else []),
    ]
    if parts:
        raise UserError(f"{path} does not fit the model: {'; '.join(parts)}.")


def _list(names: Iterable[str], shown: int = 5) -> str:
    every = list(names)
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more
