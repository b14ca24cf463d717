"""Rule `score`: every protocol on the counts of one method, over all its seeds."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.score import context_of, score_method
    from patchbank.files import write_json

    method = snakemake.params.method
    tables = list(snakemake.input.get("tables", []))
    instances = list(snakemake.input.get("instances", []))
    manifest = Manifest.load(snakemake.input.manifest)
    things = getattr(manifest, "things", ())
    context = context_of(method, manifest.classes, **snakemake.params.scoring, things=things)
    seeds = method["seeds"]
    scores = score_method(
        dict(zip(seeds, map(Path, snakemake.input.counts), strict=True)),
        dict(zip(seeds, map(Path, tables), strict=True)) if tables else None,
        context,
        dict(zip(seeds, map(Path, instances), strict=True)) if instances else None,
    )
    write_json(snakemake.output[0], scores)
