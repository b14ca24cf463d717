"""Rule `sweep`: scores and criteria of a set at several encoders and blocks."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.score import Scoring
    from patchbank.methods.contract import Method
    from patchbank.plain import from_plain
    from patchbank.sweep.judge import Swept
    from patchbank.sweep.write import write_sweep

    methods = [from_plain(Method, values) for values in snakemake.params.methods]
    files = iter(map(Path, snakemake.input.get("rows", [])))
    write_sweep(
        [
            Swept(name, Path(criteria), {method.name: next(files) for method in methods})
            for name, criteria in zip(snakemake.params.encoders, snakemake.input.criteria, strict=True)
        ],
        methods,
        Manifest.load(snakemake.input.manifest).classes,
        from_plain(Scoring, snakemake.params.scoring),
        snakemake.params.protocol,
        Path(snakemake.output.json),
    )
