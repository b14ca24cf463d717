# Methods and floors: from the bank to predictions on the patch grid, and dataset-wide ids for segments. All seeds and
# splits of a row are predicted, clustered and counted by one job; `shapes` says which rules that takes.


rule train:
    input:
        unpack(stages.training_banks),
        statistics="results/{dataset}/statistics.npz",
        labels=stages.labels,
        after=stages.learned_after,
    output:
        checkpoint="results/{dataset}/{method}/seed{seed}/checkpoint.safetensors",
        record="results/{dataset}/{method}/seed{seed}/checkpoint.json",
        steps="results/{dataset}/{method}/seed{seed}/steps.csv",
        epochs="results/{dataset}/{method}/seed{seed}/epochs.csv",
    log:
        "results/logs/{dataset}/train-{method}-seed{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/train-{method}-seed{seed}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: training_threads
    resources:
        gpu=GPU,
        mem_mb=memory(4000),
    params:
        code=stages.train_code,
        folder=stages.folder,
        settings=stages.settings,
        recipes=stages.training_recipes,
        state_root="results/.training",
        optional=stages.may_be_left_out,
    message:
        "Training {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../../scripts/train.py"


for shape in shapes.predict():

    rule:
        name:
            shape.rule
        input:
            banks=stages.prediction_banks,
            statistics="results/{dataset}/statistics.npz",
            checkpoints=stages.checkpoints,
            labels=stages.labels,
        output:
            shape.predictions(),
        log:
            "results/logs/{dataset}/predict-{method}.log",
        benchmark:
            "results/benchmarks/{dataset}/predict-{method}.tsv"
        wildcard_constraints:
            dataset=shape.datasets,
            method=shape.methods,
        group:
            stages.predicted_with
        conda:
            "../../envs/patchbank.yaml"
        threads: stages.row_threads
        resources:
            gpu=GPU,
            mem_mb=memory(3000),
        params:
            code=stages.predict_code,
            folder=stages.folder,
            settings=stages.settings,
            seeds=stages.seeds,
            splits=stages.predicted,
            recipes=stages.prediction_recipes,
            optional=stages.may_be_left_out,
        message:
            "Predicting {wildcards.dataset} with {wildcards.method}"
        script:
            "../../scripts/predict.py"


for shape in shapes.segment_clusters():

    rule:
        name:
            shape.rule
        input:
            unpack(stages.clustered),
            statistics="results/{dataset}/statistics.npz",
        output:
            shape.files("clusters.npz"),
        log:
            "results/logs/{dataset}/segment_clusters-{method}.log",
        benchmark:
            "results/benchmarks/{dataset}/segment_clusters-{method}.tsv"
        wildcard_constraints:
            dataset=shape.datasets,
            method=shape.methods,
        group:
            "row"
        conda:
            "../../envs/patchbank.yaml"
        threads: stages.row_threads
        resources:
            mem_mb=memory(3000),
        params:
            code=code.of("segment_clusters", "patchbank.segments.cluster"),
            settings=stages.clustering,
            seeds=stages.seeds,
            optional=stages.may_be_left_out,
        message:
            "Clustering the segments of {wildcards.method} on {wildcards.dataset}"
        script:
            "../../scripts/segment_clusters.py"


told_alike(shapes.predict())
told_alike(shapes.segment_clusters())
