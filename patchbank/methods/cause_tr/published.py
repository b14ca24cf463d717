"""Checkpoints of the public code of CAUSE-TR, and back (`patchbank import cause-tr`, `export cause-tr`).

| published, behind any wrapper | ours |
|---|---|
| `head_ema.*`, the teacher's head | `decoder/*`, by the names of `patchbank.methods.cause_tr.names` |
| `codebook` (M, D) | `decoder/codebook` |
| `cluster_probe` (K, R) | `classes/k<K>-s0`, at length 1 |

The files are `segment_tr.pth` and `cluster_tr.pth` (`patchbank.methods.tools.cause.published`).

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
    from patchbank.methods.tools.cause.published import MOVED, PROBE, TEACHER, read_both
    from patchbank.methods.tools.class_heads import import_class_head
    from patchbank.methods.tools.correspondence import unit
    from patchbank.methods.tools.published_heads import ending

    state, other, rest = read_both(source, BESIDE)
    codebook, probe = ending(other, rest, "codebook"), ending(other, rest, PROBE)
    weights = ours_of(lambda name: ending(source, state, TEACHER + name)) | {"codebook": codebook}
    patches, hidden, width = len(weights["positions"]), len(weights["widen.bias"]), len(weights["codes.out.bias"])
    head = DecoderHead(codebook, patches, width, hidden, 0)
    check_keys(source, weights, head.state_dict())
    head.load_state_dict(weights)
    sizes = {"width": width, "hidden": hidden, "codes": len(codebook)}
    own = {**sizes, "views": "five", "centre": "none", "probe": "reference"}
    shared = {"k": [len(probe)], "kmeans_seeds": [0], "kmeans": {}}
    settings = DecoderSettings.resolved(own, shared, *shared)
    more = {"grid": _grid(source, patches, options["rows"]), **MOVED}
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
    from patchbank.methods.tools.cause.published import PROBE, TEACHER
    from patchbank.methods.tools.published_heads import check_uncentred

    model = load(source)
    check_uncentred(source, model)
    own = model.encoder.state_dict()
    named = {TEACHER + name: value for name, value in theirs_of(own).items()}
    save_torch(target, named | {"codebook": own["codebook"], PROBE: model.first_vectors()})
