"""What a killed training run needs to go on: written between epochs, removed after success.

One file `<state_root>/<digest>/state.safetensors`; the digest is of everything that shapes the run, so a state is
never picked up by a run that differs in anything. It holds the parameters of every model (``<name>/``), the moments of
the optimiser and the rows of the log so far. No generator has a state to store: every random decision is derived from
the seed and the number of an epoch or batch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from patchbank.checkpoints.store import load_checkpoint, save_tensors
from patchbank.files import digest
from patchbank.methods.tools.optimiser import optimiser_tensors, restore_optimiser


class TrainingState:
    """The resumable state of one run.

    Args:
        root: folder of all states.
        identity: JSON values: everything that shapes the run.
    """

    def __init__(self, root: str | Path, identity: Mapping[str, Any]) -> None:
        self._identity = dict(identity)
        self.folder = Path(root) / digest(self._identity, 16)
        self._file = self.folder / "state.safetensors"

    def save(
        self, models: Mapping[str, nn.Module], optimiser: Optimizer, epoch: int, rows: Sequence[Sequence[float]]
    ) -> None:
        """Store that epochs before `epoch` are done; the first of `models` is the one that `optimiser` moves."""
        tensors = {f"{key}/{name}": value for key, one in models.items() for name, value in one.state_dict().items()}
        tensors |= optimiser_tensors(optimiser, _moved(models))
        tensors["rows"] = torch.tensor(rows, dtype=torch.float64)
        save_tensors(self._file, tensors, {"epoch": epoch, "identity": self._identity})

    def restore(self, models: Mapping[str, nn.Module], optimiser: Optimizer) -> tuple[int, list[list[float]]]:
        """Put the stored state into models and optimiser; return the next epoch and the rows so far.

        Without a state that is epoch 0 and no rows, and nothing is touched.
        """
        if not self._file.is_file():
            return 0, []
        tensors, record = load_checkpoint(self._file)
        for key, model in models.items():
            model.load_state_dict({name: tensors[f"{key}/{name}"] for name in model.state_dict()})
        restore_optimiser(optimiser, _moved(models), tensors)
        rows: list[list[float]] = tensors["rows"].tolist()
        return int(record["epoch"]), rows

    def remove(self) -> None:
        """Delete the state: the run has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _moved(models: Mapping[str, nn.Module]) -> nn.Module:
    return next(iter(models.values()))
