"""Rule `curves`: training curves of a method's seeds."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.report.curves import draw_curves

    steps = dict(zip(snakemake.params.seeds, map(Path, snakemake.input.steps), strict=True))
    draw_curves(steps, Path(snakemake.output[0]))
