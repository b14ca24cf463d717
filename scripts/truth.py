"""Rule `truth`: the labels that predictions are compared with, decoded once for all rows of a set."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.bank.reader import open_bank
    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.truth_file import Asked, make_truth

    bank, params = open_bank(snakemake.input.bank), snakemake.params
    asked = Asked(snakemake.wildcards.preprocessing, params.label_kind, bank.input_size)
    make_truth(Manifest.load(snakemake.input.manifest), params.split, asked, snakemake.output[0], snakemake.threads)
