# The checked configuration, and the plan of what each rule reads and writes. Rules stand in the other files.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from patchbank.config.config import Config
from patchbank.config.jobs import start_jobs_alike
from patchbank.config.plan.ablations import Ablations
from patchbank.config.plan.code import Code
from patchbank.config.plan.evaluation import Evaluation
from patchbank.config.plan.reports import Reports
from patchbank.config.plan.rows import Rows
from patchbank.config.plan.stages import Stages
from patchbank.devices import cuda_present
from patchbank.errors import UserError
from patchbank.fetch import table_names as fetch_tables
from patchbank.report.page.render import templates_digest


class Finished:
    """Files of checkpoints; Snakemake asks again when they are there (see patchbank/config/plan/checkpoints.py)."""

    def manifest(self, dataset):
        return checkpoints.manifest.get(dataset=dataset).output.manifest

    def count(self, dataset, method, seed, at):
        return checkpoints.count.get(
            dataset=dataset, method=method, seed=seed, at=at
        ).output.summary

    def ablation_row(self, ablation, dataset, row):
        return checkpoints.ablation_row.get(
            ablation=ablation, dataset=dataset, method=row
        ).output.result


try:
    start_jobs_alike(workflow.basedir)
    C = Config(config)
except UserError as error:
    raise WorkflowError(str(error)) from None
GPU = int(cuda_present())
# A job with this many threads gets all cores that Snakemake may use, so that heavy jobs do not run beside each other.
ALL_CORES = 1024
code = Code(Path(workflow.basedir, "scripts"))
rows = Rows(C, Finished())
stages = Stages(rows, code)
evaluation = Evaluation(rows, code)
reports = Reports(rows, code, evaluation)
ablations = Ablations(rows, code, evaluation)


wildcard_constraints:
    dataset="|".join(C.datasets),
    backbone="|".join(C.values["backbones"]),
    ablation="|".join(C.values["ablations"]) or "none",
    method="[a-z0-9][a-z0-9_+-]*",
    seed="[0-9]+",
    at="(-at-[a-z0-9_]+)?",
    split="[A-Za-z0-9_]+",
    recipe="[a-z][a-z0-9_]*",
    part="[0-9]+",
    parts="[0-9]+",


def tree_of(wildcards):
    """What the manifest is made from; a set that is not there stops everything at once, with the expected tree.

    An exception would reach the user with Snakemake's traceback of this function, so the message is printed here.
    """
    try:
        return stages.tree(wildcards)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


# weights.smk


def local_file_state(wildcards):
    """Size and time of a local weights file, so that replacing it is noticed."""
    file = C.values["backbones"][wildcards.backbone].get("file")
    path = Path(file) if file else None
    return (
        [path.stat().st_size, path.stat().st_mtime_ns]
        if path and path.is_file()
        else None
    )


# bank.smk


def recipe_settings(wildcards):
    """Settings of a recipe; `flipped` is `whole` averaged with its mirror image, so it has none of its own."""
    name = "whole" if wildcards.recipe == "flipped" else wildcards.recipe
    return C.of(wildcards.dataset)["recipes"][name]


def parts_of(wildcards):
    """All extract jobs of a bank: one, or as many as the manifest's number of shards asks for."""
    options = C.of(wildcards.dataset)["extract"]
    parts = 1
    if options["shards_per_job"]:
        images = read_json(
            checkpoints.manifest.get(dataset=wildcards.dataset).output.manifest
        )["splits"]
        shards = shard_count(len(images[wildcards.split]), options["images_per_shard"])
        parts = math.ceil(shards / options["shards_per_job"])
    return expand(
        rules.extract.output, part=range(parts), parts=parts, allow_missing=True
    )


# methods.smk


def training_banks(wildcards):
    """Pointers of the banks that training reads, by recipe."""
    return C.training_banks(wildcards.dataset, method_of(wildcards))


