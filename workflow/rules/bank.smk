# The bank: frozen features of every view, extracted once, and the statistics of the training tokens.


rule extract:
    input:
        manifest="results/{dataset}/manifest.json",
        weights=backbone_of,
        provenance=lambda w: backbone_of(w, "weights.json"),
    output:
        "results/{dataset}/bank/{split}-{recipe}/{part}-of-{parts}.json",
    log:
        "results/logs/{dataset}/extract-{split}-{recipe}-{part}-of-{parts}.log",
    benchmark:
        "results/benchmarks/{dataset}/extract-{split}-{recipe}-{part}-of-{parts}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: ALL_CORES
    resources:
        gpu=GPU,
        mem_mb=6000,
    params:
        code=lambda w: code(
            "extract", "patchbank.bank.extract", f"patchbank.views.{w.recipe}"
        ),
        backbone=lambda w: as_plain(C.backbone(C.backbone_name(w.dataset))),
        recipe=recipe_settings,
        extract=lambda w: C.of(w.dataset)["extract"],
        bank_root=C.bank_root,
    message:
        "Extracting {wildcards.recipe} features of {wildcards.dataset}/{wildcards.split}"
    script:
        "../../scripts/extract.py"


rule bank:
    input:
        manifest="results/{dataset}/manifest.json",
        parts=parts_of,
    output:
        "results/{dataset}/bank/{split}-{recipe}.json",
    log:
        "results/logs/{dataset}/bank-{split}-{recipe}.log",
    benchmark:
        "results/benchmarks/{dataset}/bank-{split}-{recipe}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=1000,
    params:
        code=code("bank", "patchbank.bank.finish"),
    message:
        "Joining the shards of {wildcards.dataset}/{wildcards.split} {wildcards.recipe}"
    script:
        "../../scripts/bank.py"


rule statistics:
    input:
        bank=lambda w: pointer(w.dataset, C.splits(w.dataset)["train"], "whole"),
    output:
        "results/{dataset}/statistics.npz",
    log:
        "results/logs/{dataset}/statistics.log",
    benchmark:
        "results/benchmarks/{dataset}/statistics.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=1000,
    params:
        code=code("statistics", "patchbank.bank.statistics"),
    message:
        "Adding up the statistics of {wildcards.dataset}'s training tokens"
    script:
        "../../scripts/statistics.py"
