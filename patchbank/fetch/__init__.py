"""Fetching datasets that may be fetched: only when a user names them, never as a step towards something else.

`tables/<name>.yaml` says what there is (one file for each dataset folder): addresses, published sizes and checksums,
and where the parts of an archive go, in a tree that `patchbank.datasets.layouts` knows. The way through:
`fetch(name, root)` -> `download` (resumed, verified) -> `unpack` (nothing outside the target) -> rename into place.

To add a set: a table. Sets behind a log-in have a table too, which says where to go.
"""

from __future__ import annotations

from patchbank.fetch.sets import Archive, FetchTable, fetch, load_fetch_table, table_names

__all__ = ["Archive", "FetchTable", "fetch", "load_fetch_table", "table_names"]
