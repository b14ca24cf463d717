"""Rule `segment_numbers`: at how many segments the floors of a set stand."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.evaluation.used import segment_numbers
    from patchbank.files import write_json

    rows: dict[str, list[str]] = {}
    for row, path in zip(snakemake.params.rows, snakemake.input.summaries, strict=True):
        rows.setdefault(row, []).append(path)
    write_json(snakemake.output[0], {"numbers": segment_numbers(rows, snakemake.params.varying)})
