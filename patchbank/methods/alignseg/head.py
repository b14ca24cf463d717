"""A trained head on disk: the decoder, its settings, and the statistics that its tokens are centred with.

A checkpoint (`patchbank.checkpoints.store`) holds the decoder's parameters as ``decoder/<name>`` and, unless
``centre`` is ``none``, ``centre/mean`` (D,) and for ``standardise`` ``centre/std`` (D,), float64; with a metric also
``metric`` (D, d) float32. So a prediction needs no other file of the training run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchbank.bank.centring import Centring
from patchbank.checkpoints.store import check_keys, load_checkpoint, save_checkpoint
from patchbank.errors import UserError
from patchbank.methods.alignseg.grouping import group
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.settings import AlignSegSettings

METHOD = "alignseg"
_DECODER, _CENTRE, _METRIC = "decoder/", "centre/", "metric"


@dataclass(frozen=True)
class Head:
    """What `load_head` returns."""

    model: QueryDecoder
    settings: AlignSegSettings
    centring: Centring
    record: Mapping[str, Any]
    metric: Tensor | None = None

    def scores(self, tokens: Tensor, inverse_norms: Tensor, plain: bool = False) -> Tensor:
        """Scores (C, Q, N) of centred tokens (C, N, D) of inverse length (C, N) with the segments of their image.

        `plain` runs the decoder in its textbook form (`QueryDecoder.forward`), which can be written as ONNX.
        """
        options = self.settings
        metric = None if self.metric is None else self.metric.to(tokens.device)
        return group(tokens, inverse_norms, self.model(tokens, plain), options.refine, metric, options.merge_above)


def save_head(
    path: str | Path,
    model: QueryDecoder,
    settings: AlignSegSettings,
    centring: Centring,
    record: Mapping[str, Any],
    metric: Tensor | None = None,
) -> None:
    """Write a head; `record` adds where it comes from (seed, backbone, bank, ...)."""
    tensors = {_DECODER + name: value for name, value in model.state_dict().items()}
    for name, value in (("mean", centring.mean), ("std", centring.std)):
        if value is not None:
            tensors[_CENTRE + name] = value
    if metric is not None:
        tensors[_METRIC] = metric
    save_checkpoint(path, tensors, {**record, "method": METHOD, "dim": model.dim, "settings": asdict(settings)})


def load_head(path: str | Path) -> Head:
    """Read a head.

    Raises:
        UserError: no checkpoint of AlignSeg, or one with missing, foreign or misshapen keys.
    """
    tensors, record = load_checkpoint(path)
    if record.get("method") != METHOD:
        raise UserError(f"{path} is a checkpoint of {record.get('method')!r}, not of {METHOD!r}.")
    settings = AlignSegSettings.from_mapping(record["settings"])
    model = QueryDecoder(int(record["dim"]), settings)
    expected = {_DECODER + name: value for name, value in model.state_dict().items()}
    statistics = {"none": (), "mean": ("mean",), "standardise": ("mean", "std")}[settings.centre]
    expected |= {_CENTRE + name: torch.empty(model.dim) for name in statistics}
    if settings.metric != "none":
        expected[_METRIC] = torch.empty(model.dim, settings.metric_dims)
    check_keys(path, tensors, expected)
    model.load_state_dict({name: tensors[_DECODER + name] for name in model.state_dict()})
    centring = Centring(tensors.get(_CENTRE + "mean"), tensors.get(_CENTRE + "std"))
    return Head(model.eval(), settings, centring, record, tensors.get(_METRIC))


def check_backbone(head: Head, found: Mapping[str, Any], path: str | Path) -> None:
    """Raise `UserError` when the bank's backbone differs from the one that the head was trained on.

    Args:
        head: the head; one imported from elsewhere knows no backbone and passes.
        found: `backbone` of the bank's record.
        path: the checkpoint, for the message.
    """
    expected = head.record.get("backbone")
    if expected is None:
        return
    differing = [f"{key} {found.get(key)!r} instead of {value!r}" for key, value in expected.items()]
    differing = [text for text, key in zip(differing, expected, strict=True) if found.get(key) != expected[key]]
    if differing:
        raise UserError(f"The bank's backbone is not the one that {path} was trained on: {'; '.join(differing)}.")
