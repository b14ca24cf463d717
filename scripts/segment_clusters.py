"""Rule `segment_clusters`: give an image's segments dataset-wide cluster ids, for all seeds."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.plain import from_plain
    from patchbank.segments.cluster import cluster_segments
    from patchbank.segments.settings import SegmentClusterSettings

    given, settings = snakemake.input, from_plain(SegmentClusterSettings, snakemake.params.settings)
    files = (snakemake.params.seeds, given.fit_predictions, given.eval_predictions, snakemake.output)
    for seed, fit_prediction, eval_prediction, out in zip(*files, strict=True):
        cluster_segments(
            fit_bank=given.fit_bank,
            fit_prediction=fit_prediction,
            eval_bank=given.eval_bank,
            eval_prediction=eval_prediction,
            statistics=given.statistics,
            settings=settings,
            seed=seed,
            out=out,
        )
