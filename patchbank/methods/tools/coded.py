"""Codes of tokens by a head that another row of the set has learned, for a row that learns on them.

Such a row keeps the head in its own checkpoint, so that predictions need no other file, and says in its record where it
comes from, and which labels moved it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.checkpoints.store import check_backbone
from patchbank.errors import UserError
from patchbank.files import sha256_file
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.class_heads import ClassHead, centre_tensors, load_coded, stored_centring
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.heads import decoder_tensors, load_decoder
from patchbank.methods.tools.token_heads import with_shape


def learned_head(job: TrainJob, row: str) -> tuple[ClassHead, dict[str, Any]]:
    """The head that a training learns on, and what its record and its identity say of it.

    Args:
        job: `after` is its checkpoint.
        row: that learned it.

    Returns:
        The head and `after` (row, method, seed, SHA-256 of the checkpoint), with `oracle` where labels moved the head.

    Raises:
        UserError: no checkpoint, or one that gives tokens no codes.
    """
    path = job.learned_after()
    head = load_coded(path)
    told = {"row": row, "method": head.record["method"], "seed": head.record.get("seed"), "sha256": sha256_file(path)}
    return head, {"after": told, **{key: head.record[key] for key in ("oracle",) if key in head.record}}


def check_tokens(head: ClassHead, job: TrainJob, bank: Bank) -> None:
    """Raise `UserError` where the head that a training learns on knows tokens of another encoder than its bank's."""
    path = job.learned_after()
    check_backbone(head.record, bank.record.get("backbone", {}), path)
    if head.dim != bank.dim:
        raise UserError(
            f"{path} reads tokens of width {head.dim}, the bank's have {bank.dim}; train that row again on this bank."
        )


class Coder:
    """Codes of one image's tokens, on the CPU.

    Args:
        encoder: centred tokens -> codes.
        centring: of the tokens.
    """

    def __init__(self, encoder: nn.Module, centring: Centring) -> None:
        self._encoder, self._centring = encoder.cpu().eval(), centring

    def __call__(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """(N, C) of unit length, of tokens (N, D) as they are stored."""
        with torch.no_grad():
            codes = self._encoder(self._centring(torch.from_numpy(tokens).float())[None])[0]
        array: NDArray[np.float32] = unit(codes).numpy()
        return array

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What `from_arrays` needs, for storage."""
        tensors = decoder_tensors(self._encoder) | centre_tensors(self._centring)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Any]) -> Coder:
        """The inverse of `arrays`; `shape` as of the head's record (`TokenHead.shape`)."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        encoder = with_shape(shape)
        load_decoder(encoder, tensors)
        return cls(encoder, stored_centring(tensors))
