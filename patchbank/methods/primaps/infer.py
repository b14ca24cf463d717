"""PriMaPs outside a bank: prototypes on tokens of any source, and proposals of a picture, which train nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from patchbank.bank.centring import Centring, moments
from patchbank.bank.statistics import Statistics
from patchbank.errors import UserError
from patchbank.methods.primaps.proposals import Rule, proposals_of
from patchbank.methods.primaps.settings import PrimapsSettings
from patchbank.methods.shape import Seen
from patchbank.methods.tools.class_heads import ClassHead, load_class_head

METHOD = "primaps"


def load(path: str | Path) -> ClassHead:
    """Read prototypes; `UserError` where they are none of PriMaPs."""
    return load_class_head(path, METHOD)


class Proposals:
    """``stage: proposals``, as `patchbank.methods.shape.PictureModel`.

    Args:
        record: see `patchbank.methods.shape.Untrained.make`.
        statistics: of the set's train tokens; without them a picture is centred with its own tokens.
    """

    reads_block = False

    def __init__(self, record: Mapping[str, Any], statistics: Statistics | None) -> None:
        self.record, self._statistics = record, statistics
        self._settings = PrimapsSettings.part_of(record["settings"])
        self.segments = self._settings.most + 1
        self.dim = 0 if statistics is None else len(statistics.mean)

    def scores_of(self, seen: Seen) -> Tensor:
        """(Q, N): 0 for the proposal of a patch, -1 for the others."""
        settings, tokens = self._settings, seen.tokens.cpu().float()
        centring = Centring.of(self._statistics or moments(tokens.numpy()), settings.centre, tokens.shape[1])
        rule = Rule(settings.threshold, settings.most, settings.reference)
        labels = proposals_of(centring(tokens), seen.grid, rule).flatten()
        return one_hot(labels, self.segments).T.float() - 1

    def to(self, device: torch.device) -> Proposals:
        """Proposals are made on the CPU."""
        return self


def make(record: Mapping[str, Any], statistics: Path | None) -> Proposals:
    """Proposals of a row; `UserError` where its settings train prototypes."""
    stage = record["settings"]["stage"]
    if stage != "proposals":
        raise UserError(f"PriMaPs with stage: {stage} learns prototypes; name a trained row, or set stage: proposals.")
    return Proposals(record, None if statistics is None else Statistics.load(statistics))
