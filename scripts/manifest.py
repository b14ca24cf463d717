"""Rule `manifest`: decode every image and mask of a set, name all bad ones at once, write the manifest."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    import logging

    from patchbank.datasets.scan import scan

    manifest = scan(snakemake.params.spec, workers=snakemake.threads, log=logging.getLogger("manifest").info)
    manifest.save(snakemake.output.manifest)
