"""Rule `manifest`: decode every image and mask of a set, name all bad ones at once, write the manifest."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    import logging
    from pathlib import Path

    from patchbank.datasets.scan import scan
    from patchbank.datasets.spec import DatasetSpec

    values = snakemake.params.spec
    spec = DatasetSpec(**{**values, "root": Path(values["root"])})
    manifest = scan(spec, workers=snakemake.threads, log=logging.getLogger("manifest").info)
    manifest.save(snakemake.output.manifest)