def labels_of(wildcards):
    """The manifest, for a method that declares that it uses labels; no other method is given any."""
    method = method_of(wildcards)
    return f"results/{wildcards.dataset}/manifest.json" if method.traits.oracle else []


def prediction_banks(wildcards):
    """Pointers of the banks that a prediction reads, by recipe."""
    method = method_of(wildcards)
    return {
        r: pointer(
            wildcards.dataset,
            wildcards.split,
            method.features if r == "whole" else r,
        )
        for r in method.traits.reads
    }


def trained_checkpoint(wildcards):
    """The checkpoint that a prediction needs; floors have none."""
    method = method_of(wildcards)
    if not method.traits.trained:
        return []
    folder = run_folder(
        wildcards.dataset, method.trained or method.name, wildcards.seed
    )
    return f"{folder}/checkpoint.safetensors"


# report.smk


def panel_runs(dataset):
    """(row, seed) of the panel's columns: every method and the image-kmeans floor at the largest number of segments."""
    floors = [name for name in floor_rows(dataset) if name.startswith("image-kmeans-")]
    shown = [*C.methods(dataset), *(C.floor(dataset, name) for name in floors[-1:])]
    return [(method, min(method.seeds)) for method in shown]


def panel_columns_of(dataset):
    """What the panel's columns are, for params of rules."""
    return [(m.name, m.traits.kind, seed) for m, seed in panel_runs(dataset)]


def panel_inputs(wildcards):
    dataset = wildcards.dataset
    split = C.splits(dataset)["eval"]
    runs = panel_runs(dataset)
    return {
        "predictions": [
            f"{run_folder(dataset, m.name, seed)}/{split}.h5" for m, seed in runs
        ],
        "scores": [f"results/{dataset}/{m.name}/scores.json" for m, _ in runs],
        "tables": [
            f"{run_folder(dataset, m.name, seed)}/clusters.npz"
            for m, seed in runs
            if m.traits.kind == "segments"
        ],
    }


def curves_of(wildcards):
    names = [
        method.name for method in C.methods(wildcards.dataset) if method.traits.curves
    ]
    return expand(
        "results/{dataset}/{method}/curves.png", method=names, allow_missing=True
    )


def pictures_of(wildcards):
    names = [
        method.name for method in C.methods(wildcards.dataset) if method.traits.pictures
    ]
    return expand(
        "results/{dataset}/{method}/pictures.png", method=names, allow_missing=True
    )


def picture_banks(wildcards):
    """Pointers of the train split's banks that a method's pictures are drawn from, by recipe."""
    split = C.splits(wildcards.dataset)["train"]
    return {
        recipe: pointer(wildcards.dataset, split, recipe)
        for recipe in method_of(wildcards).traits.pictures
    }


def first_checkpoint(wildcards):
    seed = min(method_of(wildcards).seeds)
    return f"{run_folder(wildcards.dataset, wildcards.method, seed)}/checkpoint.safetensors"


def other_reports(wildcards):
    """Reports of sets that `all` does not run, with their times, so that the summary shows what there is."""
    found = {
        name: Path("results", name, "report.json")
        for name in C.datasets
        if name not in C.enabled
    }
    return {
        str(path): path.stat().st_mtime_ns for path in found.values() if path.is_file()
    }


def trained_methods(dataset):
    return [method for method in C.methods(dataset) if method.traits.trained]


def drawn_methods(dataset):
    """Names of the rows, with post-processing or without, whose trainings read stored draws of views."""
    recipes = C.of(dataset)["recipes"]
    return [
        method.name
        for method in [*C.methods(dataset), *C.postprocessed(dataset)]
        if any("draws" in recipes[recipe] for recipe in method.traits.recipes)
    ]


def records_of(wildcards):
    """Records of the first training of every trained method, for what a report says of machine and trainings."""
    return [
        f"{run_folder(wildcards.dataset, m.name, min(m.seeds))}/checkpoint.json"
        for m in trained_methods(wildcards.dataset)
    ]
