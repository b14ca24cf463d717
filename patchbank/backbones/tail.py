"""The class token's way through the read block, from its attention output to what the encoder returns.

Projection, LayerScale (`ls1`, `ls2`, or `gamma_1`, `gamma_2` of Eva), residual, MLP, residual, and the final norm
where the backbone's read asks for it: all that a gradient at the attention's class-token row needs, without the image.
Stored beside a bank that holds the block's values (recipe `lastblock`), so that later stages never build the encoder.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from patchbank.checkpoints.store import check_keys, load_checkpoint, save_tensors
from patchbank.errors import UserError
from patchbank.weights.model import build_model

if TYPE_CHECKING:
    from patchbank.backbones.encoder import Encoder

FILE = "tail.safetensors"
BLOCKS = ("Block", "EvaBlock")
"""timm's blocks whose tail is known: residual plus scaled attention, then residual plus scaled MLP."""
OTHERWISE = "Choose another backbone, or give TransFGU `pseudo_label: token_similarity`."


class Scale(nn.Module):
    """A LayerScale, under the name that timm's own has, where the block holds its numbers itself.

    Args:
        gamma: (D,).
    """

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.gamma = nn.Parameter(gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (..., D), scaled by channel."""
        return x * self.gamma


class ClassTail(nn.Module):
    """Frozen; float32 whatever the encoder's precision was.

    Args:
        block: the timm block that is read.
        norm: the model's final norm, or None.

    Raises:
        UserError: the block normalises or gates its attention output, or adds it after a norm, which the closed form
            does not cover.
    """

    def __init__(self, block: Any, norm: nn.Module | None) -> None:
        super().__init__()
        attention, kind = block.attn, type(block).__name__
        if kind not in BLOCKS:
            known = " and ".join(BLOCKS)
            raise UserError(f"Attention gradients are read of {known}; this backbone has {kind}. {OTHERWISE}")
        if not isinstance(attention.norm, nn.Identity) or getattr(attention, "gate", None) is not None:
            raise UserError(
                "This backbone normalises or gates its attention output, which attention gradients do not cover. "
                + OTHERWISE
            )
        scales = (_scale(block, 1), _scale(block, 2))
        parts = (attention.proj, scales[0], block.norm2, block.mlp, scales[1], norm or nn.Identity())
        self.proj, self.ls1, self.norm2, self.mlp, self.ls2, self.norm = (copy.deepcopy(part) for part in parts)
        self.float().eval().requires_grad_(False)

    def forward(self, mixed: Tensor, residual: Tensor) -> Tensor:
        """Class token (..., D) from its attention output and its residual, both (..., D)."""
        token = residual + self.ls1(self.proj(mixed))
        result: Tensor = self.norm(token + self.ls2(self.mlp(self.norm2(token))))
        return result


def _scale(block: Any, index: int) -> nn.Module:
    """LayerScale after the attention (1) or the MLP (2): a module of `Block`, a parameter or None of `EvaBlock`."""
    if hasattr(block, f"ls{index}"):
        scale: nn.Module = getattr(block, f"ls{index}")
        return scale
    gamma = getattr(block, f"gamma_{index}")
    return nn.Identity() if gamma is None else Scale(gamma)


def tail_of(vit: Encoder) -> ClassTail:
    """The tail of an encoder's read block."""
    model: Any = vit.model
    return ClassTail(model.blocks[vit.block], model.norm if vit.spec.norm else None)


def save_tail(folder: str | Path, vit: Encoder, content: str) -> None:
    """Write the tail beside a bank; `content` is the hash of the bank's record that its shards carry, too."""
    record = {"model": vit.spec.model, "block": vit.block, "norm": vit.spec.norm, "content": content}
    save_tensors(Path(folder) / FILE, tail_of(vit).state_dict(), record)


def load_tail(folder: str | Path, content: str) -> ClassTail:
    """Read what `save_tail` wrote; `UserError` when it is missing or belongs to another bank."""
    path = Path(folder) / FILE
    tensors, record = load_checkpoint(path)
    if record.get("content") != content:
        raise UserError(f"{path} belongs to another bank; `snakemake eval_<set> --forcerun extract` writes it again.")
    model: Any = build_model(record["model"])
    tail = ClassTail(model.blocks[record["block"]], model.norm if record["norm"] else None)
    check_keys(path, tensors, tail.state_dict())
    tail.load_state_dict(tensors)
    return tail
