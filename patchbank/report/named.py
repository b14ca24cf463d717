"""Names of clusters on panel and page: the categories of `names.yaml` in the place of classes.

Inputs: the columns of a set without labels, and the file that ``--config names=FILE`` names. Clusters of one name are
one category, with one colour in all columns; a cluster without a name is a category of its own, `cluster 5`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from patchbank.datasets.manifest import Manifest
from patchbank.drawing.overlay import palette
from patchbank.errors import UserError
from patchbank.names import choose, load_names, merge, named
from patchbank.report.page.naming import fit_of
from patchbank.report.panel import PanelColumn


def name_columns(
    manifest: Manifest, columns: Sequence[PanelColumn], path: Path | None
) -> tuple[Manifest, list[PanelColumn]]:
    """The manifest with categories in place of classes, and the columns with the category of each cluster.

    Args:
        manifest: of a set without labels.
        columns: the methods; those without names in the file stay as they are.
        path: `names.yaml`; None changes nothing.

    Raises:
        UserError: names of other clusters, or of clusters that are matched to classes.
    """
    if path is None:
        return manifest, list(columns)
    rows = {one.row for one in load_names(path)}
    given = {index: _names_of(column, path) for index, column in enumerate(columns) if column.title in rows}
    words = [name for names in given.values() for name in names]
    first = sorted(dict.fromkeys(words), key=lambda name: name.startswith("cluster "))  # stable: names before numbers
    categories, table, _ = merge([*first, *words])
    ids, start, changed = table[len(first) :].tolist(), 0, list(columns)
    for index, names in given.items():
        changed[index] = replace(columns[index], assignment=tuple(ids[start : start + len(names)]))
        start += len(names)
    colours = tuple((int(red), int(green), int(blue)) for red, green, blue in palette(len(categories)).tolist())
    return replace(manifest, classes=tuple(categories), colours=colours), changed


def _names_of(column: PanelColumn, path: Path) -> list[str]:
    """A name for each cluster of the column."""
    if len(column.assignment):
        raise UserError(f"{path} names clusters of {column.title}, which are matched to classes; leave that row out.")
    given = choose(path, column.title, column.clustering, [fit_of(column.prediction.parent)])
    return named(column.k, given, path)
