"""Checkpoints of SmooSeg's published code, and back (`patchbank import smooseg`, `export smooseg`).

| published, behind any wrapper | ours |
|---|---|
| `projection.cluster1.0.*` (1x1 convolutions, all three) | `decoder/direct.*` |
| `projection.cluster2.0.*` | `decoder/hidden.*` |
| `projection.cluster2.2.*` | `decoder/out.*` |
| `global_clusters` (K, C), the teacher's prototypes | `classes/k<K>-s0`, at length 1 |

Everything else is left out.

Source: SmooSeg, https://github.com/mc-lan/SmooSeg.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from patchbank.methods.shape import Option

OPTIONS: tuple[Option, ...] = ()
PROTOTYPES = "global_clusters"


def import_published(source: Path, target: Path, options: Mapping[str, int]) -> None:
    """Write head and prototypes as a checkpoint of ours, whose tokens are not centred."""
    from patchbank.methods.smooseg.infer import METHOD
    from patchbank.methods.smooseg.settings import resolve
    from patchbank.methods.tools.class_heads import import_class_head
    from patchbank.methods.tools.correspondence import unit
    from patchbank.methods.tools.published_heads import CLUSTER_LAYERS, ending, read_head, read_state

    state = read_state(source)
    head = read_head(source, state, CLUSTER_LAYERS, "silu")
    prototypes = ending(source, state, PROTOTYPES)
    own = {"width": head.width, "views": "five", "centre": "none"}
    settings = resolve(own, {"k": [len(prototypes)], "kmeans_seeds": [0], "kmeans": {}})
    import_class_head(target, METHOD, head, unit(prototypes), settings, source.name)


def export_published(source: Path, target: Path) -> None:
    """Write head and the vectors of the first variant; centring has no place there and must be ``none``."""
    from patchbank.methods.smooseg.infer import load
    from patchbank.methods.tools.published_heads import CLUSTER_LAYERS, check_uncentred, write_state

    model = load(source)
    check_uncentred(source, model)
    more = {PROTOTYPES: model.first_vectors()}
    write_state(target, model.encoder, CLUSTER_LAYERS, "projection.", more)  # type: ignore[arg-type]
