# Reports: tables, pictures, pages for a browser, and the summary over all sets.


rule panel:
    input:
        unpack(panel_inputs),
        manifest="results/{dataset}/manifest.json",
    output:
        report(
            "results/{dataset}/panel.png",
            caption="../report/panel.rst",
            category="{dataset}",
            labels={"figure": "panel"},
        ),
    log:
        "results/logs/{dataset}/panel.log",
    benchmark:
        "results/benchmarks/{dataset}/panel.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=2000,
    params:
        code=code("panel", "patchbank.report.panel"),
        columns=lambda w: panel_columns_of(w.dataset),
    message:
        "Drawing the panel of {wildcards.dataset}"
    script:
        "../../scripts/panel.py"


rule curves:
    input:
        steps=lambda w: expand(
            "results/{dataset}/{method}/seed{seed}/steps.csv",
            seed=method_of(w).seeds,
            allow_missing=True,
        ),
    output:
        report(
            "results/{dataset}/{method}/curves.png",
            caption="../report/curves.rst",
            category="{dataset}",
            labels={"figure": "training curves", "method": "{method}"},
        ),
    log:
        "results/logs/{dataset}/curves-{method}.log",
    benchmark:
        "results/benchmarks/{dataset}/curves-{method}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=1000,
    params:
        code=code("curves", "patchbank.report.curves"),
        seeds=lambda w: method_of(w).seeds,
    message:
        "Drawing the training curves of {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/curves.py"


rule pictures:
    input:
        unpack(picture_banks),
        manifest="results/{dataset}/manifest.json",
        checkpoint=first_checkpoint,
    output:
        report(
            "results/{dataset}/{method}/pictures.png",
            caption="../report/pictures.rst",
            category="{dataset}",
            labels={"figure": "on the way to a prediction", "method": "{method}"},
        ),
    log:
        "results/logs/{dataset}/pictures-{method}.log",
    benchmark:
        "results/benchmarks/{dataset}/pictures-{method}.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=2000,
    params:
        code=lambda w: code(
            "pictures", f"patchbank.methods.{method_of(w).folder}.pictures"
        ),
        folder=lambda w: method_of(w).folder,
        settings=lambda w: method_of(w).settings,
        recipes=lambda w: method_of(w).traits.pictures,
    message:
        "Drawing what {wildcards.method} makes on its way on {wildcards.dataset}"
    script:
        "../../scripts/pictures.py"


rule report:
    input:
        manifest="results/{dataset}/manifest.json",
        bank=lambda w: pointer(w.dataset, C.splits(w.dataset)["eval"], "whole"),
        scores=lambda w: [
            f"results/{w.dataset}/{name}/scores.json" for name in fixed_rows(w.dataset)
        ],
        floor_scores=lambda w: [
            f"results/{w.dataset}/{name}/scores.json" for name in floor_rows(w.dataset)
        ],
        elsewhere=lambda w: scores_elsewhere(w.dataset, fixed_rows(w.dataset)),
        floors_elsewhere=lambda w: scores_elsewhere(w.dataset, floor_rows(w.dataset)),
        comparisons="results/{dataset}/comparisons.json",
        panel="results/{dataset}/panel.png",
        curves=curves_of,
        pictures=pictures_of,
        records=records_of,
    output:
        json="results/{dataset}/report.json",
        markdown=report(
            "results/{dataset}/report.md",
            caption="../report/report.rst",
            category="{dataset}",
            labels={"figure": "tables"},
        ),
    log:
        "results/logs/{dataset}/report.log",
    benchmark:
        "results/benchmarks/{dataset}/report.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=1000,
    params:
        code=code("report", "patchbank.report.build", "patchbank.report.write"),
        trained=lambda w: [m.name for m in trained_methods(w.dataset)],
        drawn=lambda w: drawn_methods(w.dataset),
        note=lambda w: C.backbone(C.backbone_name(w.dataset)).note,
        config=lambda w: C.shaping(w.dataset),
        digest=lambda w: C.digest(w.dataset),
    message:
        "Writing the report of {wildcards.dataset}"
    script:
        "../../scripts/report.py"


rule page:
    input:
        unpack(panel_inputs),
        counts=lambda w: [
            f"{run_folder(w.dataset, m.name, seed)}/counts.npz"
            for m, seed in panel_runs(w.dataset)
        ],
        manifest="results/{dataset}/manifest.json",
        bank=lambda w: pointer(w.dataset, C.splits(w.dataset)["eval"], "whole"),
        statistics="results/{dataset}/statistics.npz",
        report="results/{dataset}/report.json",
        curves=curves_of,
        pictures=pictures_of,
    output:
        page="results/{dataset}/index.html",
        gallery=report(
            directory("results/{dataset}/gallery"),
            patterns=["{image}.{shown}.jpg"],
            caption="../report/gallery.rst",
            category="{dataset}",
            subcategory="gallery",
            labels={"image": "{image}", "shown": "{shown}"},
        ),
        clusters=report(
            directory("results/{dataset}/clusters"),
            patterns=["{method}.{cluster}.jpg"],
            caption="../report/clusters.rst",
            category="{dataset}",
            subcategory="clusters",
            labels={"method": "{method}", "cluster": "{cluster}"},
        ),
        charts=report(
            directory("results/{dataset}/charts"),
            patterns=["{chart}.svg"],
            caption="../report/charts.rst",
            category="{dataset}",
            subcategory="charts",
            labels={"chart": "{chart}"},
        ),
    log:
        "results/logs/{dataset}/page.log",
    benchmark:
        "results/benchmarks/{dataset}/page.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=2000,
    params:
        code=code("page", "patchbank.report.page.build"),
        templates=templates_digest(),
        columns=lambda w: panel_columns_of(w.dataset),
        gallery=lambda w: C.of(w.dataset)["gallery"],
        benchmarks="results/benchmarks/{dataset}",
    message:
        "Writing the page of {wildcards.dataset}"
    script:
        "../../scripts/page.py"


rule summary:
    input:
        reports=expand("results/{dataset}/report.json", dataset=C.enabled),
        pages=expand("results/{dataset}/index.html", dataset=C.enabled),
    output:
        json="results/summary.json",
        page="results/index.html",
        markdown=report(
            "results/summary.md",
            caption="../report/summary.rst",
            category="summary",
            labels={"figure": "all sets"},
        ),
    log:
        "results/logs/summary.log",
    benchmark:
        "results/benchmarks/summary.tsv"
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=1000,
    params:
        code=code("summary", "patchbank.report.summary", "patchbank.report.page.index"),
        templates=templates_digest(),
        others=other_reports,
    message:
        "Summing up all sets"
    script:
        "../../scripts/summary.py"
