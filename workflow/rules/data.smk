# Datasets: the generated demo set, and the manifest that every later stage reads instead of the images' folders.


rule demo:
    output:
        directory("results/demo/data"),
    log:
        "results/logs/demo/demo.log",
    benchmark:
        "results/benchmarks/demo/demo.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("demo", "patchbank.datasets.demo"),
        settings=C.generated("demo"),
    message:
        "Generating the demo set"
    script:
        "../../scripts/demo.py"


rule manifest:
    input:
        stages.generator,
    output:
        manifest="results/{dataset}/manifest.json",
        check="results/{dataset}/check.json",
    log:
        "results/logs/{dataset}/manifest.log",
    benchmark:
        "results/benchmarks/{dataset}/manifest.tsv"
    conda:
        "../../envs/patchbank.yaml"
    threads: ALL_CORES
    resources:
        mem_mb=memory(2000),
    params:
        code=stages.manifest_code,
        spec=stages.spec,
        tree=tree_of,
    message:
        "Checking every image and mask of {wildcards.dataset}"
    script:
        "../../scripts/manifest.py"


rule sheet:
    input:
        manifest="results/{dataset}/manifest.json",
    output:
        report(
            "results/{dataset}/sheet.png",
            caption="../report/sheet.rst",
            category="{dataset}",
            labels={"figure": "sheet"},
        ),
    log:
        "results/logs/{dataset}/sheet.log",
    benchmark:
        "results/benchmarks/{dataset}/sheet.tsv"
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        code=code.of("sheet", "patchbank.report.sheet"),
    message:
        "Drawing a sheet of images and masks of {wildcards.dataset}"
    script:
        "../../scripts/sheet.py"
