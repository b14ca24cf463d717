"""Rule `manifest`: decode every image and mask of a set, name all bad ones at once, write manifest and summary."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    import logging

    from patchbank.datasets.scan import examine
    from patchbank.datasets.spec import DatasetSpec
    from patchbank.files import write_json
    from patchbank.paths import SCANS
    from patchbank.plain import from_plain

    spec = from_plain(DatasetSpec, snakemake.params.spec)
    scanned = examine(spec, snakemake.threads, logging.getLogger("manifest").info, SCANS)
    for note in scanned.notes:
        logging.getLogger("manifest").warning(note)
    assert scanned.manifest is not None  # images were decoded, not only headers read
    write_json(snakemake.output.check, {**scanned.check(), "tree": snakemake.params.tree})
    scanned.manifest.save(snakemake.output.manifest)
