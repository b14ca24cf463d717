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
from patchbank.checkpoints.store import check_keys, save_checkpoint
from patchbank.methods.alignseg.grouping import group
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.methods.tools.heads import decoder_tensors, load_decoder, load_own

METHOD = "alignseg"
_CENTRE, _METRIC = "centre/", "metric"


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
    tensors = decoder_tensors(model)
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
    tensors, record = load_own(path, METHOD)
    settings = AlignSegSettings.from_mapping(record["settings"])
    model = QueryDecoder(int(record["dim"]), settings)
    expected = decoder_tensors(model)
    statistics = {"none": (), "mean": ("mean",), "standardise": ("mean", "std")}[settings.centre]
    expected |= {_CENTRE + name: torch.empty(model.dim) for name in statistics}
    if settings.metric != "none":
        expected[_METRIC] = torch.empty(model.dim, settings.metric_dims)
    check_keys(path, tensors, expected)
    load_decoder(model, tensors)
    centring = Centring(tensors.get(_CENTRE + "mean"), tensors.get(_CENTRE + "std"))
    return Head(model.eval(), settings, centring, record, tensors.get(_METRIC))
