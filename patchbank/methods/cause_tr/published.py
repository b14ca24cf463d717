"""Checkpoints of the public code of CAUSE-TR, and back (`patchbank import cause-tr`, `export cause-tr`).

| published, behind any wrapper | ours |
|---|---|
| `head_ema.*`, the teacher's head | `decoder/*`, by the names of `patchbank.methods.cause_tr.names` |
| `codebook` (M, D) | `decoder/codebook` |
| `cluster_probe` (K, R) | `classes/k<K>-s0`, at length 1 |

The public code writes the head to `segment_tr.pth`, codebook and probe to `cluster_tr.pth` beside it, and reads both
without asking for every name. Import takes the first, and the second from beside it; export writes one file with all
of them, which serves as either. The student, projections, the linear probe and the backbone are left out.

The teacher of a published checkpoint was moved by labels in the third phase (docs/field.md), so the record of every
import says ``oracle: train``, that of a file that `export` wrote too: the format cannot tell.

Source: CAUSE, https://github.com/ByungKwanLee/Causal-Unsupervised-Segmentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from pathlib import Path

from patchbank.errors import UserError
from patchbank.methods.shape import Option

OPTIONS = (Option("rows", "rows of patches of a picture, 0 where the grid is a square", default=0),)
BESIDE = "cluster_tr.pth"
TEACHER = "head_ema."


def import_published(source: Path, target: Path, options: Mapping[str, int]) -> None:
    """Write teacher, codebook and probe as a checkpoint of ours, whose tokens are not centred.

    Raises:
        UserError: a file or a tensor is missing, shapes do not fit, or the grid is no square and no rows are given.
    """
    from patchbank.checkpoints.store import check_keys
    from patchbank.methods.cause_tr.head import DecoderHead
    from patchbank.methods.cause_tr.infer import METHOD
    from patchbank.methods.cause_tr.names import ours_of
    from patchbank.methods.cause_tr.settings import DecoderSettings
    from patchbank.methods.tools.class_heads import import_class_head
    from patchbank.methods.tools.correspondence import unit
    from patchbank.methods.tools.published_heads import ending, read_state

    state = read_state(source)
    other = source if "cluster_probe" in {key.rpartition(".")[2] for key in state} else source.with_name(BESIDE)
    rest = state if other == source else read_state(other)
    codebook, probe = ending(other, rest, "codebook"), ending(other, rest, "cluster_probe")
    weights = ours_of(lambda name: ending(source, state, TEACHER + name)) | {"codebook": codebook}
    patches, hidden, width = len(weights["positions"]), len(weights["widen.bias"]), len(weights["codes.out.bias"])
    head = DecoderHead(codebook, patches, width, hidden, 0)
    check_keys(source, weights, head.state_dict())
    head.load_state_dict(weights)
    sizes = {"width": width, "hidden": hidden, "codes": len(codebook)}
    own = {**sizes, "views": "five", "centre": "none", "probe": "reference"}
    shared = {"k": [len(probe)], "kmeans_seeds": [0], "kmeans": {}}
    settings = DecoderSettings.resolved(own, shared, *shared)
    more = {"grid": _grid(source, patches, options["rows"]), "oracle": "train"}
    import_class_head(target, METHOD, head, unit(probe), settings, source.name, more)


def _grid(source: Path, patches: int, rows: int) -> list[int]:
    """(h, w) of so many patches."""
    h = rows or isqrt(patches)
    if h < 1 or patches % h or (not rows and h * h != patches):
        given = f"which are not {rows} rows of equal length" if rows else "which are no square; give --rows"
        raise UserError(f"{source} has positions of {patches} patches, {given}.")
    return [h, patches // h]


def export_published(source: Path, target: Path) -> None:
    """Write head, codebook and the vectors of the first variant; tokens may not be centred."""
    from patchbank.checkpoints.torch_files import save_torch
    from patchbank.methods.cause_tr.infer import load
    from patchbank.methods.cause_tr.names import theirs_of

    model = load(source)
    if model.shift is not None:
        raise UserError(f"{source} centres its tokens; the published format cannot say that.")
    own = model.encoder.state_dict()
    named = {TEACHER + name: value for name, value in theirs_of(own).items()}
    save_torch(target, named | {"codebook": own["codebook"], "cluster_probe": model.first_vectors()})
