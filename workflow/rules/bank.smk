# The bank: frozen features of every view, extracted once, and the statistics of the training tokens.


rule extract:
    input:
        manifest=stages.manifest,
        weights=stages.weights,
        provenance=stages.provenance,
        before=stages.written_before,
    output:
        "results/{dataset}/bank/{split}-{recipe}/{part}-of-{parts}.json",
    log:
        "results/logs/{dataset}/extract-{split}-{recipe}-{part}-of-{parts}.log",
    benchmark:
        "results/benchmarks/{dataset}/extract-{split}-{recipe}-{part}-of-{parts}.tsv"
    priority: stages.extract_priority
    conda:
        "../../envs/patchbank.yaml"
    threads: extract_threads
    resources:
        gpu=GPUS,
        mem_mb=memory(6000),
        batch_tokens=stages.batch_tokens,
    params:
        code=stages.extract_code,
        backbone=stages.backbone,
        settings=stages.extract_settings,
        bank_root=stages.bank_root,
    message:
        "Extracting {wildcards.recipe} features of {wildcards.dataset}/{wildcards.split}"
    script:
        "../../scripts/extract.py"


# Asked only where `shards_per_job` cuts extractions: how many jobs a bank takes follows from the set's manifest.
checkpoint parts:
    input:
        manifest=stages.manifest,
    output:
        "results/{dataset}/bank/{split}-{recipe}/parts.json",
    log:
        "results/logs/{dataset}/parts-{split}-{recipe}.log",
    benchmark:
        "results/benchmarks/{dataset}/parts-{split}-{recipe}.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("parts", "patchbank.bank.format"),
        extract=stages.extraction,
    message:
        "Cutting the extraction of {wildcards.recipe} of {wildcards.dataset}/{wildcards.split}"
    script:
        "../../scripts/parts.py"


rule bank:
    input:
        manifest=stages.manifest,
        parts=stages.parts,
    output:
        "results/{dataset}/bank/{split}-{recipe}.json",
    log:
        "results/logs/{dataset}/bank-{split}-{recipe}.log",
    benchmark:
        "results/benchmarks/{dataset}/bank-{split}-{recipe}.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("bank", "patchbank.bank.finish"),
    message:
        "Joining the shards of {wildcards.dataset}/{wildcards.split} {wildcards.recipe}"
    script:
        "../../scripts/bank.py"


rule statistics:
    input:
        bank=stages.train_bank,
    output:
        "results/{dataset}/statistics.npz",
    log:
        "results/logs/{dataset}/statistics.log",
    benchmark:
        "results/benchmarks/{dataset}/statistics.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("statistics", "patchbank.bank.statistics"),
    message:
        "Adding up the statistics of {wildcards.dataset}'s training tokens"
    script:
        "../../scripts/statistics.py"
