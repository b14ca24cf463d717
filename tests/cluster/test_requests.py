"""What jobs ask of a cluster is compared with what its partitions have, before the first one is submitted."""

from __future__ import annotations

import subprocess
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from patchbank.config import cluster
from patchbank.config.cluster import Nodes, Request, check_requests, minutes, parse_nodes, unserved
from patchbank.errors import UserError

SINFO = """cpu*|64|256000|2-00:00:00|(null)
gpu|32|512000|infinite|gpu:a100:4(S:0-1),shard:8
gpu|16|128000|infinite|gpu:2
old|8+|16000+|30:00|gpu:v100:1,gpu:k80:2
"""
KINDS = [
    Nodes("cpu", True, 64, 256000, 2880, 0),
    Nodes("gpu", False, 32, 512000, inf, 4),
    Nodes("gpu", False, 16, 128000, inf, 2),
    Nodes("old", False, 8, 16000, 30, 3),
]


def test_partitions_are_read_as_sinfo_prints_them() -> None:
    assert parse_nodes(SINFO) == KINDS


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("5:00", 5), ("0:30", 0.5), ("10:00:00", 600), ("1-12:30:00", 2190), ("infinite", inf), ("n/a", inf)],
)
def test_time_limits_are_read_in_minutes(limit: str, expected: float) -> None:
    assert minutes(limit) == expected


@pytest.mark.parametrize(
    "request_",
    [
        Request("a"),
        Request("a", 64, 256000, 2880),
        Request("a", 32, 512000, 100000, 4, "gpu"),
        Request("a", 8, gpus=3, partition="gpu, old"),
    ],
)
def test_a_request_that_one_kind_of_node_serves_is_fine(request_: Request) -> None:
    assert unserved(request_, KINDS) is None


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("train", 65), "train asks for 65 cores; a node has (cpu: 64 cores, 0 GPUs, 256000 MB, 2880 minutes)."),
        (Request("train", gpus=1), "train asks for 1 core, 1 GPU; a node has (cpu: 64"),
        (Request("train", 32, 128001, gpus=5, partition="gpu"), "gpu: 32 cores, 4 GPUs, 512000 MB; gpu: 16 cores"),
        (Request("train", 20, 100, gpus=3, minutes=31, partition="old"), "31 minutes; a node has (old: 8 cores"),
        (Request("train", partition="gpus"), "train: there is no partition gpus; there are cpu, gpu, old."),
    ],
)
def test_one_that_none_serves_is_one_sentence(request_: Request, said: str) -> None:
    assert said in (unserved(request_, KINDS) or "")


def test_without_a_default_partition_any_may_serve() -> None:
    assert unserved(Request("a", 32, gpus=4), KINDS[1:]) is None


def answer(monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    done: Any = subprocess.CompletedProcess(cluster.SINFO, code, text)
    monkeypatch.setattr(cluster.subprocess, "run", lambda *_, **__: done)


def test_all_problems_are_said_once_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 0, SINFO)
    check_requests([Request("a", 64)])
    with pytest.raises(UserError) as caught:
        check_requests([Request("b", 65), Request("a", gpus=1), Request("b", 65)])
    lines = str(caught.value).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  - ")] == ["a", "b"]
    assert "set-resources" in lines[-1]


def test_last_attempts_that_none_serves_are_told_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 0, SINFO)
    job = Retried()
    first, last = Request.of_job(job), Request.of_last_attempt(job)
    assert (first.minutes, last.minutes, job.attempt) == (1000, 3000, 1)
    assert check_requests([first], [first]) == ""
    _, sentence, advice = check_requests([first], [last, last]).splitlines()
    assert sentence.startswith("  - train, attempt 3, asks for 4 cores, 3000 minutes; a node has (cpu: 64 cores,")
    assert "min(480 * attempt, 600)" in advice


class Retried:
    """What a job of Snakemake says of itself: each attempt asks for more."""

    attempt, restart_times, threads = 1, 2, 4
    rule = SimpleNamespace(name="train")

    @property
    def resources(self) -> dict[str, int]:
        """Of this attempt."""
        return {"runtime": 1000 * self.attempt}

    def is_group(self) -> bool:
        """It is one job."""
        return False


def test_nothing_is_compared_where_sinfo_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, 1, "")
    check_requests([Request("a", 10**6)])


def test_a_job_of_snakemake_and_a_group_are_read() -> None:
    resources = {"mem_mb": 4000, "runtime": 60, "gpu": "<TBD>", "slurm_partition": "gpu"}
    job: Any = SimpleNamespace(
        resources=resources, threads=4, rule=SimpleNamespace(name="count"), is_group=lambda: False
    )
    assert Request.of_job(job) == Request("count", 4, 4000, 60, None, "gpu")
    other = SimpleNamespace(rule=SimpleNamespace(name="score"))
    group: Any = SimpleNamespace(resources={"gpu": 1}, threads=6, jobs=[other, job, job], is_group=lambda: True)
    assert Request.of_job(group) == Request("count + score", 6, gpus=1)
