"""How tokens become small ones: a few directions of them instead of all channels, whole numbers of 8 bits instead of
16. Shapes the values of banks (`patchbank.bank.identity`).

Every shard of such a bank holds beside its rows what its tokens were coded with:

| dataset | shape | dtype | where | meaning |
|---|---|---|---|---|
| `token_directions` | (K, D) | float32 | `pca: K` | orthonormal rows, by which the encoder's tokens are multiplied |
| `token_centre` | (K or D,) | float32 | `int8` | mean of the sample's tokens |
| `token_step` | (K or D,) | float32 | `int8` | token = `token_centre` + `token_step` * code, code from -127 to 127 |

The directions are neither whitened nor centred: products of tokens, and so distances and cosines, stay what they were
but for what other directions hold, and every method reads such tokens as it reads all channels. Where they and the
steps come from says `patchbank.bank.coding_fit`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from patchbank.views.fields import Shapes

LEVELS = 127
"""Codes go from -127 to 127."""
PREFIX = "token_"
PARTS = ("directions", "centre", "step")


@dataclass(frozen=True)
class Coding:
    """What tokens of a bank are coded with; a part that is None is not done.

    Attributes:
        directions: (K, D) float32, orthonormal rows.
        centre, step: (K,) float32, or (D,) without directions; both or none.
    """

    directions: NDArray[np.float32] | None = None
    centre: NDArray[np.float32] | None = None
    step: NDArray[np.float32] | None = None
    _there: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The parts by the names of their datasets."""
        parts = {f"{PREFIX}{name}": getattr(self, name) for name in PARTS}
        return {name: part for name, part in parts.items() if part is not None}

    @classmethod
    def of(cls, datasets: Mapping[str, Any]) -> Coding:
        """The inverse of `arrays`, from an open shard or any other mapping."""
        names = [name for name in PARTS if f"{PREFIX}{name}" in datasets]
        return cls(**{name: np.asarray(datasets[f"{PREFIX}{name}"], np.float32) for name in names})

    @property
    def sha256(self) -> str:
        """SHA-256 over names, shapes and values of the parts."""
        found = hashlib.sha256()
        for name, part in sorted(self.arrays.items()):
            found.update(f"{name}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    def shapes(self, shapes: Shapes, dtype: str) -> Shapes:
        """Shapes of a row (`patchbank.bank.encode.row_shapes`) with coded tokens of that dtype."""
        *views, dim = shapes["tokens"][0]
        width = dim if self.directions is None else len(self.directions)
        return {**shapes, "tokens": ((*views, width), np.dtype(dtype))}

    def project(self, tokens: torch.Tensor) -> torch.Tensor:
        """What readers will be given of the encoder's tokens (..., D) float32 but for rounding: (..., K), or all."""
        if self.directions is None:
            return tokens
        return tokens @ self._beside(tokens, "directions").T

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Codes int8 of projected tokens (..., K or D): the nearest (of two the even one), of values far from the
        centre the last."""
        assert self.centre is not None
        assert self.step is not None
        codes = (tokens - self._beside(tokens, "centre")).div_(self._beside(tokens, "step"))
        return codes.round_().clamp_(-LEVELS, LEVELS).to(_int8())

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Tokens float32 of codes, on their device."""
        assert self.centre is not None
        assert self.step is not None
        tokens = codes.float()
        return tokens.mul_(self._beside(tokens, "step")).add_(self._beside(tokens, "centre"))

    def _beside(self, tokens: torch.Tensor, name: str) -> torch.Tensor:
        """A part on the device of tokens; copied there once, because a copy waits for all that the device does."""
        import torch

        key = (name, str(tokens.device))
        if key not in self._there:
            self._there[key] = torch.from_numpy(getattr(self, name)).to(tokens.device)
        return self._there[key]

    def decode_into(self, codes: NDArray[np.int8], out: NDArray[Any]) -> None:
        """The same of arrays."""
        assert self.centre is not None
        assert self.step is not None
        np.multiply(codes, self.step, out=out, casting="same_kind")
        np.add(out, self.centre, out=out, casting="same_kind")


def _int8() -> torch.dtype:
    import torch

    return torch.int8
