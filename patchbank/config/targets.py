"""Targets that nothing makes: a sentence of ours with what to write instead, before Snakemake guesses."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from patchbank.config.config import Config
from patchbank.config.folders import PROJECT
from patchbank.config.own_folder import MINE, RESERVED, RESULTS, folder_of
from patchbank.config.schema import plain_name
from patchbank.config.typed import NULLS
from patchbank.errors import UserError

OWN = f"snakemake eval_{MINE} --config folder=DIR"
"""How a folder of one's own is evaluated."""
FILES = "report.md, index.html, sheet.png, manifest.json"
"""Results of a set that people ask for."""


def check_targets(
    targets: Iterable[str], rules: Sequence[str], makes: Callable[[str], bool], config: Config, entries: Sequence[str]
) -> None:
    """Refuse targets that cannot be made.

    Args:
        targets: what the command line asks for: rules and files.
        rules: names of all rules.
        makes: whether a rule makes the file of that path.
        config: the configuration.
        entries: ``KEY=VALUE`` texts of the command line.

    Raises:
        UserError: one sentence for each of them.
    """
    files = [target for target in targets if target not in rules and not makes(target)]
    wrong = [_sentence(target, rules, config, entries) for target in files if not _is_there(target, config)]
    if wrong:
        raise UserError("\n".join(wrong))


def _is_there(target: str, config: Config) -> bool:
    """Whether a file needs no rule; results that are another folder's are never taken for what is asked for."""
    parts = Path(target).parts
    foreign = len(parts) > 2 and parts[0] == RESULTS.name and parts[1] not in (*config.datasets, *RESERVED)
    return Path(target).exists() and not foreign


def _sentence(target: str, rules: Sequence[str], config: Config, entries: Sequence[str]) -> str:
    kind, _, name = target.partition("_")
    known = {prefix: [r.removeprefix(f"{prefix}_") for r in rules if r.startswith(f"{prefix}_")] for prefix in KINDS}
    if kind in known and "/" not in target:
        return f"{target}: {KINDS[kind](name, known[kind], config, entries)}"
    path = Path(os.path.relpath(target))
    if path.parts[0] == RESULTS.name and str(path) != target:
        return f"{target}: write it as the rules do, {path}."
    if len(path.parts) > 2 and path.parts[0] == RESULTS.name and path.parts[1] not in RESERVED:
        return f"{target}: {_of_file(path, config, entries)}"
    near = difflib.get_close_matches(target, rules, 1, 0.7)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{target}: no rule makes this.{hint} `snakemake --list-target-rules` lists all targets."


def _of_set(name: str, known: Sequence[str], config: Config, entries: Sequence[str]) -> str:
    """``eval_<name>``."""
    owner = folder_of(RESULTS / name) if name else None
    if config.own is not None:
        return f"there is no set {name!r}. {_near('eval_', name, known)} The folder {config.own[1]} is eval_{MINE}."
    if owner is not None and name != MINE:
        entry = shlex.quote(f"folder={owner}")
        return f"results/{name} are those of a folder: snakemake eval_{name} --config {entry} name={name}"
    if name == MINE:
        typed = [text for key, _, text in (entry.partition("=") for entry in entries) if key == "folder"]
        null = f" (a folder called {typed[-1]} is folder=./{typed[-1]})" if typed and typed[-1] in NULLS else ""
        return f"the folder to evaluate is missing, folder=DIR{null}: {OWN}"
    return f"there is no set {name!r}. {_near('eval_', name, known)} A folder of your own: {OWN}"


def _of_sweep(name: str, known: Sequence[str], config: Config, entries: Sequence[str]) -> str:
    """``sweep_<name>``."""
    return (
        f"there is no set {name!r}. {_near('sweep_', name, known)} A folder of your own: {OWN.replace('eval', 'sweep')}"
    )


def _of_download(name: str, known: Sequence[str], config: Config, entries: Sequence[str]) -> str:
    """``fetch_<name>``."""
    return f"there is no download {name!r}. {_near('fetch_', name, known)} docs/datasets.md describes the other sets."


def _of_ablation(name: str, known: Sequence[str], config: Config, entries: Sequence[str]) -> str:
    """``ablate_<name>``."""
    files = sorted((PROJECT / "workflow" / "settings").glob("ablate_*.yaml"))
    shipped = {file.stem.removeprefix("ablate_"): file for file in files}
    if name in shipped:
        return f"its rows are in a file of their own; add --configfile {_short(shipped[name])}"
    have = _near("ablate_", name, known) if known else f"--configfile {', '.join(map(_short, files))} brings some."
    return f"there is no ablation {name!r} under `ablations` of the configuration. {have}"


def _of_file(path: Path, config: Config, entries: Sequence[str]) -> str:
    """A file below ``results/<name>/``."""
    name = path.parts[1]
    if name in config.datasets:
        return f"no rule makes this; results of {name} are {FILES} in results/{name}/."
    owner = folder_of(RESULTS / name)
    if config.own is None or (owner is None and name != MINE):
        return _of_set(name, [rule for rule in config.datasets], config, entries)
    kept, folder = config.own
    holds = f"results/{name} are those of {owner}, and the results" if owner else "the results"
    return (
        f"{holds} of {folder} are in results/{kept}: ask for {Path(RESULTS, kept, *path.parts[2:])} or eval_{MINE}, or "
        "choose a name with name=NAME beside folder=."
    )


KINDS = {"eval": _of_set, "sweep": _of_sweep, "fetch": _of_download, "ablate": _of_ablation}
"""Targets by the beginning of their names."""


def _short(file: Path) -> str:
    """A path as a user types it."""
    return os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)


def _near(prefix: str, name: str, known: Sequence[str]) -> str:
    """The nearest of some names, else all of them."""
    near = difflib.get_close_matches(plain_name(name), known, 3, 0.6)
    if near:
        return f"Did you mean {' or '.join(prefix + one for one in near)}?"
    return f"There are {', '.join(prefix + one for one in known)}."
