# Weights of the frozen encoders.


rule weights:
    output:
        weights="results/weights/{backbone}/weights.safetensors",
        provenance="results/weights/{backbone}/weights.json",
    log:
        "results/logs/weights/{backbone}.log",
    benchmark:
        "results/benchmarks/weights/{backbone}.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(3000),
    params:
        code=code.of("weights", "patchbank.weights.fetch"),
        spec=stages.backbone_spec,
        file_state=stages.local_file_state,
    message:
        "Fetching the weights of {wildcards.backbone}"
    script:
        "../../scripts/weights.py"
