# Reports: tables, pictures, pages for a browser, and the summary over all sets.


rule panel:
    input:
        unpack(reports.panel_files),
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
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(2000),
    params:
        code=code.of("panel", "patchbank.report.panel"),
        columns=reports.panel_columns,
    message:
        "Drawing the panel of {wildcards.dataset}"
    script:
        "../../scripts/panel.py"


rule curves:
    input:
        steps=reports.steps,
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
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("curves", "patchbank.report.curves"),
        seeds=reports.seeds,
    message:
        "Drawing the training curves of {wildcards.method} on {wildcards.dataset}"
    script:
        "../../scripts/curves.py"


rule pictures:
    input:
        unpack(reports.pictures_banks),
        manifest="results/{dataset}/manifest.json",
        checkpoint=reports.first_checkpoint,
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
        mem_mb=memory(2000),
    params:
        code=reports.pictures_code,
        folder=stages.folder,
        settings=stages.settings,
        recipes=reports.pictures_recipes,
    message:
        "Drawing what {wildcards.method} makes on its way on {wildcards.dataset}"
    script:
        "../../scripts/pictures.py"


rule report:
    input:
        manifest="results/{dataset}/manifest.json",
        check="results/{dataset}/check.json",
        bank=reports.eval_bank,
        scores=reports.fixed_scores,
        floor_scores=reports.floor_scores,
        elsewhere=reports.fixed_elsewhere,
        floors_elsewhere=reports.floors_elsewhere,
        comparisons="results/{dataset}/comparisons.json",
        panel="results/{dataset}/panel.png",
        curves=reports.curves,
        pictures=reports.pictures,
        records=reports.records,
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
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of("report", "patchbank.report.build", "patchbank.report.write"),
        trained=reports.trained,
        drawn=reports.drawn,
        facts=reports.facts,
        note=reports.note,
        config=reports.shaping,
        digest=reports.digest,
    message:
        "Writing the report of {wildcards.dataset}"
    script:
        "../../scripts/report.py"


rule page:
    input:
        unpack(reports.panel_files),
        counts=reports.panel_counts,
        manifest="results/{dataset}/manifest.json",
        bank=reports.eval_bank,
        statistics="results/{dataset}/statistics.npz",
        report="results/{dataset}/report.json",
        curves=reports.curves,
        pictures=reports.pictures,
        clusters=reports.k_chart,
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
        mem_mb=memory(2000),
    params:
        code=code.of("page", "patchbank.report.page.build"),
        templates=templates_digest(),
        columns=reports.panel_columns,
        gallery=reports.gallery,
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
    localrule: True
    conda:
        "../../envs/patchbank.yaml"
    resources:
        mem_mb=memory(1000),
    params:
        code=code.of(
            "summary", "patchbank.report.summary", "patchbank.report.page.index"
        ),
        templates=templates_digest(),
        others=reports.others,
    message:
        "Summing up all sets"
    script:
        "../../scripts/summary.py"
