"""Rule `summary`: one table over all sets, for programs, for reading and for a browser."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.files import write_json, write_text
    from patchbank.report.page.index import write_index
    from patchbank.report.summary import build_summary, read_reports, summary_markdown

    reports = read_reports(sorted({*map(Path, snakemake.input.reports), *map(Path, snakemake.params.others)}))
    write_json(snakemake.output.json, build_summary(reports))
    write_text(snakemake.output.markdown, summary_markdown(reports))
    write_index(reports, Path(snakemake.output.page))
