"""Datasets: layouts on disk, label maps, and the checked manifest that every later stage reads.

The way through: `make_spec` (configuration + class table) -> `scan` (decode everything, list all problems at once) ->
`Manifest` (saved as JSON) -> `load_image`, `load_labels`, `load_instances`.

To add a set: a class table in `tables/` (`classes`) and an entry in `config.yaml`. To add a layout: one module in
`layouts/`.
Checks of published counts, histograms and download rules have their place beside `scan.py`.
"""

from __future__ import annotations

from patchbank.datasets.classes import load_table, table_names
from patchbank.datasets.images import load_image, load_instances, load_labels
from patchbank.datasets.manifest import Entry, Manifest, tree_fingerprint
from patchbank.datasets.spec import DatasetSpec, make_spec

__all__ = [
    "DatasetSpec",
    "Entry",
    "Manifest",
    "load_image",
    "load_instances",
    "load_labels",
    "load_table",
    "make_spec",
    "table_names",
    "tree_fingerprint",
]
