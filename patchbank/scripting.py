"""What every script of the workflow does around its work: log, threads, errors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchbank import threads
from patchbank.errors import UserError


@contextmanager
def stage(snakemake: Any) -> Iterator[None]:
    """Run a stage: log to the rule's log file and to stderr; end with status 1 and one clear message on bad input.

    A `UserError` shows its message on stderr, and all its details in the log. Any other exception is a defect: its
    traceback lands in both.

    Args:
        snakemake: the object that Snakemake gives to a script.
    """
    path = Path(str(snakemake.log[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    threads.limit(int(snakemake.threads))
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    screen = logging.StreamHandler(sys.stderr)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=[file, screen], force=True)
    logging.captureWarnings(True)
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it reports every processor variant that it tries
    log = logging.getLogger(__name__)
    try:
        yield
    except UserError as error:
        log.error("%s", error)
        logging.getLogger().removeHandler(screen)
        for detail in error.details:
            log.error("%s", detail)
        sys.exit(1)
    except Exception:
        log.exception("This is a defect of PatchBank; please report it with this log.")
        sys.exit(1)
    finally:
        logging.shutdown()
