"""Rules `fetch_<set>`: download a set and unpack it below the data root, or say where to get it."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.fetch import fetch, load_fetch_table

    fetch(load_fetch_table(snakemake.params.name), Path(snakemake.params.data_root))
