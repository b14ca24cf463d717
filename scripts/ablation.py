"""Rule `ablation`: the table of an ablation."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.ablation.table import TableRow, write_table
    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.score import Scoring
    from patchbank.methods.contract import Method
    from patchbank.plain import from_plain

    factors = snakemake.params.factors
    folder = Path(snakemake.output.json).with_suffix("")
    sets = {
        dataset: [
            TableRow(m, factors.get(m.name, ""), folder / dataset / f"{m.name}.json", folder / dataset / m.name)
            for m in (from_plain(Method, values) for values in methods)
        ]
        for dataset, methods in snakemake.params.sets.items()
    }
    write_table(
        sets,
        {Path(path).parent.name: Manifest.load(path).classes for path in snakemake.input.manifests},
        {dataset: from_plain(Scoring, values) for dataset, values in snakemake.params.scoring.items()},
        next(iter(factors)),
        Path(snakemake.output.json),
        Path(snakemake.output.markdown),
    )
