"""What a killed training run needs to go on: written between epochs, removed after success.

`<state_root>/<digest>/` holds `centroids.safetensors` and `pseudo_labels.h5`, made once before the first step, and
`state.safetensors` with student (``student/``), teacher (``teacher/``), moments of Adam and the rows of the log so far.
The digest is of everything that shapes the run, so a state is never picked up by a run that differs in anything.
No generator has a state to store: every random decision is derived from (seed, epoch, batch).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from patchbank.checkpoints.store import load_checkpoint, save_tensors
from patchbank.files import digest
from patchbank.methods.transfgu.logs import COLUMNS
from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.optimiser import optimiser_tensors, restore_optimiser


class TrainingState:
    """The resumable state of one run.

    Args:
        root: folder of all states.
        identity: JSON values: everything that shapes the run.
    """

    def __init__(self, root: str | Path, identity: Mapping[str, Any]) -> None:
        self._identity = dict(identity)
        self.folder = Path(root) / digest(self._identity, 16)
        self.centroids = self.folder / "centroids.safetensors"
        self.pseudo_labels = self.folder / "pseudo_labels.h5"
        self._file = self.folder / "state.safetensors"

    def save(
        self,
        student: MaskDecoder,
        teacher: MaskDecoder,
        optimiser: torch.optim.Optimizer,
        epoch: int,
        rows: Sequence[Sequence[float]],
    ) -> None:
        """Store that epochs before `epoch` are done."""
        tensors = {f"student/{name}": value for name, value in student.state_dict().items()}
        tensors |= {f"teacher/{name}": value for name, value in teacher.state_dict().items()}
        tensors |= optimiser_tensors(optimiser, student)
        tensors["rows"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(COLUMNS))
        save_tensors(self._file, tensors, {"epoch": epoch, "identity": self._identity})

    def restore(
        self, student: MaskDecoder, teacher: MaskDecoder, optimiser: torch.optim.Optimizer
    ) -> tuple[int, list[list[float]]]:
        """Put the stored state into models and optimiser; return the next epoch and the rows so far.

        Without a state that is epoch 0 and no rows, and nothing is touched.
        """
        if not self._file.is_file():
            return 0, []
        tensors, record = load_checkpoint(self._file)
        for prefix, model in (("student", student), ("teacher", teacher)):
            model.load_state_dict({name: tensors[f"{prefix}/{name}"] for name in model.state_dict()})
        restore_optimiser(optimiser, student, tensors)
        rows: list[list[float]] = tensors["rows"].tolist()
        return int(record["epoch"]), rows

    def remove(self) -> None:
        """Delete the state: the run has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)
