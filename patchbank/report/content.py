"""What one `report.json` holds: everything that is known about one dataset's results, and the source of every page.

The file has the fields of `Report` as keys, rows with the fields of `patchbank.report.rows.Row`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patchbank.errors import UserError, raise_problems
from patchbank.evaluation.compare import Comparison
from patchbank.files import read_json
from patchbank.left_out import LeftOut
from patchbank.plain import from_plain
from patchbank.report.protocols import order
from patchbank.report.published import PublishedNumber
from patchbank.report.rows import AGAIN, Row, misfit, parse_rows


@dataclass(frozen=True)
class BackboneContext:
    """The backbone as the report names it.

    Attributes:
        name: name in the configuration, e.g. ``"dinov2_vits14_saliency"``.
        model: timm model name.
        block: 0-based block whose output is read.
        norm: whether with the model's final norm.
        input_size: (H, W) in pixels that was really used, a multiple of the patch.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        weights_sha256: 64 hexadecimal digits of the weights.
        note: what a reader should know about the weights, e.g. that they are tuned for saliency.
    """

    name: str
    model: str
    block: int
    norm: bool
    input_size: tuple[int, int]
    precision: str
    weights_sha256: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """A report of one dataset.

    Attributes:
        dataset: name of the set.
        classes: names of its classes in the order of their ids; empty where it has none.
        images: number of images, keys ``"train"`` and ``"eval"``.
        backbone: the frozen features.
        labelled: whether the evaluation split has masks.
        fit: split that clusters were fitted on.
        preprocessing: preprocessing variant of the protocols.
        rows: methods, then floors, then ceilings; inside by protocol, K, variant (percent).
        provenance: `package`, `git`, `config`, `seeds`, `machine`; no times.
        elsewhere: rows at the further preprocessing variants of `score_at`.
        left_out: what could not be made.
        comparisons: differences between methods with their 95 % intervals.
        published: numbers of papers under these protocols.
        data: sentences on the set that a reader must know before any score, see `patchbank.datasets.notes`.
        notes: those, then the sentences that belong beside the numbers, see `patchbank.report.notes`.
    """

    dataset: str
    classes: tuple[str, ...]
    images: Mapping[str, int]
    backbone: BackboneContext
    labelled: bool
    fit: str
    preprocessing: str
    rows: tuple[Row, ...]
    provenance: Mapping[str, Any]
    elsewhere: tuple[Row, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    published: tuple[PublishedNumber, ...] = ()
    data: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def protocols(self) -> list[str]:
        """Protocols with a row, in the order of the tables."""
        return sorted({row.protocol for row in self.rows}, key=order)

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a `report.json`.

        Raises:
            UserError: the file is missing, is not JSON, or its form is that of another version.
        """
        values = read_json(path)
        if not isinstance(values, dict) or not isinstance(values.get("rows"), list):
            raise UserError(f"{path} holds no list of rows under 'rows'; `snakemake --force {path}` makes it again.")
        values.setdefault("labelled", bool(values["rows"]))  # a report of an older version does not say it
        if problem := misfit(cls, values):
            raise UserError(f"{path} has {problem}; `snakemake --force {path}` makes it again.")
        problems: list[str] = []
        rows, elsewhere = (tuple(parse_rows(values.get(name, []), path, problems)) for name in ("rows", "elsewhere"))
        raise_problems("reports cannot be read", problems, AGAIN)
        return replace(from_plain(cls, {**values, "rows": [], "elsewhere": []}), rows=rows, elsewhere=elsewhere)
