# The checked configuration, and the plan of what each rule reads and writes. Rules stand in the other files.
import sys
from pathlib import Path

from patchbank.config.config import UNLABELLED
from patchbank.config.jobs import start_jobs_alike
from patchbank.config.load import command_line_config
from patchbank.config.own_folder import MINE
from patchbank.config.plan.ablations import Ablations
from patchbank.config.plan.code import Code
from patchbank.config.plan.evaluation import Evaluation
from patchbank.config.plan.reports import Reports
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.shapes import Shapes
from patchbank.config.plan.stages import Stages
from patchbank.config.plan.sweeps import Sweeps
from patchbank.config.plan.trees import TreesOfARun
from patchbank.devices import hide, shares
from patchbank.errors import UserError
from patchbank.fetch import table_names as fetch_tables
from patchbank.files import read_json
from patchbank.fingerprint import remember
from patchbank.planned_code import FOLDER, SOURCES
from patchbank.report.page.render import templates_digest


class Finished:
    """Files of checkpoints; Snakemake asks again when they are there (see patchbank/config/plan/checkpoints.py)."""

    def parts(self, dataset, split, recipe):
        return checkpoints.parts.get(
            dataset=dataset, split=split, recipe=recipe
        ).output[0]

    def segment_numbers(self, dataset):
        return checkpoints.segment_numbers.get(dataset=dataset).output[0]

    def ablation_row(self, ablation, dataset, row):
        return checkpoints.ablation_row.get(
            ablation=ablation, dataset=dataset, method=row
        ).output.result

    def k_chart(self, dataset):
        return checkpoints.k_chart.get(dataset=dataset).output[0]


def checked(function, *arguments):
    """Call a function of the package; what a user did wrong stops the workflow with one clear message.

    An exception would reach the user with Snakemake's traceback of this file, so the message is printed here.
    """
    try:
        return function(*arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


checked(start_jobs_alike, workflow.basedir)
remember(FOLDER / SOURCES, workflow.is_main_process)
# Snakemake's own `config` has lost what was typed (patchbank/config/typed.py), so the same files are read again.
CHOSEN = workflow.overwrite_configfiles
SHIPPED = [file for file in workflow.configfiles if file not in CHOSEN]
if workflow.config_settings.replace_workflow_config:
    SHIPPED = []
C = checked(
    command_line_config,
    [*SHIPPED, *CHOSEN],
    workflow.config_settings.config_args or [],
)
# Devices that may be used at the same time: those that are there, at most as many as `--resources gpu=N` or the profile
# gives. An extraction spreads over all of them, every other job asks for one. With `gpu=0` no job sees any.
GIVEN = {name: resource.value for name, resource in workflow.global_resources.items()}
GPUS, SHARE = shares(GIVEN.get("gpu"), GIVEN["_cores"])
GPU = min(GPUS, 1)
if GIVEN.get("gpu") == 0:
    hide()
# A job with this many threads gets all cores that Snakemake may use, so that heavy jobs do not run beside each other;
# jobs with devices of their own share the cores.
ALL_CORES = 1024
SHARE = SHARE or ALL_CORES


def memory(megabytes):
    """Memory of a job, in MB: an attempt after one that failed asks for as much more."""
    return lambda wildcards, attempt: megabytes * attempt


code = Code(
    Path(workflow.basedir, "scripts"), FOLDER if workflow.is_main_process else None
)
# Which files rows have does not depend on K; what else is asked of a set waits until its K is known.
C.suggested = lambda dataset: UNLABELLED
shapes = Shapes(Rows(C, Finished()))
C.suggested = lambda dataset: read_json(Finished().k_chart(dataset))["suggested"]
rows = Rows(C, Finished())
# Every job on a cluster reads the Snakefile again, and none of them looks at a set's files again.
stages = Stages(rows, code, TreesOfARun(workflow.is_main_process, FOLDER))
evaluation = Evaluation(rows, code)
reports = Reports(rows, code, evaluation)
ablations = Ablations(rows, code, evaluation)
sweeps = Sweeps(rows, code, evaluation)


wildcard_constraints:
    dataset=f"(?:{'|'.join(C.datasets)})(?:/sweep/[a-z0-9_-]+)?",
    encoder="[a-z0-9_-]+",
    backbone="|".join(C.values["backbones"]),
    ablation="|".join(C.values["ablations"]) or "none",
    method="[a-z0-9][a-z0-9_+.-]*",
    seed="[0-9]+",
    at="(-at-[a-z0-9_]+)?",
    split="[A-Za-z0-9_]+",
    recipe="[a-z][a-z0-9_]*",
    part="[0-9]+",
    parts="[0-9]+",


def told_alike(shapes):
    """What a profile says of a stage's rule (`set-resources`, `set-threads`) counts for all its rules."""
    first, *others = [workflow.get_rule(shape.rule) for shape in shapes]
    for other in others:
        other.resources = first.resources


def training_threads(wildcards):
    """As the configuration says, else all that a job may have."""
    return stages.training_threads(wildcards) or SHARE


def evaluated(config):
    """The set of every target's ending; the folder of --config folder=DIR is `mine`, too, whatever it is called."""
    found = {name: name for name in config.datasets}
    if config.own:
        found.setdefault(MINE, config.own[0])
    return found


def swept_rows(wildcards):
    """Rows of a sweep; encoders or blocks that do not exist stop everything at once."""
    return checked(sweeps.results, wildcards)


def extract_threads(wildcards):
    """As the configuration says, else all cores; a bank that another extraction has written is only looked for."""
    if stages.written_before(wildcards):
        return 1
    return stages.extract_threads(wildcards) or ALL_CORES


def tree_of(wildcards):
    """What the manifest is made from; a set that is not there stops everything at once, with the expected tree."""
    return checked(stages.tree, wildcards)
