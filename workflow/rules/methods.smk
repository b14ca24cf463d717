# Methods and floors: from the bank to predictions on the patch grid, and dataset-wide ids for segments.


rule train:
    input:
        unpack(stages.training_banks),
        statistics="results/{dataset}/statistics.npz",
        labels=stages.labels,
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
    threads: ALL_CORES
    resources:
        gpu=GPU,
        mem_mb=4000,
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


rule predict:
    input:
        unpack(stages.prediction_banks),
        statistics="results/{dataset}/statistics.npz",
        checkpoint=stages.checkpoint,
        labels=stages.labels,
    output:
        "results/{dataset}/{method}/seed{seed}/{split}.h5",
    log:
        "results/logs/{dataset}/predict-{method}-seed{seed}-{split}.log",
    benchmark:
        "results/benchmarks/{dataset}/predict-{method}-seed{seed}-{split}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 2
    resources:
        gpu=GPU,
        mem_mb=3000,
    params:
        code=stages.predict_code,
        folder=stages.folder,
        settings=stages.settings,
        recipes=stages.prediction_recipes,
        optional=stages.may_be_left_out,
    message:
        "Predicting {wildcards.dataset}/{wildcards.split} with {wildcards.method}, seed {wildcards.seed}"
    script:
        "../../scripts/predict.py"


rule segment_clusters:
    input:
        unpack(stages.clustered),
        statistics="results/{dataset}/statistics.npz",
    output:
        "results/{dataset}/{method}/seed{seed}/clusters.npz",
    log:
        "results/logs/{dataset}/segment_clusters-{method}-seed{seed}.log",
    benchmark:
        "results/benchmarks/{dataset}/segment_clusters-{method}-seed{seed}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: 2
    resources:
        mem_mb=3000,
    params:
        code=code.of("segment_clusters", "patchbank.segments.cluster"),
        settings=stages.clustering,
        optional=stages.may_be_left_out,
    message:
        "Clustering the segments of {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../../scripts/segment_clusters.py"
