# PatchBank: a bank of frozen patch features, and what is built on it. See README.md and docs/architecture.md.
from pathlib import Path

from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

from patchbank.config.folders import config_file

min_version("9.27")


# The working folder's, else the one beside this file.
configfile: config_file(workflow.basedir)


# With --sdm apptainer jobs run in this image, which envs/patchbank.def makes (docs/cluster.md).
containers = (
    DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
)


container: str(Path(workflow.basedir, "patchbank.sif")) if containers else None


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/bank.smk"
include: "workflow/rules/methods.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/targets.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        expand(
            "results/{dataset}/{page}",
            dataset=C.enabled,
            page=["report.md", "index.html", "sheet.png"],
        ),
        "results/summary.md",
        "results/index.html",
