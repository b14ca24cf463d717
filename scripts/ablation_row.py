"""Rule `ablation_row`: one row of an ablation with all its seeds."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.ablation.run import Inputs, run_row
    from patchbank.evaluation.score import Scoring
    from patchbank.methods.contract import Method
    from patchbank.plain import from_plain
    from patchbank.segments.settings import SegmentClusterSettings

    inputs = Inputs(
        manifest=Path(snakemake.input.manifest),
        statistics=Path(snakemake.input.statistics),
        truth=Path(snakemake.input.truth),
        training={recipe: Path(snakemake.input[recipe]) for recipe in snakemake.params.recipes},
        fit={recipe: Path(snakemake.input[f"fit_{recipe}"]) for recipe in snakemake.params.fit_recipes},
        evaluation={recipe: Path(snakemake.input[f"eval_{recipe}"]) for recipe in snakemake.params.eval_recipes},
        splits=tuple(snakemake.params.splits),
        after=tuple(map(Path, snakemake.input.get("after", []))),
    )
    run_row(
        from_plain(Method, snakemake.params.method),
        inputs,
        from_plain(SegmentClusterSettings, snakemake.params.clustering),
        from_plain(Scoring, snakemake.params.scoring),
        Path(snakemake.output.runs),
        Path(snakemake.output.result),
        threads=snakemake.threads,
    )
