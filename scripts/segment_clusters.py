"""Rule `segment_clusters`: give an image's segments dataset-wide cluster ids."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.segments.cluster import SegmentClusterSettings, cluster_segments

    cluster_segments(
        fit_bank=snakemake.input.fit_bank,
        fit_prediction=snakemake.input.fit_prediction,
        eval_bank=snakemake.input.eval_bank,
        eval_prediction=snakemake.input.eval_prediction,
        statistics=snakemake.input.statistics,
        settings=SegmentClusterSettings.parse(snakemake.params.settings),
        seed=int(snakemake.wildcards.seed),
        out=snakemake.output[0],
    )
