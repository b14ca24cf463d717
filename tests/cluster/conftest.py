"""A Slurm for the tests of this room."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import Cluster
from slurm_runs import DEMO, Run
from workflow_tools import Project


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with two counted GPUs each, for one file of tests at a time."""
    if reason := slurm_cluster.why_not():
        pytest.skip(reason)
    with Path(tempfile.gettempdir(), "patchbank-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = Path(tempfile.mkdtemp(prefix="pbslurm"))
        try:
            with slurm_cluster.one_host(folder) as cluster:
                yield cluster
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small demo's project after a local run of `all`; it is only read."""
    project = Project(tmp_path_factory.mktemp("local") / "p", DEMO, forks=True)
    project.done("all")
    return project.folder


@pytest.fixture
def run() -> Iterator[type[Run]]:
    """Starts runs, which end with the test."""
    started: list[Run] = []

    class Kept(Run):
        def __init__(self, project: Project, *arguments: str) -> None:
            super().__init__(project, *arguments)
            started.append(self)

    yield Kept
    for one in started:
        one.end()
