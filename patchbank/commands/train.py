"""`patchbank train METHOD --dataset SET --out DIR`: train a method from an existing bank, without the pipeline.

    patchbank train METHOD --dataset msrc --out trained/msrc --seed 1 --set epochs=20
    patchbank train METHOD --bank results/msrc/bank/train-whole.json --statistics results/msrc/statistics.npz \
        --out trained/msrc

Settings are those of `config.yaml` for the set, changed by every `--config FILE` (as ``snakemake --configfile``) and
then by every `--set KEY=VALUE` (a key of the method, a value in YAML). Banks and statistics are those of the pipeline
below `--results`, unless they are named, and so is the manifest, which only a method that learns from labels is given,
and the checkpoint of the same seed of the row that a method learns after.
DIR gets `checkpoint.safetensors`, `checkpoint.json`, `steps.csv`, `epochs.csv`, and below `.training` the state from
which the same command goes on after a kill. `training.json` says which training writes there; another one is refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.arguments import positive
from patchbank.errors import UserError
from patchbank.outputs import add_overwrite, claim_folder
from patchbank.paths import expand, expand_path

if TYPE_CHECKING:
    from patchbank.methods.jobs import TrainJob

HELP = "train a method from an existing bank, without the pipeline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained, on what, and where results go."""
    parser.add_argument("method", metavar="METHOD", help="a name under `methods` of the configuration")
    parser.add_argument("--dataset", metavar="SET", help="set whose settings and banks are used; default: the bank's")
    parser.add_argument("--out", metavar="DIR", required=True, type=expand_path, help="folder for checkpoint and logs")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default 0)")
    parser.add_argument(
        "--config", metavar="FILE", type=expand, action="append", default=[], help="changes of config.yaml"
    )
    parser.add_argument("--set", metavar="KEY=VALUE", dest="changes", action="append", default=[], help="one setting")
    parser.add_argument(
        "--results", metavar="DIR", type=expand, default="results", help="the pipeline's folder (default results)"
    )
    parser.add_argument(
        "--bank", metavar="PATH", dest="banks", type=expand, action="append", default=[], help="a bank, as in info"
    )
    parser.add_argument("--statistics", metavar="FILE", type=expand_path, help="statistics.npz of the train bank")
    parser.add_argument("--manifest", metavar="FILE", type=expand_path, help="manifest.json of the set, for its labels")
    parser.add_argument("--after", metavar="FILE", type=expand_path, help="checkpoint of the row that it learns after")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: all)")
    add_overwrite(parser)


def run(options: argparse.Namespace) -> int:
    """Train and say where the results are."""
    import logging

    from patchbank import memory, threads

    threads.limit(options.threads)  # before torch is imported
    memory.keep()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from patchbank.methods.contract import run_train

    job = prepare(options)
    files = job.files
    outputs = (files.checkpoint, files.checkpoint.with_suffix(".json"), files.steps_csv, files.epochs_csv)
    names = [*(path.name for path in outputs), job.state_root.name]
    claim_folder(options.out, "training.json", _identity(job), names, options.overwrite)
    run_train(job)
    print(f"{job.files.checkpoint}, {job.files.steps_csv}, {job.files.epochs_csv}")
    return 0


def prepare(options: argparse.Namespace) -> TrainJob:
    """The training that the command line asks for.

    Raises:
        UserError: for a set, method, setting, bank or file that does not exist.
    """
    from patchbank.config.folders import how_to_make
    from patchbank.config.load import read_config
    from patchbank.methods.jobs import TrainingFiles, TrainJob

    named = _by_recipe(options.banks)
    dataset = options.dataset or next((record["dataset"] for _, record in named.values()), None)
    config = read_config(options.config)
    if dataset not in config.datasets:
        said = "No set is named" if dataset is None else f"The set {dataset!r} is not configured"
        raise UserError(f"{said}; name one with --dataset: {', '.join(config.datasets)}.")
    if options.changes:
        changed = {"settings": {"methods": {options.method: _changes(options.changes)}}}
        config = read_config(options.config, {"datasets": {dataset: changed}})
    method = config.method(dataset, options.method)
    if not method.traits.trained:
        raise UserError(f"{method.name} has no stage `train`: nothing of it is learned.")
    banks = {
        recipe: named[recipe][0] if recipe in named else Path(path)
        for recipe, path in config.training_banks(dataset, method, options.results).items()
    }
    unused = [f"{path} (recipe {recipe})" for recipe, (path, _) in named.items() if recipe not in banks]
    if unused:
        raise UserError(f"{method.name} reads banks of {', '.join(banks)}, not {', '.join(unused)}.")
    statistics = options.statistics or Path(options.results, dataset, "statistics.npz")
    manifest = options.manifest or Path(options.results, dataset, "manifest.json")
    labels = [manifest] if method.traits.oracle else []
    if options.after and not method.after:
        raise UserError(f"{method.name} learns after no other row; leave --after out.")
    usual = TrainingFiles.below(Path(options.results, dataset, method.after, f"seed{options.seed}")).checkpoint
    after = options.after or (usual if method.after else None)
    needed = (*banks.values(), statistics, *labels, *([after] if after else []))
    missing = [str(path) for path in needed if not path.exists()]
    if missing:
        raise UserError(f"{', '.join(missing)}: no such file; {how_to_make(missing[0])}, or name another.")
    return TrainJob(
        folder=method.folder,
        banks=banks,
        statistics=statistics,
        settings=method.settings,
        seed=options.seed,
        files=TrainingFiles.below(options.out),
        state_root=options.out / ".training",
        manifest=manifest if labels else None,
        after=after,
        threads=options.threads,
    )


def _identity(job: TrainJob) -> dict[str, Any]:
    """What tells one training from another."""
    from patchbank.bank.format import read_record
    from patchbank.files import digest, sha256_file

    records = {recipe: read_record(path)[1] for recipe, path in job.banks.items()}
    for record in records.values():
        record.pop("contents", None)  # where shards come from is no part of what a bank is
    files = {"statistics": job.statistics, "manifest": job.manifest}
    files |= {"after": job.after} if job.after else {}  # as it was before there was one, for all other methods
    return {
        "method": job.folder,
        "seed": job.seed,
        "settings": dict(job.settings),
        "banks": {recipe: digest(record, 16) for recipe, record in records.items()},
        **{name: path and sha256_file(path)[:16] for name, path in files.items()},
    }


def _by_recipe(paths: Sequence[str]) -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """Named banks with their records, by recipe."""
    if not paths:
        return {}
    from patchbank.bank.format import read_record
    from patchbank.views.bounds import read_as

    records = [(Path(path), read_record(path)[1]) for path in paths]
    return {read_as(record["recipe"]["name"]): (path, record) for path, record in records}


def _changes(assignments: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as a mapping; values are YAML."""
    import yaml

    wrong = [text for text in assignments if not text.partition("=")[1]]
    if wrong:
        raise UserError(f"--set {wrong[0]}: write KEY=VALUE, for example --set epochs=8.")
    return {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in assignments)}
