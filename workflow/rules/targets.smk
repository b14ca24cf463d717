# One target for every configured set, whether its data is there or not: snakemake eval_<dataset>; the folder of
# --config folder=DIR is eval_mine, too, whatever its results are called.
from snakemake.cli import get_argument_parser
from snakemake.logging import logger
from snakemake.settings.types import ExecMode

from patchbank.config.cluster import Request, check_requests
from patchbank.config.own_folder import MINE, claim
from patchbank.config.targets import check_targets

for target, name in evaluated(C).items():

    rule:
        name:
            f"eval_{target}"
        input:
            f"results/{name}/report.md",
            f"results/{name}/sheet.png",
            f"results/{name}/index.html",


# Snakemake tells a Snakefile of its targets only when it was read, so they are read from the command line, once.
if workflow.exec_mode == ExecMode.DEFAULT:
    if C.own:
        logger.info(f"Results of folder={C.own[1]} are in results/{C.own[0]}/.")
    if Path(sys.argv[0]).name in ("snakemake", "__main__.py"):
        checked(
            check_targets,
            get_argument_parser().parse_args(sys.argv[1:]).targets,
            ["all", *(rule.name for rule in workflow.rules)],
            lambda path: any(rule.is_producer(path) for rule in workflow.rules),
            C,
            workflow.config_settings.config_args or [],
        )


onstart:
    if C.own:
        claim(*C.own)
    if workflow.executor_plugin.name == "slurm":
        submitted = [
            workflow.dag.get_job_group(job) or job
            for job in workflow.dag.needrun_jobs()
            if not job.is_local
        ]
        if said := checked(
            check_requests,
            [Request.of_job(job) for job in submitted],
            [Request.of_last_attempt(job) for job in submitted],
        ):
            logger.warning(said)
