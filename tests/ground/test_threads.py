"""How many threads a stage uses, whatever was imported before it was told."""

from __future__ import annotations

import subprocess
import sys

COUNTED = """
import numpy, scipy.linalg, torch, faiss, threadpoolctl
from patchbank.threads import limit
assert limit(1) == 1
print({library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"})
print(torch.get_num_threads(), faiss.omp_get_max_threads())
"""


def test_libraries_that_were_imported_before_are_told_the_number() -> None:
    """The bits of a matrix product depend on it."""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", COUNTED]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[:2] == ["{1}", "1 1"]
