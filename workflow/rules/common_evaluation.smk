# What counting, scoring and comparing ask of the configuration.


def instance_protocols(dataset):
    """Protocols of a set that compare instances instead of classes."""
    found = [protocols.get(name) for name in C.of(dataset)["protocols"]]
    return [protocol for protocol in found if protocol.labels == "instance"]


def count_preprocessing(wildcards):
    """Classes are compared as the configuration says, instances as their protocol says."""
    own = instance_protocols(wildcards.dataset) if wildcards.labels else []
    return own[0].preprocessing if own else C.of(wildcards.dataset)["preprocessing"]


def instance_counts_of(wildcards):
    """Counts of instances of every seed, where a protocol asks for them."""
    if not instance_protocols(wildcards.dataset):
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
    names = C.of(dataset)["protocols"]
    return [f"patchbank.evaluation.protocols.{name}" for name in names]


def scoring_for(dataset):
    """What all rows of a set are scored by."""
    options = C.of(dataset)
    same = {key: options[key] for key in ("protocols", "preprocessing", "fit")}
    return {"dataset": dataset, "k": C.clusters(dataset)[0], **same}


def scoring_of(wildcards):
    return scoring_for(wildcards.dataset)


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
