# Ablations: one factor of a method at a time, a job a row with all its seeds, and a target ablate_<name> for each.


checkpoint ablation_row:
    input:
        unpack(ablations.inputs),
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
        mem_mb=memory(4000),
    params:
        code=ablations.row_code,
        method=ablations.method,
        recipes=ablations.recipes,
        fit_recipes=ablations.fit_recipes,
        eval_recipes=ablations.eval_recipes,
        splits=ablations.splits,
        clustering=stages.clustering,
        scoring=evaluation.scoring,
        optional=ablations.may_be_left_out,
    message:
        "Ablation {wildcards.ablation} on {wildcards.dataset}: {wildcards.method}"
    script:
        "../../scripts/ablation_row.py"


rule ablation:
    input:
        rows=ablations.results,
        floors=ablations.floor_results,
        manifests=ablations.manifests,
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
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    threads: ALL_CORES
    resources:
        mem_mb=memory(3000),
    params:
        code=ablations.table_code(),
        sets=ablations.methods,
        factors=ablations.factors,
        scoring=ablations.scoring,
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
