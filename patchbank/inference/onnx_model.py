"""`patchbank export onnx`: encoder and head as one ONNX model.

| | name | shape | dtype |
|---|---|---|---|
| in | `image` | (N, 3, S, S), any N | uint8 RGB, or float32 RGB in [0, 1] |
| out | `scores` | (N, Q, h, w) | float32, higher is better; the segment of a patch is the argmax over Q |

The input's normalisation, the centring of tokens and the resized position embeddings are inside; the squash to S x S is
not (PIL bilinear in the pipeline). Tokens stay float32, where the pipeline rounds them to float16. Every export is
compared with torch, batch by batch, before the file appears.
"""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import patchbank
from patchbank.backbones.sizes import round_to_patch
from patchbank.backbones.vit import FrozenViT
from patchbank.errors import UserError
from patchbank.files import atomic_path
from patchbank.inference.encoder import load_encoder, load_model
from patchbank.inference.segmenter import averages
from patchbank.methods.one_grid import check_grid
from patchbank.methods.shape import PictureModel, TokenModel

LOG = logging.getLogger(__name__)
TOLERANCE = 1e-3
"""Largest difference of a score (a cosine) between torch and onnxruntime that passes."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")

Input = Literal["uint8", "float32"]


@dataclass(frozen=True)
class Exported:
    """What `export_onnx` wrote.

    Attributes:
        size: side S of the input in pixels.
        grid: (h, w) of the scores.
        difference: largest absolute difference from torch.
    """

    size: int
    grid: tuple[int, int]
    difference: float


class EncoderAndHead(nn.Module):
    """Images (N, 3, H, W) to scores (N, Q, h, w), in operations that ONNX has.

    Args:
        vit: the encoder, on a CPU in float32.
        model: the method's model.
        kind: dtype of the images; float32 ones lie in [0, 1].
        grid: (h, w) of the patch grid.
    """

    def __init__(self, vit: FrozenViT, model: TokenModel, kind: Input, grid: tuple[int, int]) -> None:
        super().__init__()
        self.encoder, self.head = vit.model, model
        self._vit, self._factor, self._grid = vit, 255 if kind == "float32" else 1, grid
        # under inference mode nothing is recorded; what it wraps is the same code
        self._encode: Any = inspect.unwrap(FrozenViT.__call__)

    def forward(self, image: Tensor) -> Tensor:
        """Scores (N, Q, h, w)."""
        pixels = image.permute(0, 2, 3, 1) * self._factor
        tokens = self._encode(self._vit, self._vit.normalise(pixels)).tokens
        return _on_grid(self.head(tokens), self._grid)


def export_onnx(
    checkpoint: str | Path,
    out: str | Path,
    size: int = 448,
    kind: Input = "uint8",
    weights: str | Path | None = None,
    backbone: str | None = None,
) -> Exported:
    """Write encoder and head as one ONNX model and compare it with torch.

    Args:
        checkpoint: of a method that offers `infer.py`.
        out: `.onnx` to write; it appears only when the comparison passed.
        size: side of the input in pixels, rounded to the patch.
        kind: dtype of the input.
        weights, backbone: see `patchbank.inference.encoder.load_encoder`.

    Raises:
        UserError: a package is missing, a model cannot be loaded, or onnxruntime disagrees with torch.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"Writing ONNX needs {', '.join(missing)}; install them with `pip install 'patchbank[onnx]'`.")
    if size < 1:
        raise UserError(f"--size is {size}, it must be at least 1.")
    model = load_model(checkpoint)
    if isinstance(model, PictureModel):
        raise UserError(f"{checkpoint} scores no single tokens, of which ONNX models are made; export another row.")
    if averages(model):
        LOG.warning("%s averages with the mirror image (mirror: true), which its ONNX model does not do", checkpoint)
    vit = load_encoder(model, checkpoint, backbone, weights, "cpu")
    side = round_to_patch(size, vit.patch)
    grid = vit.grid(side, side)
    check_grid(model, grid, f"An image of {side}x{side} pixels", f"with patches of {vit.patch} pixels, change --size")
    samples = [_sample(count, side, kind) for count in (2, 1)]
    proto = _trace(EncoderAndHead(vit, model, kind, grid).eval(), samples[0])
    _describe(proto, vit, model, side)
    import onnx

    with atomic_path(out) as temporary:
        onnx.save(proto, str(temporary))
        difference = max(_difference(temporary, sample, vit, model) for sample in samples)
        if not difference <= TOLERANCE:
            raise UserError(
                f"onnxruntime differs from torch by {difference:.2g}, more than {TOLERANCE:g}, so nothing was "
                "written; another version of onnxruntime or torch may help."
            )
    return Exported(side, grid, difference)


def torch_scores(vit: FrozenViT, model: TokenModel, images: Tensor) -> Tensor:
    """What torch computes for the model's input, on the way that `patchbank segment` takes, tokens in float32.

    Args:
        vit, model: encoder and head.
        images: (N, 3, H, W) uint8, or float32 in [0, 1].

    Returns:
        (N, Q, h, w) float32.
    """
    pixels = images if images.dtype == torch.uint8 else images * 255
    with torch.inference_mode():
        scores = model.scores(vit(vit.normalise(pixels.permute(0, 2, 3, 1))).tokens)
    return _on_grid(scores, vit.grid(images.shape[2], images.shape[3]))


def _on_grid(scores: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, Q, h * w) as (N, Q, h, w)."""
    return scores.view(*scores.shape[:2], *grid)


def _trace(module: nn.Module, sample: Tensor) -> Any:
    """The ONNX model of `module` for any number of images."""
    quiet = logging.getLogger("onnxscript")
    before = quiet.level
    quiet.setLevel(logging.ERROR)  # its notes on constant folding are no news for a user
    try:
        with torch.no_grad():
            program = torch.export.export(
                module, (sample,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
            )
            written = torch.onnx.export(
                program, input_names=["image"], output_names=["scores"], dynamo=True, verbose=False
            )
    finally:
        quiet.setLevel(before)
    assert written is not None
    return written.model_proto


def _describe(proto: Any, vit: FrozenViT, model: TokenModel, side: int) -> None:
    """Write into the file where it comes from."""
    from onnx import helper

    facts = {
        "package": f"patchbank {patchbank.__version__}",
        "backbone": json.dumps(model.record.get("backbone") or vit.spec.name, sort_keys=True),
        "settings": json.dumps(model.record["settings"], sort_keys=True),
        "size": str(side),
        **({"oracle": model.record["oracle"]} if "oracle" in model.record else {}),
    }
    helper.set_model_props(proto, facts)


def _sample(count: int, side: int, kind: Input) -> Tensor:
    """Noise pictures of every roughness, the same at every call."""
    random = np.random.default_rng(0)
    cells = torch.from_numpy(random.integers(0, 256, (count, 3, 8, 8)).astype(np.float32))
    smooth = nn.functional.interpolate(cells, (side, side), mode="bilinear")
    noise = torch.from_numpy(random.integers(-20, 21, (count, 3, side, side)).astype(np.float32))
    images = (smooth + noise).clamp(0, 255).round()
    return images.to(torch.uint8) if kind == "uint8" else images / 255


def _difference(path: Path, images: Tensor, vit: FrozenViT, model: TokenModel) -> float:
    """Largest absolute difference of the file's scores from torch's; infinite where one is not a number."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(["scores"], {"image": images.numpy()})[0]
    expected = torch_scores(vit, model, images).numpy()
    if scores.shape != expected.shape or not np.isfinite(scores).all():
        return float("inf")
    return float(np.abs(scores - expected).max())
