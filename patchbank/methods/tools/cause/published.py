"""Checkpoints of the public code of CAUSE: what those of both heads have in common.

The public code writes the module of the heads to `segment_{mlp,tr}.pth`, codebook and probe to `cluster_{mlp,tr}.pth`
beside it, and reads both without asking for every name. Import takes the first, and the second from beside it; export
writes one file, which serves as either. The student, projections, the linear probe and the backbone are left out.

The teacher of a published checkpoint was moved by labels in the third phase (docs/field.md), so the record of every
import says ``oracle: train``, that of a file that `export` wrote too: the format cannot tell.

Source: CAUSE, https://github.com/ByungKwanLee/Causal-Unsupervised-Segmentation.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from patchbank.methods.tools.published_heads import read_state

TEACHER = "head_ema."
"""Before the names of the teacher's head, which is the one that is evaluated."""
PROBE = "cluster_probe"
MOVED = {"oracle": "train"}
"""What the record of an import says of labels."""


def read_both(source: Path, beside: str) -> tuple[dict[str, Tensor], Path, dict[str, Tensor]]:
    """The tensors of the heads, and those of codebook and probe with the file that they are in.

    Args:
        source: of the heads, or of everything.
        beside: name of the file of codebook and probe in the same folder, where `source` does not hold them.

    Raises:
        UserError: a file is missing, or holds no weights.
    """
    state = read_state(source)
    if PROBE in {key.rpartition(".")[2] for key in state}:
        return state, source, state
    other = source.with_name(beside)
    return state, other, read_state(other)
