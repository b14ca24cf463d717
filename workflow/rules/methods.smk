# Methods and floors: from the bank to predictions on the patch grid, and dataset-wide ids for segments.


rule train:
    input:
        unpack(training_banks),
        statistics="results/{dataset}/statistics.npz",
        labels=labels_of,
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
        code=lambda w: code("train", f"patchbank.methods.{method_of(w).folder}.train"),
        folder=lambda w: method_of(w).folder,
        settings=lambda w: method_of(w).settings,
        recipes=lambda w: method_of(w).traits.recipes,
        state_root="results/.training",
    message:
        "Training {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../../scripts/train.py"


rule predict:
    input:
        unpack(prediction_banks),
        statistics="results/{dataset}/statistics.npz",
        checkpoint=trained_checkpoint,
        labels=labels_of,
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
        code=lambda w: code(
            "predict",
            f"patchbank.methods.{method_of(w).folder}.predict",
            "patchbank.predictions",
        ),
        folder=lambda w: method_of(w).folder,
        settings=lambda w: method_of(w).settings,
        recipes=lambda w: method_of(w).traits.reads,
    message:
        "Predicting {wildcards.dataset}/{wildcards.split} with {wildcards.method}, seed {wildcards.seed}"
    script:
        "../../scripts/predict.py"


rule segment_clusters:
    input:
        fit_bank=lambda w: pointer(
            w.dataset, C.splits(w.dataset)["fit"], method_of(w).features
        ),
        eval_bank=lambda w: pointer(
            w.dataset, C.splits(w.dataset)["eval"], method_of(w).features
        ),
        fit_prediction=lambda w: f"{run_folder(w.dataset, w.method, w.seed)}/{C.splits(w.dataset)['fit']}.h5",
        eval_prediction=lambda w: f"{run_folder(w.dataset, w.method, w.seed)}/{C.splits(w.dataset)['eval']}.h5",
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
        code=code("segment_clusters", "patchbank.segments.cluster"),
        settings=lambda w: C.shared(w.dataset),
    message:
        "Clustering the segments of {wildcards.method} on {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../../scripts/segment_clusters.py"
