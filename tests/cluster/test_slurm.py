"""The workflow on a real Slurm, through the shipped profile: the results of a local run, in few submissions, and faults
that cost time and nothing else.

One file, because a host has one Slurm. Jobs are met where they can lose most: a test holds the lease of a shard, as
another extraction would, so that a job has computed the other shards and waits; a training is stopped between its
first state and its end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_cluster import Cluster, processes_of, until
from slurm_runs import (
    BANK,
    DEMO,
    SCORES,
    Run,
    held,
    kill_after_a_state,
    left_over,
    log_of,
    results,
    shards,
)
from workflow_tools import ROOT, Project

from patchbank.bank.verify import verify_bank
from patchbank.files import read_json

pytestmark = [pytest.mark.slurm, pytest.mark.exhaustive]

MOST = 25
"""Submissions of the demo with its shipped rows."""
HOLD = """
import os, time
from patchbank.devices import claim
print(claim(), os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SLURMD_NODENAME"], flush=True)
time.sleep(8)
"""
BANKS = ("train-multicrop", "train-whole", "val-whole")
VAL = "results/demo/bank/val-whole.json"
EXTRACT, GOES_ON = "extract-{}-0-of-1", r": 1 of \d shards to compute"
WAITS = "shards that others compute"
"""Said by an extraction when all that is left is being computed elsewhere: by a test, or by another job too."""
MEMORY = ("predict: {gpu", "predict: {mem_mb: 300 * attempt ** 3, gpu")
"""A line of the profile whose first attempt is too small for any job that imports torch."""


@pytest.fixture(scope="module")
def on_slurm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """The project after `all` through the profile, and what was said; its jobs are forks, those of faults are not."""
    project = Project(tmp_path_factory.mktemp("slurm") / "p", DEMO, forks=True)
    run = Run(project, "all")
    try:
        yield project, run.succeeds()
    finally:
        run.end()


def test_it_takes_few_submissions(on_slurm: tuple[Project, str], cluster: Cluster) -> None:
    project, said = on_slurm
    jobs = cluster.states("all", project.folder)
    assert {state for state, _ in jobs.values()} == {"COMPLETED"}
    assert set(re.findall(r"has been submitted with SLURM jobid (\d+)", said)) == set(jobs)
    assert len(jobs) <= MOST


def test_results_are_those_of_a_local_run(on_slurm: tuple[Project, str], local: Path) -> None:
    made, expected = results(on_slurm[0].folder / "results"), results(local / "results")
    assert set(made) == set(expected)
    differ = [name for name in expected if made[name] != expected[name]]
    assert differ == []


def same_as_local(project: Project, local: Path) -> None:
    """All that is there is what a local run makes, the banks verify, and nothing else is left."""
    made, expected = results(project.folder / "results"), results(local / "results")
    assert [name for name in made if made[name] != expected.get(name)] == []
    for bank, images in zip(BANKS, (24, 12, 6), strict=True):
        assert verify_bank(str(project.folder / f"results/demo/bank/{bank}.json")) == images
    assert left_over(project.folder / "results") == []


@dataclass
class Storm:
    """A run whose jobs met a fault each.

    Attributes:
        project: where it ran.
        requeued, killed, overdue: banks whose extractions met those faults.
        devices: (node, device) of the two extractions that ran while the other node was drained.
        restarts: of the requeued job.
        said: by its main process.
    """

    project: Project
    requeued: str = ""
    killed: str = ""
    overdue: str = ""
    devices: tuple[tuple[str, str], ...] = ()
    restarts: str = ""
    said: str = ""

    def log(self, bank: str) -> str:
        """What the last job that extracted a bank said."""
        return log_of(self.project, EXTRACT.format(bank))

    def waiting(self) -> list[str]:
        """Banks whose extractions wait for the last shard."""
        return [bank for bank in BANKS if WAITS in self.log(bank)]


def jobs_of(cluster: Cluster, storm: Storm, bank: str) -> list[str]:
    """Numbers of the jobs that extracted a bank, in their order."""
    return cluster.jobs(storm.project.folder, f"rule_extract_wildcards_demo_{bank.replace('-', '_')}")


def extractions_meet_faults(cluster: Cluster, storm: Storm) -> None:
    """Two extractions run on the node that is left: one is requeued, one killed; the third one gets no time."""
    until(lambda: len(storm.waiting()) == 2, 300)
    storm.requeued, storm.killed = storm.waiting()
    (storm.overdue,) = set(BANKS) - {storm.requeued, storm.killed}
    (requeued,), (killed,) = jobs_of(cluster, storm, storm.requeued), jobs_of(cluster, storm, storm.killed)
    storm.devices = (cluster.device(requeued), cluster.device(killed))
    cluster.run("scontrol", "requeue", requeued)
    for pid in processes_of(killed):
        os.kill(pid, signal.SIGKILL)
    until(lambda: storm.overdue in storm.waiting(), 300)
    cluster.run("scontrol", "update", "nodename=n1", "state=resume")
    (overdue,) = jobs_of(cluster, storm, storm.overdue)
    cluster.run("scontrol", "update", f"jobid={overdue}", "timelimit=1")
    until(lambda: cluster.state(overdue) == "TIMEOUT", 180)
    storm.restarts = cluster.shown(requeued, "Restarts")
    cluster.run("scontrol", "update", f"jobid={requeued}", "starttime=now")  # else Slurm waits two minutes


@pytest.fixture(scope="module")
def storm(cluster: Cluster, local: Path, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """One run through most faults, a stage after the other."""
    storm = Storm(Project(tmp_path_factory.mktemp("storm") / "p", DEMO))
    project = storm.project
    project.edit("profiles/slurm/profile.yaml", *MEMORY)
    run = Run(project, SCORES, BANK)
    try:
        cluster.run("scancel", cluster.running(project.folder, "rule_manifest"))
        cluster.run("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
        with held(*(project.folder / "results" / shards(local, bank)[-1] for bank in BANKS)):
            extractions_meet_faults(cluster, storm)
        kill_after_a_state(project, "alignseg")
        (killed,) = cluster.jobs(project.folder, "rule_train")
        until(lambda: cluster.state(killed) == "FAILED")
        cluster.running(project.folder, "rule_train")
        cluster.end("slurmctld")
        time.sleep(10)
        cluster.start_controller()
        storm.said = run.succeeds()
    finally:
        run.end()
    return storm


def test_a_cancelled_job_is_told_and_runs_again(storm: Storm, cluster: Cluster) -> None:
    jobs = cluster.jobs(storm.project.folder, "rule_manifest")
    assert [cluster.state(job) for job in jobs] == ["CANCELLED", "COMPLETED"]
    assert f"SLURM-job '{jobs[0]}' failed, SLURM status is: 'CANCELLED'" in storm.said


def test_jobs_go_to_the_node_that_is_not_drained_and_see_a_device_each(storm: Storm) -> None:
    assert sorted(storm.devices) == [("n2", "0"), ("n2", "1")]


def test_a_requeued_job_is_waited_for_under_its_number_and_goes_on(storm: Storm, cluster: Cluster) -> None:
    assert storm.restarts == "1"
    jobs = jobs_of(cluster, storm, storm.requeued)
    assert [cluster.state(job) for job in jobs] == ["COMPLETED"]
    assert re.search(GOES_ON, storm.log(storm.requeued))


def test_an_extraction_whose_python_was_killed_goes_on(storm: Storm, cluster: Cluster) -> None:
    jobs = jobs_of(cluster, storm, storm.killed)
    assert [cluster.state(job) for job in jobs] == ["FAILED", "COMPLETED"]
    assert f"SLURM-job '{jobs[0]}' failed, SLURM status is: 'FAILED'" in storm.said
    assert re.search(GOES_ON, storm.log(storm.killed))


def test_an_extraction_without_time_left_goes_on_with_more_of_it(storm: Storm, cluster: Cluster) -> None:
    jobs = jobs_of(cluster, storm, storm.overdue)
    assert [cluster.state(job) for job in jobs] == ["TIMEOUT", "COMPLETED"]
    assert f"SLURM-job '{jobs[0]}' failed, SLURM status is: 'TIMEOUT'" in storm.said
    assert "Stopped by SIGTERM; what is complete is kept" in storm.said
    assert cluster.shown(jobs[1], "TimeLimit") == "08:00:00"  # twice the profile's 240 minutes
    assert re.search(GOES_ON, storm.log(storm.overdue))


def test_a_training_whose_python_was_killed_goes_on_while_the_controller_is_started_again(
    storm: Storm, cluster: Cluster
) -> None:
    states = [cluster.state(job) for job in cluster.jobs(storm.project.folder, "rule_train")]
    assert states == ["FAILED", "COMPLETED"]
    assert "going on after epoch" in log_of(storm.project, "train-alignseg-seed0")


def test_out_of_memory_is_tried_again_with_more_of_it(storm: Storm, cluster: Cluster) -> None:
    """Slurm measures and kills; OUT_OF_MEMORY is said by control groups only, which are not used here."""
    jobs = cluster.jobs(storm.project.folder, "rule_predict")
    assert [cluster.state(job) for job in jobs] == ["FAILED", "COMPLETED"]
    assert [cluster.shown(job, "MinMemoryNode") for job in jobs] == ["300M", "2400M"]
    (log,) = re.findall(rf"SLURM jobid {jobs[0]} \(log: (.*?)\)", storm.said)
    assert "exceeded memory limit" in (storm.project.folder / log).read_text()


def test_what_was_made_in_the_storm_is_what_a_local_run_makes(storm: Storm, local: Path) -> None:
    same_as_local(storm.project, local)
    assert (storm.project.folder / SCORES).exists()


def without_its_bank(folder: Path, local: Path, shared: Path) -> Project:
    """The finished project of a local run, with banks in another folder, where there are none yet."""
    project = Project.copied(folder, local)
    project.edit("config.yaml", "bank_root: results/bank", f"bank_root: {shared}")
    shutil.rmtree(project.folder / "results/logs")
    return project


def is_filled(project: Project, shared: Path, local: Path) -> None:
    """The bank of val is there, that of a local run byte by byte, and nothing else is."""
    expected = {
        path.relative_to("bank"): (local / "results" / path).read_bytes() for path in shards(local, "val-whole")
    }
    made = [path for path in sorted(shared.rglob("*")) if path.suffix == ".h5" and path.name != "bank.h5"]
    assert {path.relative_to(shared): path.read_bytes() for path in made} == expected
    bank = project.folder / VAL
    assert (bank.parent / read_json(bank)["bank"]).resolve() == made[0].parent
    assert verify_bank(str(bank)) == 6
    assert left_over(shared) == []


def test_two_checkouts_fill_one_bank_at_the_same_time(
    cluster: Cluster, run: Callable[..., Run], local: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "banks"
    projects = [without_its_bank(tmp_path / name, local, shared) for name in ("one", "two")]
    for project in projects:
        project.forks = True
    with held(shared / shards(local, "val-whole")[-1].relative_to("bank")):
        runs = [run(project, VAL) for project in projects]
        until(lambda: all(WAITS in log_of(project, EXTRACT.format("val-whole")) for project in projects), 300)
    for one in runs:
        one.succeeds()
    for project in projects:
        assert len(cluster.jobs(project.folder, "rule_extract")) == 1
        is_filled(project, shared, local)


def test_a_killed_main_process_costs_its_jobs_nothing(
    cluster: Cluster, run: Callable[..., Run], local: Path, tmp_path: Path
) -> None:
    """The next run is started while a job of the first one computes, killed too, and started again after both."""
    shared = tmp_path / "banks"
    project = without_its_bank(tmp_path / "p", local, shared)
    project.edit("profiles/slurm/profile.yaml", "runtime: 240 * attempt", "runtime: 1000 * attempt")

    def extractions(states: str = "all") -> list[str]:
        return cluster.jobs(project.folder, "rule_extract", states)

    with held(shared / shards(local, "val-whole")[-1].relative_to("bank")):
        first = run(project, VAL)
        until(lambda: WAITS in log_of(project, EXTRACT.format("val-whole")), 300)
        assert "extract, attempt 3, asks for" in first.text  # told, because it is longer than a job may run here
        first.end()
        locked = run(project, VAL)
        assert locked.process.wait(300) == 1
        assert "cannot be locked" in locked.text
        run(project, "--unlock").succeeds()
        second = run(project, VAL)
        until(lambda: [bool(processes_of(job)) for job in extractions("RUNNING")] == [True, True], 300)
        second.end()
    until(lambda: [cluster.state(job) for job in extractions()] == ["COMPLETED"] * 2, 120)
    run(project, "--unlock").succeeds()
    run(project, VAL).succeeds()
    assert [cluster.state(job) for job in extractions()] == ["COMPLETED"] * 3
    assert "shards to compute" not in log_of(project, EXTRACT.format("val-whole"))
    is_filled(project, shared, local)


def test_a_request_that_no_partition_serves_ends_the_run_before_it_waits(
    cluster: Cluster, run: Callable[..., Run], tmp_path: Path
) -> None:
    project = Project(tmp_path / "p", DEMO, forks=True)
    project.edit("profiles/slurm/profile.yaml", "train: {gpu: 1", "truth: {runtime: 5000}\n  train: {gpu: 3")
    for _ in range(2):  # no lock is left behind
        refused = run(project, "results/demo/alignseg/scores.json")
        assert refused.process.wait(300) == 1
        assert "train asks for 1 core, 3 GPUs, 8000 MB, 480 minutes; a node has (debug: 8 cores, 2 GPUs" in refused.text
        assert "truth asks for 1 core, 2000 MB, 5000 minutes" in refused.text
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
