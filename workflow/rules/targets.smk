# One target for every configured set, whether its data is there or not: snakemake eval_<dataset>.
for name in C.datasets:

    rule:
        name:
            f"eval_{name}"
        input:
            f"results/{name}/report.md",
            f"results/{name}/sheet.png",
            f"results/{name}/index.html",
