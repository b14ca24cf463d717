"""Names that people give to clusters: `names.yaml`, as the page of a set writes it with "save names".

```yaml
format: patchbank-names-1
dataset: mine
rows:
  "kmeans":
    variant: "k8-s0"
    fit: "0123456789abcdef"
    names:
      0: "sky"
      3: "sky"
      1: "grass"
```

`rows` names rows of the report; `variant` is the number of clusters and the seed that the page shows, `fit` the
beginning of the SHA-256 of the file that holds the clusters (`clusters.npz`, else the checkpoint), so that names never
go to other clusters. Clusters of one name are one category. A cluster without a name keeps its own, `cluster 5`.
`dataset` may be left out; ``--config names=FILE`` then takes it for that of ``folder``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from patchbank.errors import UserError

FORMAT = "patchbank-names-1"
WAY = 'save it again from the page of the set with "save names"'


@dataclass(frozen=True)
class RowNames:
    """Names of one row's clusters.

    Attributes:
        row: its name in the report.
        variant: ``k<asked>-s<seed>``, of which the clusters are.
        fit: see the module; "" where the file does not say.
        names: name by cluster.
    """

    row: str
    variant: str
    fit: str
    names: Mapping[int, str]


def load_names(path: str | Path) -> list[RowNames]:
    """The rows of a `names.yaml`; `UserError` for a file that is none."""
    return [_row(path, str(row), value) for row, value in _read(path)["rows"].items()]


def dataset_of(path: str | Path) -> str:
    """The set whose clusters a `names.yaml` names, "" where it does not say; `UserError` for a file that is none."""
    return str(_read(path).get("dataset") or "")


def _read(path: str | Path) -> dict[str, Any]:
    try:
        content: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {WAY}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}); {WAY}.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("rows"), dict):
        raise UserError(f"{path} is no file of names (format {FORMAT} with `rows:`); {WAY}.")
    return content


def _row(path: str | Path, row: str, value: Any) -> RowNames:
    names = value.get("names") if isinstance(value, dict) else None
    if not isinstance(names, dict):
        raise UserError(f"{path}: row {row!r} has no mapping `names:` from clusters to names; {WAY}.")
    kept: dict[int, str] = {}
    for cluster, name in names.items():
        if isinstance(cluster, bool) or not isinstance(cluster, int) or cluster < 0:
            raise UserError(f"{path}: row {row!r} names cluster {cluster!r}; a cluster is a whole number from 0 on.")
        if isinstance(name, dict | list | None):
            raise UserError(f"{path}: row {row!r}, cluster {cluster}: {name!r} is no name; write a word, or drop it.")
        if text := " ".join(str(name).split()):
            kept[cluster] = text
    return RowNames(row, str(value.get("variant", "")), str(value.get("fit", "")), kept)


def choose(path: str | Path, row: str | None, variant: str | None, fits: Sequence[str | None]) -> RowNames:
    """The names that belong to given clusters.

    Args:
        path: of the file.
        row: the row's name, where it is known.
        variant: of the clusters; None where it is not known.
        fits: what `fit` may be; None and "" stand for not known.

    Raises:
        UserError: the file has no names of these clusters.
    """
    rows = load_names(path)
    known = [fit for fit in fits if fit]
    if row is not None:
        rows = [one for one in rows if one.row == row]
        if not rows:
            there = ", ".join(one.row for one in load_names(path)) or "none"
            raise UserError(f"{path} has no names of row {row}, but of {there}; name one of these rows.")
    same = [one for one in rows if not known or not one.fit or one.fit in known]
    if not same:
        raise UserError(f"{path} names clusters of another training or clustering than this one; name those here anew.")
    right = [one for one in same if variant is None or not one.variant or one.variant == variant]
    if not right:
        raise UserError(f"{path} names clusters of {same[0].variant}, these are of {variant}; give --variant.")
    if len(right) > 1:
        raise UserError(f"{path} has names of {', '.join(one.row for one in right)}, and it is not known which to use.")
    return right[0]


def merge(names: Sequence[str]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Categories of equal names.

    Args:
        names: of each id.

    Returns:
        names of the categories in the order of their first ids, the category of each id (n,), and the first id of each
        category.
    """
    categories = list(dict.fromkeys(names))
    index = {name: position for position, name in enumerate(categories)}
    table = np.array([index[name] for name in names], dtype=np.int64)
    first = np.array([list(names).index(name) for name in categories], dtype=np.int64)
    return categories, table, first


def named(count: int, given: RowNames, path: str | Path) -> list[str]:
    """A name for each of `count` clusters; `UserError` where a cluster is named that does not exist."""
    beyond = sorted(cluster for cluster in given.names if cluster >= count)
    if beyond:
        raise UserError(f"{path}: row {given.row!r} names cluster {beyond[0]}, and there are {count} (from 0 on).")
    return [given.names.get(cluster, f"cluster {cluster}") for cluster in range(count)]
