# Downloads: one target for every set that can be fetched, or whose page can be named. They run only when named, and
# each time they are: neither output nor benchmark, whose presence would stand for data that may be gone.
for fetched in fetch_tables():

    rule:
        name:
            f"fetch_{fetched}"
        log:
            f"results/logs/fetch/{fetched}.log",
        conda:
            "../../envs/patchbank.yaml"
        resources:
            mem_mb=memory(1000),
        params:
            name=fetched,
            data_root=stages.data_root,
        message:
            f"Fetching {fetched}"
        script:
            "../../scripts/fetch.py"
