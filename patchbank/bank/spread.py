"""One extraction over several devices of a host: a process for each, which fills a part of the shards.

Run as ``python -m patchbank.bank.spread``, such a process reads its job from its first line of input, claims a device
(`patchbank.devices`), and ends when its input does: with the process that started it. Where one cannot fill its part,
the others are told to end, so that a user reads why now and not when they are done.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from patchbank import devices, memory, stopping, threads
from patchbank.bank.extract import ExtractJob, extract
from patchbank.errors import UserError, raise_problems, said_by_the_disk
from patchbank.plain import from_plain, to_plain

LOG = logging.getLogger(__name__)
REFUSED = 3
"""Exit status of a process whose last line of output is a message for the user."""
DEFECT = 1
"""Exit status of one whose last line is a traceback."""
STOPPED = (stopping.STATUS, -signal.SIGTERM)
"""Exit statuses of one that SIGTERM ended; the latter before it could handle the signal."""


def extract_on(job: ExtractJob, count: int) -> None:
    """Fill a part of a bank's shards with `count` devices at the same time.

    Once a process ends without having filled its part, the others end behind the batch that they are at; complete
    shards are kept.

    Args:
        job: the part; its threads are divided among the processes.
        count: devices; with one or none this process computes.

    Raises:
        UserError: what `extract` raises, or the disk refuses, in one message for all processes that say so.
        RuntimeError: processes ended otherwise; their tracebacks are in our log.
        Stopped: SIGTERM ended processes, and it was not because of another one.
    """
    if count > 1:
        with tempfile.TemporaryDirectory(prefix="patchbank-") as folder:
            ends = _run_all([_piece(job, index, count, Path(folder)) for index in range(count)])
        problems = list(dict.fromkeys(said for status, said in ends if status == REFUSED))
        broken = [
            f"process {i + 1} of {count} ended with status {s}"
            for i, (s, _) in enumerate(ends)
            if s not in (0, REFUSED, *STOPPED)
        ]
        if broken:
            raise RuntimeError("; ".join([*broken, *problems]))
        if len(problems) == 1:
            raise UserError(problems[0])
        raise_problems("Extraction failed", problems)
        if any(status in STOPPED for status, _ in ends):
            raise stopping.Stopped
        os.environ[devices.VISIBLE] = ""  # what is left to do needs no device
    extract(job)


def _piece(job: ExtractJob, index: int, count: int, folder: Path) -> ExtractJob:
    """One of `count` parts of a job, with an output of its own."""
    share = max(1, (job.threads or threads.available()) // count)
    return replace(
        job,
        piece=(index, count),
        threads=share,
        beside=job.beside * count,
        out=folder / f"{index}.json",
    )


def _run_all(jobs: Sequence[ExtractJob]) -> list[tuple[int, str]]:
    """Run a process for each job, all at the same time; their exit statuses and the last that each said.

    What ends one of them early, or this process, SIGTERM above all, is passed on to all, and then they are waited for.
    """
    started: list[subprocess.Popen[str]] = []
    with ExitStack() as stack, ThreadPoolExecutor(len(jobs)) as pool:
        try:
            for _ in jobs:
                started.append(stack.enter_context(_process()))
            ends = [pool.submit(_follow, *one) for one in zip(started, jobs, strict=True)]
            if any(end.result()[0] != 0 for end in as_completed(ends)) and not all(end.done() for end in ends):
                LOG.info("the other processes end behind the batch that they are at")
                _stop(started)
            return [end.result() for end in ends]
        except BaseException:
            _stop(started)
            raise


def _stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Tell those that are alive to end behind their batch."""
    for process in processes:
        process.terminate()


def _process() -> subprocess.Popen[str]:
    """A process that waits for its job."""
    return subprocess.Popen(
        [sys.executable, "-m", "patchbank.bank.spread"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=_with_package(),
    )


def _follow(process: subprocess.Popen[str], job: ExtractJob) -> tuple[int, str]:
    """Give a process its job and write what it logs to our log; its exit status and the last that it said."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(to_plain(job)) + "\n")
    process.stdin.flush()
    said = ""
    for line in process.stdout:
        said = _message(line)
        LOG.info("process %d of %d: %s", job.piece[0] + 1, job.piece[1], said)
    return process.wait(), said


def _message(line: str) -> str:
    """A message of a process; a line that a library printed at its start, or that was cut when it ended, as it is."""
    try:
        return str(json.loads(line))
    except json.JSONDecodeError:
        return line.rstrip()


def _with_package() -> dict[str, str]:
    """The environment, with the package where this process found it."""
    package = str(Path(__file__).parents[2])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != package]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package, *others])}


class _Lines(logging.StreamHandler[TextIO]):
    """Every message as a line of JSON, so that one of several lines stays one."""

    def format(self, record: logging.LogRecord) -> str:
        """A message as JSON."""
        return json.dumps(super().format(record))


def _end_with(descriptor: int) -> None:
    """End this process when its input does; read below `sys.stdin`, whose lock processes that decode would inherit."""
    while os.read(descriptor, 1):
        pass
    os._exit(1)


def _output() -> TextIO:
    """Standard output for our messages alone: what libraries print from here on, C code too, goes to standard error."""
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


def _fill(job: ExtractJob) -> int:
    """Fill a part on a device of its own; the exit status, after the log has what went wrong."""
    try:
        threads.limit(job.threads)
        memory.keep()
        devices.claim()
        extract(job)
    except stopping.Stopped:
        LOG.error(stopping.MESSAGE)
        return stopping.STATUS
    except Exception as error:
        said = said_by_the_disk(error) if isinstance(error, OSError) else error
        if not isinstance(said, UserError):
            LOG.exception("This is a defect of PatchBank; please report it with this log.")
            return DEFECT
        for detail in said.details:
            LOG.error("%s", detail)
        LOG.error("%s", said)
        return REFUSED
    return 0


def main() -> int:
    """Fill the part that the first line of input names; on SIGTERM end behind the batch that is worked on."""
    stopping.install()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Lines(_output())], force=True)
    job = from_plain(ExtractJob, json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    return _fill(job)


if __name__ == "__main__":
    sys.exit(main())
