"""Checkpoints of the published code (`patchbank import transfgu`, `patchbank export transfgu`).

A torch file with the decoder's state dict, or a dictionary with one under `state_dict`; names are those of our decoder,
with or without `module.` or `decoder.` in front. An encoder beside it is left out: it has its own weights file. Shapes
tell the number of classes, the width and the layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from patchbank.errors import UserError
from patchbank.methods.shape import Option

OPTIONS = (
    Option("heads", "attention heads, which no shape tells", default=6),
    Option("stuff", "how many of its classes are stuff", default=0),
    Option("background", "1 where its first class is background", default=0),
)
_WRAPPERS = ("module.", "decoder.")


def import_published(source: Path, target: Path, options: Mapping[str, int]) -> None:
    """Write a published decoder as a segmenter of ours, tokens not centred.

    Args:
        source: the torch file.
        target: the `.safetensors` to write.
        options: what no shape tells.

    Raises:
        UserError: no such file, or keys or shapes that do not fit.
    """
    from patchbank.bank.centring import Centring
    from patchbank.checkpoints.store import check_keys
    from patchbank.checkpoints.torch_files import load_torch
    from patchbank.methods.transfgu.head import Head, build_decoder, save_head
    from patchbank.methods.transfgu.settings import TransFGUSettings

    content = load_torch(source)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    state = state if isinstance(state, dict) else {}
    weights = {_plain(str(key)): value for key, value in state.items() if not _plain(str(key)).startswith("encoder")}
    if "cls_emb" not in weights:
        raise UserError(
            f"{source} holds no decoder of TransFGU (no cls_emb, with or without {' or '.join(_WRAPPERS)})."
        )
    classes, dim = (int(size) for size in weights["cls_emb"].shape[-2:])
    blocks = {int(match[1]) for key in weights if (match := re.match(r"blocks\.(\d+)\.", key))}
    settings = TransFGUSettings.from_mapping(
        {
            "things": classes - options["stuff"] - options["background"],
            "stuff": options["stuff"],
            "background": bool(options["background"]),
            "heads": options["heads"],
            "layers": len(blocks),
            "centre": "none",
        }
    )
    model = build_decoder(dim, settings)
    check_keys(source, weights, model.state_dict())
    model.load_state_dict(weights)
    save_head(target, Head(model, settings, Centring(), {}, {"imported_from": source.name}))


def export_published(source: Path, target: Path) -> None:
    """Write the decoder of a segmenter of ours as a plain state dict; its centring has no place there."""
    from patchbank.checkpoints.torch_files import save_torch
    from patchbank.methods.transfgu.head import load_head

    head = load_head(source)
    if head.settings.centre != "none":
        raise UserError(f"{source} centres its tokens ({head.settings.centre}); the published format cannot say that.")
    save_torch(target, head.model.state_dict())


def _plain(key: str) -> str:
    for wrapper in _WRAPPERS:
        key = key.removeprefix(wrapper)
    return key
