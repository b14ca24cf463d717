# What the rules of the ablations ask of the configuration.
from patchbank.ablation.table import floors_at


wildcard_constraints:
    ablation="|".join(C.values["ablations"]) or "none",


def every_protocol():
    """Modules of all protocols, which no import shows."""
    return [f"patchbank.evaluation.protocols.{name}" for name in protocol_names()]


def ablation_method(wildcards):
    ablation = C.ablation(wildcards.ablation)
    return checked(C.ablation_row, ablation, wildcards.dataset, wildcards.method)


def ablation_inputs(wildcards):
    """Banks and statistics of a row: those of the set, or of the set of other banks that the row names."""
    ablation, name = C.ablation(wildcards.ablation), wildcards.dataset
    source, splits = C.ablation_set(ablation, name, wildcards.method), C.splits(name)
    return {
        "manifest": f"results/{source}/manifest.json",
        "statistics": f"results/{source}/statistics.npz",
        "fit_bank": pointer(source, splits["fit"], "whole"),
        "eval_bank": pointer(source, splits["eval"], "whole"),
        **C.training_banks(source, ablation_method(wildcards)),
    }


def ablation_code(wildcards):
    """Code of a row: what runs it, its method, and the protocols of the set."""
    folder = ablation_method(wildcards).folder
    trained = [f"patchbank.methods.{folder}.train"] if folder != "floors" else []
    modules = [
        "patchbank.ablation.run",
        f"patchbank.methods.{folder}.predict",
        *trained,
    ]
    return code("ablation_row", *modules, *protocol_modules(wildcards.dataset))


def ablation_results(wildcards):
    ablation = C.ablation(wildcards.ablation)
    return expand(
        "results/ablations/{ablation}/{dataset}/{row}.json",
        ablation=ablation.name,
        dataset=ablation.datasets,
        row=list(ablation.rows),
    )


def ablation_floors(ablation, dataset):
    """Floors at the numbers of segments that the rows use, known when these are done."""
    used = [
        read_json(
            checkpoints.ablation_row.get(
                ablation=ablation.name, dataset=dataset, method=row
            ).output.result
        )["used"]
        for row in ablation.rows
    ]
    return floors_at(used, ablation.floors)


def ablation_floor_results(wildcards):
    ablation = C.ablation(wildcards.ablation)
    return [
        f"results/ablations/{ablation.name}/{dataset}/{floor}.json"
        for dataset in ablation.datasets
        for floor in ablation_floors(ablation, dataset)
    ]


def ablation_methods(name, dataset):
    """All rows of a set, the floors last."""
    ablation = C.ablation(name)
    names = [*ablation.rows, *ablation_floors(ablation, dataset)]
    return [C.ablation_row(ablation, dataset, row) for row in names]


def ablation_scoring(wildcards):
    """What the rows of each set are scored by."""
    return {name: scoring_for(name) for name in C.ablation(wildcards.ablation).datasets}
