"""Rule `criteria`: what tokens alone say of their clusters."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.criteria.measure import write_criteria
    from patchbank.criteria.settings import CriteriaSettings
    from patchbank.plain import from_plain

    mirror = snakemake.input.get("mirrored")
    write_criteria(
        Path(snakemake.input.whole),
        Path(snakemake.input.statistics),
        from_plain(CriteriaSettings, snakemake.params.settings),
        Path(snakemake.output[0]),
        Path(mirror) if mirror else None,
        threads=snakemake.threads,
    )
