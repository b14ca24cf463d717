# Ablations: one factor of a method at a time, a job a row with all its seeds, and a target ablate_<name> for each.


checkpoint ablation_row:
    input:
        unpack(ablation_inputs),
    output:
        result="results/ablations/{ablation}/{dataset}/{method}.json",
        runs=directory("results/ablations/{ablation}/{dataset}/{method}"),
    log:
        "results/logs/ablations/{ablation}/{dataset}/{method}.log",
    benchmark:
        "results/benchmarks/ablations/{ablation}/{dataset}/{method}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
    params:
        code=ablation_code,
        method=lambda w: as_plain(ablation_method(w)),
        recipes=lambda w: list(ablation_method(w).traits.recipes),
        splits=lambda w: [C.splits(w.dataset)[role] for role in ("fit", "eval")],
        clustering=lambda w: C.shared(w.dataset),
        scoring=scoring_of,
    message:
        "Ablation {wildcards.ablation} on {wildcards.dataset}: {wildcards.method}"
    script:
        "../../scripts/ablation_row.py"


rule ablation:
    input:
        rows=ablation_results,
        floors=ablation_floor_results,
        manifests=lambda w: [
            f"results/{name}/manifest.json" for name in C.ablation(w.ablation).datasets
        ],
    output:
        json="results/ablations/{ablation}.json",
        markdown=report(
            "results/ablations/{ablation}.md",
            caption="../report/ablation.rst",
            category="ablations",
            labels={"figure": "{ablation}"},
        ),
    log:
        "results/logs/ablations/{ablation}.log",
    benchmark:
        "results/benchmarks/ablations/{ablation}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: ALL_CORES
    resources:
        mem_mb=3000,
    params:
        code=code("ablation", "patchbank.ablation.table", *every_protocol()),
        sets=lambda w: {
            name: [as_plain(m) for m in ablation_methods(w.ablation, name)]
            for name in C.ablation(w.ablation).datasets
        },
        factors=lambda w: {
            name: row["factor"] for name, row in C.ablation(w.ablation).rows.items()
        },
        scoring=ablation_scoring,
    message:
        "Comparing the rows of ablation {wildcards.ablation}"
    script:
        "../../scripts/ablation.py"


for name in C.values["ablations"]:

    rule:
        name:
            f"ablate_{name}"
        input:
            f"results/ablations/{name}.md",
