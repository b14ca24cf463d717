# Evaluation: pixels are counted once, every protocol is a reduction of the counts. Protocols of instances have counts
# of their own, counts-instance.npz, and so has each further preprocessing, counts-at-full.npz (wildcard at).


checkpoint count:
    input:
        manifest="results/{dataset}/manifest.json",
        prediction=lambda w: f"{source_folder(w.dataset, method_of(w), w.seed)}/{C.splits(w.dataset)['eval']}.h5",
    output:
        counts="results/{dataset}/{method}/seed{seed}/counts{at}.npz",
        summary="results/{dataset}/{method}/seed{seed}/counts{at}.json",
    log:
        "results/logs/{dataset}/count-{method}-seed{seed}{at}.log",
    benchmark:
        "results/benchmarks/{dataset}/count-{method}-seed{seed}{at}.tsv"
    wildcard_constraints:
        at="(-instance|-at-[a-z0-9_]+)?",
    conda:
        "../../envs/patchbank.yaml"
    threads: 2
    resources:
        mem_mb=2000,
    params:
        code=code("count", "patchbank.evaluation.count"),
        preprocessing=count_preprocessing,
        label_kind=lambda w: "instance" if w.at == INSTANCES else "class",
        postprocess=lambda w: method_of(w).postprocess,
    message:
        "Counting pixels of {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../../scripts/count.py"


rule score:
    input:
        manifest="results/{dataset}/manifest.json",
        counts=lambda w: expand(
            "results/{dataset}/{method}/seed{seed}/counts{at}.npz",
            seed=method_of(w).seeds,
            allow_missing=True,
        ),
        tables=tables_of,
        instances=instance_counts_of,
    output:
        "results/{dataset}/{method}/scores{at}.json",
    log:
        "results/logs/{dataset}/score-{method}{at}.log",
    benchmark:
        "results/benchmarks/{dataset}/score-{method}{at}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=2000,
    params:
        code=lambda w: code(
            "score", "patchbank.evaluation.score", *protocol_modules(w.dataset)
        ),
        method=lambda w: as_plain(method_of(w)),
        scoring=scoring_at,
    message:
        "Scoring {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/score.py"


rule compare:
    input:
        unpack(compared_files),
        manifest="results/{dataset}/manifest.json",
    output:
        "results/{dataset}/comparisons.json",
    log:
        "results/logs/{dataset}/compare.log",
    benchmark:
        "results/benchmarks/{dataset}/compare.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 2
    resources:
        mem_mb=2000,
    params:
        code=lambda w: code(
            "compare", "patchbank.evaluation.compare", *protocol_modules(w.dataset)
        ),
        methods=lambda w: [as_plain(m) for m in compared_methods(w.dataset)],
        scoring=scoring_of,
    message:
        "Comparing the methods of {wildcards.dataset}"
    script:
        "../../scripts/compare.py"
