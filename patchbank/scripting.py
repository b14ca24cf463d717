"""What every script of the workflow does around its work: log, threads, errors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchbank import devices, planned_code, stopping, threads
from patchbank.errors import UserError, said_by_the_disk
from patchbank.files import sweep
from patchbank.left_out import CannotBeMade, LeftOut, first_left_out, write_left_out

BY_ITSELF = ("instances",)
"""Inputs without which a row still has its other protocols."""


@contextmanager
def stage(snakemake: Any) -> Iterator[None]:
    """Run a stage: log to the rule's log file and to stderr; end with status 1 and one clear message on bad input.

    A `UserError`, or what the disk refused, shows its message on stderr, and all its details in the log. Any other
    exception is a defect: its traceback lands in both.

    A stage that asks for one `gpu` gets a device of its own (`patchbank.devices`), and sees no other; where its rule's
    `gpu` is 0 it sees none.

    Where the rule's param `optional` is true, the stage belongs to a row that may be left out
    (`patchbank.left_out`): `CannotBeMade`, or an input that was left out, leaves out all outputs and ends well.

    Where the code of the stage has changed since the run was planned, it ends before its work.

    On SIGTERM the stage ends (`patchbank.stopping`), with one sentence and `stopping.STATUS`.

    Args:
        snakemake: the object that Snakemake gives to a script.
    """
    stopping.install()
    threads.limit(int(snakemake.threads))
    screen = _log_to(Path(str(snakemake.log[0])))
    log = logging.getLogger(__name__)
    optional = bool(snakemake.params.get("optional"))
    try:
        planned_code.check(planned_code.FOLDER, str(snakemake.params.get("code")))
        sweep(map(str, snakemake.output))
        if optional and (entry := _missing_input(snakemake)) is not None:
            _leave_out(snakemake, entry.reason)
            sys.exit(0)
        gpu = snakemake.resources.get("gpu")
        if gpu == 0:
            devices.hide()
        elif gpu == 1:
            devices.claim()
        yield
    except stopping.Stopped:
        log.error(stopping.MESSAGE)
        raise
    except Exception as error:
        if stopping.asked():  # a process of ours that got the signal too, and ended before this one
            log.error("%s (%s)", stopping.MESSAGE, error)
            sys.exit(stopping.STATUS)
        if optional and isinstance(error, CannotBeMade):
            _leave_out(snakemake, str(error))
            return
        said = said_by_the_disk(error) if isinstance(error, OSError) else error
        if isinstance(said, UserError):
            log.error("%s", said)
            logging.getLogger().removeHandler(screen)
            for detail in said.details:
                log.error("%s", detail)
        else:
            log.exception("This is a defect of PatchBank; please report it with this log.")
        sys.exit(1)
    finally:
        logging.shutdown()


def _log_to(path: Path) -> logging.Handler:
    """Write all that is logged to a file and to stderr; the handler of the latter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(path, mode="w", encoding="utf-8", errors="backslashreplace")
    screen = logging.StreamHandler(sys.stderr)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=[file, screen], force=True)
    logging.captureWarnings(True)
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it reports every processor variant that it tries
    return screen


def _missing_input(snakemake: Any) -> LeftOut | None:
    """What was left out of the inputs that the row cannot do without."""
    spared = {str(path) for name in BY_ITSELF for path in snakemake.input.get(name, [])}
    return first_left_out(path for path in map(str, snakemake.input) if path not in spared)


def _leave_out(snakemake: Any, reason: str) -> None:
    at = str(snakemake.wildcards.get("at", "")).removeprefix("-at-")
    entry = LeftOut(str(snakemake.wildcards.method), at, reason)
    write_left_out(map(str, snakemake.output), entry)
    logging.getLogger(__name__).warning("left out: %s", entry.sentence)
