"""Rule `sheet`: a few images of a set with their coloured masks and the legend."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.report.sheet import draw_sheet

    draw_sheet(Manifest.load(snakemake.input.manifest), Path(snakemake.output[0]))
