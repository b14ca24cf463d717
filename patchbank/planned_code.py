"""Code that changes while a run goes: a job would compute with code that the run's plan does not know.

Snakemake records for every output the code by which the run was planned (`patchbank.config.plan.code`), and a job
imports what is on the disk when it starts. Were the change taken back afterwards, what was made by it would count as
made by today's code for ever. The process that plans a run therefore leaves what each hash was made of, and a job
whose own code is another one by now ends with one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.fingerprint import remember, stage_code

FOLDER = Path(".snakemake/patchbank")
"""Below the working folder of a run: what its process leaves for jobs and for later runs."""
SOURCES = "sources.json"


def leave(folder: Path, code: str, script: Path, modules: Sequence[str]) -> None:
    """Leave what a hash was made of, where it does not lie there yet."""
    file = folder / "code" / f"{code}.json"
    if not file.exists():
        write_json(file, {"script": str(script.absolute()), "modules": list(modules)})


def check(folder: Path, code: str) -> None:
    """Compare the code of a job with what it was when the run was planned, where that was left.

    Raises:
        UserError: it is another one.
    """
    file = folder / "code" / f"{code}.json"
    if not file.exists():
        return
    remember(folder / SOURCES, write=False)
    made_of = read_json(file)
    script = Path(made_of["script"])
    if stage_code(script, made_of["modules"]) != code:
        raise UserError(
            f"The code of this job ({script.name} or a module of patchbank that it uses) has changed since this run "
            "was planned; start snakemake again, which makes anew what depends on it."
        )
