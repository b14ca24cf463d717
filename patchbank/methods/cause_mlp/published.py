"""Checkpoints of the public code of CAUSE-MLP, and back (`patchbank import cause-mlp`, `export cause-mlp`).

| published, behind any wrapper | ours |
|---|---|
| `head_ema.f1.*` (1x1 convolutions, all three), the teacher's head | `decoder/direct.*` |
| `head_ema.f2.0.*` | `decoder/hidden.*` |
| `head_ema.f2.2.*` | `decoder/out.*` |
| `cluster_probe` (K, R) | `classes/k<K>-s0`, at length 1 |

The files are `segment_mlp.pth` and `cluster_mlp.pth` (`patchbank.methods.tools.cause.published`). The codebook, which
predictions do not need, is left out both ways.

Source: CAUSE, https://github.com/ByungKwanLee/Causal-Unsupervised-Segmentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from patchbank.methods.shape import Option

OPTIONS: tuple[Option, ...] = ()
BESIDE = "cluster_mlp.pth"
LAYERS = {"direct": "f1", "hidden": "f2.0", "out": "f2.2"}


def import_published(source: Path, target: Path, options: Mapping[str, int]) -> None:
    """Write teacher and probe as a checkpoint of ours, whose tokens are not centred.

    Raises:
        UserError: a file or a tensor is missing, or shapes do not fit.
    """
    from patchbank.methods.cause_mlp.infer import METHOD
    from patchbank.methods.cause_mlp.settings import resolve
    from patchbank.methods.tools.cause.published import MOVED, PROBE, TEACHER, read_both
    from patchbank.methods.tools.class_heads import import_class_head
    from patchbank.methods.tools.correspondence import unit
    from patchbank.methods.tools.published_heads import ending, read_head

    state, other, rest = read_both(source, BESIDE)
    probe = ending(other, rest, PROBE)
    head = read_head(source, state, {ours: TEACHER + theirs for ours, theirs in LAYERS.items()}, "relu")
    own = {"width": head.width, "views": "five", "centre": "none", "probe": "reference"}
    settings = resolve(own, {"k": [len(probe)], "kmeans_seeds": [0], "kmeans": {}})
    import_class_head(target, METHOD, head, unit(probe), settings, source.name, MOVED)


def export_published(source: Path, target: Path) -> None:
    """Write head and the vectors of the first variant; tokens may not be centred."""
    from patchbank.checkpoints.torch_files import save_torch
    from patchbank.methods.cause_mlp.infer import load
    from patchbank.methods.tools.cause.published import PROBE, TEACHER
    from patchbank.methods.tools.published_heads import check_uncentred, published_layers

    model = load(source)
    check_uncentred(source, model)
    layers = published_layers(model.encoder, LAYERS, TEACHER)  # type: ignore[arg-type]
    save_torch(target, layers | {PROBE: model.first_vectors()})
