# Sweeps: a set at several encoders and blocks, `patchbank/config/sweeps.py`, and a target sweep_<set> for each.


rule criteria:
    input:
        unpack(sweeps.criteria_banks),
        statistics="results/{dataset}/statistics.npz",
    output:
        "results/{dataset}/criteria.json",
    log:
        "results/logs/{dataset}/criteria.log",
    benchmark:
        "results/benchmarks/{dataset}/criteria.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
    params:
        code=code.of("criteria", "patchbank.criteria.measure"),
        settings=sweeps.criteria_settings,
    message:
        "Measuring how clearly tokens of {wildcards.dataset} fall into clusters"
    script:
        "../../scripts/criteria.py"


# Asked where `clustering.k` is auto, and by a target of its own.
checkpoint k_chart:
    input:
        bank=sweeps.fit_bank,
        statistics="results/{dataset}/statistics.npz",
    output:
        "results/{dataset}/k.json",
    log:
        "results/logs/{dataset}/k_chart.log",
    benchmark:
        "results/benchmarks/{dataset}/k_chart.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 2
    resources:
        mem_mb=memory(2000),
    params:
        code=code.of("k_chart", "patchbank.criteria.k"),
        settings=sweeps.k_settings,
        candidates=sweeps.k_candidates,
    message:
        "Comparing numbers of clusters of {wildcards.dataset}"
    script:
        "../../scripts/k_chart.py"


rule k_page:
    input:
        "results/{dataset}/k.json",
    output:
        "results/{dataset}/k.html",
    log:
        "results/logs/{dataset}/k_page.log",
    benchmark:
        "results/benchmarks/{dataset}/k_page.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("k_page", "patchbank.report.page.clusters"),
        templates=templates_digest(),
    message:
        "Showing numbers of clusters of {wildcards.dataset}"
    script:
        "../../scripts/k_page.py"


rule sweep_row:
    input:
        unpack(sweeps.inputs),
    output:
        result="results/{dataset}/sweep/{encoder}/rows/{method}.json",
        runs=directory("results/{dataset}/sweep/{encoder}/rows/{method}"),
    log:
        "results/logs/{dataset}/sweep/{encoder}/rows/{method}.log",
    benchmark:
        "results/benchmarks/{dataset}/sweep/{encoder}/rows/{method}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory(4000),
    params:
        code=sweeps.row_code,
        method=sweeps.method,
        recipes=sweeps.recipes,
        fit_recipes=sweeps.fit_recipes,
        eval_recipes=sweeps.eval_recipes,
        splits=sweeps.splits,
        clustering=sweeps.clustering,
        scoring=sweeps.scoring,
        optional=True,
    message:
        "Sweep of {wildcards.dataset} at {wildcards.encoder}: {wildcards.method}"
    script:
        "../../scripts/ablation_row.py"


rule sweep:
    input:
        rows=swept_rows,
        criteria=sweeps.criteria,
        manifest="results/{dataset}/manifest.json",
    output:
        json="results/{dataset}/sweep.json",
        page="results/{dataset}/sweep.html",
        markdown=report(
            "results/{dataset}/sweep.md",
            caption="../report/sweep.rst",
            category="{dataset}",
            labels={"figure": "encoders and blocks"},
        ),
    log:
        "results/logs/{dataset}/sweep.log",
    benchmark:
        "results/benchmarks/{dataset}/sweep.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 2
    resources:
        mem_mb=memory(3000),
    params:
        code=sweeps.table_code,
        templates=templates_digest(),
        encoders=sweeps.encoders,
        methods=sweeps.methods,
        scoring=sweeps.scoring,
        protocol=sweeps.protocol,
    message:
        "Comparing encoders and blocks on {wildcards.dataset}"
    script:
        "../../scripts/sweep.py"


for target, name in evaluated(C).items():

    rule:
        name:
            f"sweep_{target}"
        input:
            f"results/{name}/sweep.md",

    rule:
        name:
            f"k_chart_{target}"
        input:
            f"results/{name}/k.html",
