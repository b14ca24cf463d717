"""Checkpoints of STEGO's published code, and back (`patchbank import stego`, `export stego`).

| published, behind any wrapper | ours |
|---|---|
| `cluster1.0.*` (1x1 convolutions, all three) | `decoder/direct.*` |
| `cluster2.0.*` | `decoder/hidden.*` |
| `cluster2.2.*` | `decoder/out.*` |
| `cluster_probe.clusters` (K, C) | `classes/k<K>-s0`, at length 1 |

Backbone, linear probe and everything else are left out. Released files hold their configuration beside the weights as
objects, which are refused (no code in a file runs): save its `state_dict` alone first.

Source: STEGO, https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from patchbank.methods.shape import Option

OPTIONS: tuple[Option, ...] = ()
PROBE = "cluster_probe.clusters"


def import_published(source: Path, target: Path, options: Mapping[str, int]) -> None:
    """Write head and cluster probe as a checkpoint of ours, whose tokens are not centred."""
    from patchbank.methods.stego.infer import METHOD
    from patchbank.methods.stego.settings import resolve
    from patchbank.methods.tools.class_heads import import_class_head
    from patchbank.methods.tools.correspondence import unit
    from patchbank.methods.tools.published_heads import CLUSTER_LAYERS, ending, read_head, read_state

    state = read_state(source)
    head = read_head(source, state, CLUSTER_LAYERS, "relu")
    clusters = ending(source, {key: value for key, value in state.items() if "train_cluster" not in key}, PROBE)
    own = {"width": head.width, "views": "five", "centre": "none", "probe": "reference", "shifts": "given"}
    settings = resolve(own, {"k": [len(clusters)], "kmeans_seeds": [0], "kmeans": {}})
    import_class_head(target, METHOD, head, unit(clusters), settings, source.name)


def export_published(source: Path, target: Path) -> None:
    """Write head and the vectors of the first variant; centring has no place there and must be ``none``."""
    from patchbank.methods.stego.infer import load
    from patchbank.methods.tools.published_heads import CLUSTER_LAYERS, check_uncentred, write_state

    model = load(source)
    check_uncentred(source, model)
    write_state(target, model.encoder, CLUSTER_LAYERS, "net.", {PROBE: model.first_vectors()})  # type: ignore[arg-type]
