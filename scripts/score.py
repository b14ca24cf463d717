"""Rule `score`: every protocol on the counts of one method, over all its seeds."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from dataclasses import asdict
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation import protocols
    from patchbank.evaluation.score import Scoring, context_of, score_method
    from patchbank.files import write_json
    from patchbank.left_out import CannotBeMade, LeftOut, first_left_out
    from patchbank.methods.contract import Method
    from patchbank.plain import from_plain

    method = from_plain(Method, snakemake.params.method)
    tables = list(snakemake.input.get("tables", []))
    instances = list(snakemake.input.get("instances", []))
    missing = first_left_out(instances)
    manifest = Manifest.load(snakemake.input.manifest)
    things = getattr(manifest, "things", ())
    context = context_of(method, manifest.classes, from_plain(Scoring, snakemake.params.scoring), things)
    seeds = method.seeds
    scores = score_method(
        dict(zip(seeds, map(Path, snakemake.input.counts), strict=True)),
        dict(zip(seeds, map(Path, tables), strict=True)) if tables else None,
        context,
        dict(zip(seeds, map(Path, instances), strict=True)) if instances and not missing else None,
    )
    if missing:
        needing = [name for name in context.protocols if protocols.get(name).labels == "instance"]
        scores["missing"] = [asdict(LeftOut(name, "", missing.reason)) for name in needing]
    if snakemake.wildcards.at and not scores["rows"]:
        raise CannotBeMade("no labelled pixel is compared there.")
    write_json(snakemake.output[0], scores)
