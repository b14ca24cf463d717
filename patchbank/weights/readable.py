"""Which of timm's models are read right, by the classes that they are made of; every other one is refused by name.

Each combination below is compared with timm's own computation in `tests/backbones/test_families.py`. A model of other
classes would often run and give numbers of something else, so it is refused until somebody has verified it.
"""

from __future__ import annotations

from typing import Any

from patchbank.errors import UserError

VERIFIED = {
    "VisionTransformer": (("Block", "ResPostBlock"), ("Attention",), ("NoneType",)),
    "VisionTransformerDistilled": (("Block",), ("Attention",), ("NoneType",)),
    "Eva": (
        ("EvaBlock", "EvaBlockPostNorm"),
        ("EvaAttention", "AttentionRope"),
        ("NoneType", "RotaryEmbeddingCat", "RotaryEmbeddingMixed", "RotaryEmbeddingDinoV3"),
    ),
}
"""Class of the model -> classes of its blocks, of their attention and of its rotary position embedding."""
PATCHES = "PatchEmbed"
REASONS = {
    "Beit": "a bias by relative position is added inside its attention",
    "ConvNeXt": "it has no tokens of one grid in all its blocks",
    "DiffAttention": "its attention is a difference of two maps and no row of it sums to 1",
    "DiffParallelScalingBlock": "its attention is a difference of two maps and no row of it sums to 1",
    "Hiera": "its grid shrinks from stage to stage",
    "HybridEmbed": "its patches come from a convolutional network",
    "NaFlexVit": "its patches and positions are prepared outside the model",
    "ParallelScalingBlock": "its attention and MLP share one projection",
    "ParallelThingsBlock": "a block has several attentions side by side",
    "VisionTransformerRelPos": "a bias by relative position is added inside its attention",
    "VisionTransformerSAM": "most of its blocks attend inside windows only",
}
"""Why a class is not read, where that is known; of others only that nobody has verified them."""
WAY_OUT = "Choose another model; `patchbank backbones` lists some."


def check_readable(model: Any, name: str) -> None:
    """Raise `UserError` for a model that is not made of verified classes; it names the class and the reason."""
    kind = type(model).__name__
    if kind not in VERIFIED:
        raise not_read(name, kind)
    blocks, attentions, ropes = VERIFIED[kind]
    block = model.blocks[0]
    parts = [(block, blocks), (getattr(block, "attn", None), attentions), (getattr(model, "rope", None), ropes)]
    parts.append((model.patch_embed, (PATCHES,)))
    for part, known in parts:
        if type(part).__name__ not in known:
            raise not_read(name, type(part).__name__)
    height, width = model.patch_embed.patch_size
    if height != width:
        raise UserError(f"{name} has patches of {height}x{width} pixels, only square ones are read. {WAY_OUT}")


def not_read(name: str, kind: str) -> UserError:
    """The refusal of a model, because of that class of it."""
    reason = REASONS.get(kind, "nobody has verified that it would be read right")
    return UserError(f"{name} is not read: it has timm's class {kind}, and {reason}. {WAY_OUT}")
