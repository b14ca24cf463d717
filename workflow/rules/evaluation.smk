# Evaluation: pixels are counted once, every protocol is a reduction of the counts. Protocols of instances have counts
# of their own, counts-instance.npz, and so has each further preprocessing, counts-at-full.npz (wildcard at).


rule truth:
    input:
        manifest=stages.manifest,
        bank=evaluation.truth_bank,
    output:
        "results/{dataset}/truth{kind}-{preprocessing}.npz",
    log:
        "results/logs/{dataset}/truth{kind}-{preprocessing}.log",
    benchmark:
        "results/benchmarks/{dataset}/truth{kind}-{preprocessing}.tsv"
    wildcard_constraints:
        kind="(-instance)?",
        preprocessing="[a-z0-9_]+",
    conda:
        "../../envs/patchbank.yaml"
    threads: stages.row_threads
    resources:
        mem_mb=memory(2000),
    params:
        code=code.of("truth", "patchbank.evaluation.truth_file"),
        label_kind=evaluation.truth_kind,
        split=evaluation.eval_split,
    message:
        "Decoding the labels of {wildcards.dataset} at {wildcards.preprocessing}"
    script:
        "../../scripts/truth.py"


for shape in shapes.count():

    rule:
        name:
            shape.rule
        input:
            manifest="results/{dataset}/manifest.json",
            truth=evaluation.truth,
            predictions=evaluation.predictions,
        output:
            counts=shape.files("counts{at}.npz"),
            summaries=shape.files("counts{at}.json"),
        log:
            "results/logs/{dataset}/count-{method}{at}.log",
        benchmark:
            "results/benchmarks/{dataset}/count-{method}{at}.tsv"
        wildcard_constraints:
            dataset=shape.datasets,
            method=shape.methods,
            at="(-instance|-at-[a-z0-9_]+)?",
        group:
            "row"
        conda:
            "../../envs/patchbank.yaml"
        threads: stages.row_threads
        resources:
            mem_mb=memory(2000),
        params:
            code=code.of("count", "patchbank.evaluation.count"),
            preprocessing=evaluation.preprocessing,
            postprocess=evaluation.postprocess,
            seeds=evaluation.seeds,
            origin=evaluation.origin,
            missing=evaluation.missing,
            optional=evaluation.may_be_left_out,
        message:
            "Counting pixels of {wildcards.method} on {wildcards.dataset}"
        script:
            "../../scripts/count.py"


told_alike(shapes.count())


checkpoint segment_numbers:
    input:
        summaries=evaluation.summaries,
    output:
        "results/{dataset}/segment_numbers.json",
    log:
        "results/logs/{dataset}/segment_numbers.log",
    benchmark:
        "results/benchmarks/{dataset}/segment_numbers.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("segment_numbers", "patchbank.evaluation.used"),
        rows=evaluation.measured,
        varying=evaluation.varying,
    message:
        "Finding the numbers of segments of {wildcards.dataset}"
    script:
        "../../scripts/segment_numbers.py"


rule score:
    input:
        manifest="results/{dataset}/manifest.json",
        counts=evaluation.counts,
        tables=evaluation.tables,
        instances=evaluation.instances,
    output:
        "results/{dataset}/{method}/scores{at}.json",
    log:
        "results/logs/{dataset}/score-{method}{at}.log",
    benchmark:
        "results/benchmarks/{dataset}/score-{method}{at}.tsv"
    group:
        "row"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        code=evaluation.score_code,
        method=evaluation.method,
        scoring=evaluation.scoring_at,
        optional=evaluation.may_be_left_out,
    message:
        "Scoring {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/score.py"


rule compare:
    input:
        unpack(evaluation.compared_files),
        manifest="results/{dataset}/manifest.json",
    output:
        "results/{dataset}/comparisons.json",
    log:
        "results/logs/{dataset}/compare.log",
    benchmark:
        "results/benchmarks/{dataset}/compare.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: stages.row_threads
    resources:
        mem_mb=memory(2000),
    params:
        code=evaluation.compare_code,
        methods=evaluation.compared_methods,
        scoring=evaluation.scoring,
    message:
        "Comparing the methods of {wildcards.dataset}"
    script:
        "../../scripts/compare.py"
