"""The demo through the shipped profile on a real Slurm: the results of a local run, in few submissions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, until
from slurm_runs import Run, results
from workflow_tools import ROOT, TINY, Project

pytestmark = [pytest.mark.slurm, pytest.mark.exhaustive]

MOST = 25
"""Submissions of the demo with its shipped rows."""
HOLD = """
import os, time
from patchbank.devices import claim
print(claim(), os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SLURMD_NODENAME"], flush=True)
time.sleep(8)
"""


@pytest.fixture(scope="module")
def on_slurm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str, list[str]]]:
    """The project after `all` through the profile, what was said, and node, start, end and rule of every submission."""
    project = Project(tmp_path_factory.mktemp("slurm") / "p", TINY)
    run = Run(project, "all")
    try:
        said = run.succeeds()
        yield project, said, cluster.run("squeue", "-h", "-t", "all", "-o", "%N|%S|%e|%k|%T").splitlines()
    finally:
        run.end()


def test_it_takes_few_submissions(on_slurm: tuple[Project, str, list[str]]) -> None:
    _, said, jobs = on_slurm
    assert {job.split("|")[4] for job in jobs} == {"COMPLETED"}
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", said)
    assert len(submitted) == len(jobs) <= MOST


def test_results_are_those_of_a_local_run(on_slurm: tuple[Project, str, list[str]], tmp_path: Path) -> None:
    local = Project(tmp_path / "p", TINY)
    local.done("all")
    made, expected = results(on_slurm[0].folder / "results"), results(local.folder / "results")
    assert set(made) == set(expected)
    differ = [name for name in expected if made[name] != expected[name]]
    assert differ == []


def test_a_request_that_no_partition_serves_ends_the_run_before_it_waits(
    cluster: Cluster, run: Callable[..., Run], tmp_path: Path
) -> None:
    project = Project(tmp_path / "p", TINY)
    project.edit("profiles/slurm/profile.yaml", "train: {gpu: 1", "truth: {runtime: 5000}\n  train: {gpu: 3")
    for _ in range(2):  # no lock is left behind
        refused = run(project, "results/demo/alignseg/scores.json")
        assert refused.process.wait(300) == 1
        assert "train asks for 1 core, 3 GPUs, 8000 MB, 480 minutes; a node has (debug: 8 cores, 2 GPUs" in refused.text
        assert "truth asks for 2 cores, 2000 MB, 5000 minutes" in refused.text
        assert "Traceback" not in refused.text
    assert cluster.states("all", project.folder) == {}


def test_two_jobs_on_one_node_compute_on_different_devices(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBANK_DEVICES", "0,1")  # there are none to find
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "hold.py").write_text(HOLD)
    command = f"{sys.executable} {tmp_path}/hold.py"
    for number in range(4):
        out = tmp_path / f"{number}.out"
        subprocess.run(["sbatch", "-n1", "-c2", "--mem=100", "--gpus=1", "-o", out, "--wrap", command], check=True)
    outs = list(map(Path.read_text, until_there(tmp_path)))
    seen = sorted(tuple(out.split()) for out in outs)
    assert {device == visible for device, visible, _ in seen} == {True}
    assert sorted((node, device) for device, _, node in seen) == [("n1", "0"), ("n1", "1"), ("n2", "0"), ("n2", "1")]


def until_there(folder: Path) -> list[Path]:
    """Outputs of the four jobs when all have said something."""
    outs = [folder / f"{number}.out" for number in range(4)]
    until(lambda: all(out.exists() and out.read_text().strip() for out in outs), 120)
    return outs
