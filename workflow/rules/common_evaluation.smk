# What counting, scoring and comparing ask of the configuration.
# Ending of the counts of instances; those at a further preprocessing end in -at-<name>, the others in nothing.
INSTANCES = "-instance"


def instance_protocols(dataset):
    """Protocols of a set that compare instances instead of classes."""
    found = [protocols.get(name) for name in C.of(dataset)["protocols"]]
    return [protocol for protocol in found if protocol.labels == "instance"]


def preprocessing_at(dataset, at):
    """The preprocessing that the ending of a file names; without one, the configuration's."""
    return at.removeprefix("-at-") or C.of(dataset)["preprocessing"]


def count_preprocessing(wildcards):
    """Instances are compared as their protocol says, classes as the file's ending or the configuration says."""
    if wildcards.at == INSTANCES:
        return instance_protocols(wildcards.dataset)[0].preprocessing
    return preprocessing_at(wildcards.dataset, wildcards.at)


def scores_elsewhere(dataset, rows):
    """Scores of rows at the further preprocessing variants."""
    options = C.of(dataset)
    others = [at for at in options["score_at"] if at != options["preprocessing"]]
    return expand(
        "results/{dataset}/{method}/scores-at-{at}.json",
        dataset=dataset,
        method=rows,
        at=others if class_protocols(dataset) else [],
    )


def instance_counts_of(wildcards):
    """Counts of instances of every seed, where a protocol asks for them."""
    if wildcards.at or not instance_protocols(wildcards.dataset):
        return []
    return expand(
        "results/{dataset}/{method}/seed{seed}/counts-instance.npz",
        seed=method_of(wildcards).seeds,
        allow_missing=True,
    )


def tables_of(wildcards):
    """Segment clusters of every seed; methods that predict classes have none."""
    method = method_of(wildcards)
    if method.traits.kind == "classes":
        return []
    return [
        f"{source_folder(wildcards.dataset, method, seed)}/clusters.npz"
        for seed in method.seeds
    ]


def protocol_modules(dataset):
    """Modules of the protocols of a set, which no import shows."""
    # the matching that pictures show is always that of hungarian
    names = dict.fromkeys([*C.of(dataset)["protocols"], "hungarian"])
    return [f"patchbank.evaluation.protocols.{name}" for name in names]


def scoring_for(dataset):
    """What all rows of a set are scored by."""
    options = C.of(dataset)
    same = {key: options[key] for key in ("protocols", "preprocessing", "fit")}
    return {"dataset": dataset, "k": C.clusters(dataset)[0], **same}


def scoring_of(wildcards):
    return scoring_for(wildcards.dataset)


def class_protocols(dataset):
    """Protocols of a set that compare classes."""
    found = [protocols.get(name) for name in C.of(dataset)["protocols"]]
    return [protocol.name for protocol in found if protocol.labels == "class"]


def scoring_at(wildcards):
    """What a row is scored by at the preprocessing that the file's ending names; elsewhere there are no instances."""
    found = scoring_for(wildcards.dataset)
    if wildcards.at:
        found["protocols"] = class_protocols(wildcards.dataset)
        found["preprocessing"] = preprocessing_at(wildcards.dataset, wildcards.at)
    return found


def compared_methods(dataset):
    """Methods and floors of the table, for intervals of their differences."""
    names = [*fixed_rows(dataset), *floor_rows(dataset)]
    found = [C.method(dataset, name) for name in names]
    return [method for method in found if not method.traits.ceiling]


def compared_files(wildcards):
    """Counts, and where there are any tables and counts of instances, of all seeds of the compared methods in order."""
    name = wildcards.dataset
    runs = [(m, seed) for m in compared_methods(name) for seed in m.seeds]
    return {
        "counts": [f"{run_folder(name, m.name, seed)}/counts.npz" for m, seed in runs],
        "tables": [
            f"{source_folder(name, m, seed)}/clusters.npz"
            for m, seed in runs
            if m.traits.kind == "segments"
        ],
        "instances": [
            f"{run_folder(name, m.name, seed)}/counts-instance.npz"
            for m, seed in runs
            if instance_protocols(name)
        ],
    }
