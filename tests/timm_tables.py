"""Writes `patchbank/weights/tables/`, what timm says of the models that are read: `python tests/timm_tables.py`."""

from __future__ import annotations

import csv
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from timm_models import vit_names
from torch import nn

from patchbank.errors import UserError
from patchbank.weights.facts import MODELS, TAGS
from patchbank.weights.readable import check_readable


def facts(model: Any) -> dict[str, Any]:
    """What a row of `models.csv` holds, but its name and depth."""
    norms = [name for name in ("norm", "fc_norm") if not isinstance(getattr(model, name), nn.Identity)]
    return {
        "width": model.embed_dim,
        "heads": model.blocks[0].attn.num_heads,
        "patch": model.patch_embed.patch_size[0],
        "prefix": model.num_prefix_tokens,
        "class_token": int(model.cls_token is not None),
        "norm": norms[0] if norms else "none",
    }


def tag_facts(tag: str) -> dict[str, Any]:
    """What a row of `tags.csv` holds, but its name."""
    found = get_pretrained_cfg(tag)
    assert found is not None
    mean, std = (" ".join(f"{value:.12g}" for value in values) for values in (found.mean, found.std))
    return {"mean": mean, "std": std, "size": found.input_size[1], "licence": found.license or "unknown"}


def write() -> None:
    """All readable models, built without memory, and their pretrained tags."""
    models, tags = [], []
    for name in vit_names():
        try:
            with torch.device("meta"):
                model = timm.create_model(name, num_classes=0, dynamic_img_size=True)
            check_readable(model, name)
        except (TypeError, UserError):
            continue
        models.append({"model": name, "depth": len(model.blocks), **facts(model)})
        tags += [{"tag": tag, **tag_facts(tag)} for tag in timm.list_pretrained(f"{name}.*") or []]
    for path, rows in ((MODELS, models), (TAGS, tags)):
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    write()
