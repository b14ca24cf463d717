"""Rule `count`: count pixels by image, predicted segment and true class or instance, for all seeds."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.count import count_predictions, summarise
    from patchbank.evaluation.truth_file import Truth
    from patchbank.files import write_json

    params, out = snakemake.params, snakemake.output
    manifest = Manifest.load(snakemake.input.manifest)
    files = (params.seeds, snakemake.input.predictions, out.counts, out.summaries)
    with Truth(snakemake.input.truth) as truth:
        for seed, prediction, counts, summary in zip(*files, strict=True):
            count_predictions(
                Path(prediction),
                manifest,
                Path(counts),
                params.preprocessing,
                workers=snakemake.threads,
                labels=truth,
                postprocess=params.postprocess,
                origin={**params.origin, "seed": seed},
            )
            write_json(summary, summarise(Path(counts)))
