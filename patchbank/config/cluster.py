"""Whether a Slurm cluster can run the jobs of a workflow at all, asked of `sinfo` before the first one is submitted.

Slurm lets a job wait for ever whose time limit no partition allows, and refuses one by one what no node has; both
would reach a user one job at a time, hours into a run.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from patchbank.errors import raise_problems

SINFO = ("sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%l|%G")
"""Partitions with the nodes of each kind: CPUs, memory in MB, time limit, generic resources
(https://slurm.schedmd.com/sinfo.html)."""
WAY_OUT = (
    "Lower max-threads, set-threads or set-resources of the profile, or name another partition there "
    "(slurm_partition), see docs/cluster.md."
)

LATER = "No partition can run the last attempts of these jobs, which would wait for ever after their faults (sinfo):"
BOUND = "Bound them in set-resources of the profile, e.g. runtime: min(480 * attempt, 600), see docs/cluster.md."


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in a partition.

    Attributes:
        partition: its name.
        default: whether jobs that name no partition go there.
        cores: CPUs of a node.
        memory: of a node, MB.
        minutes: for which a job may run there.
        gpus: of a node.
    """

    partition: str
    default: bool
    cores: int
    memory: int
    minutes: float
    gpus: int


@dataclass(frozen=True)
class Request:
    """What jobs of a rule, or of a group of rules, ask for; None where they do not.

    Attributes:
        name: of the rule, or those of a group; of a later attempt with its number.
        cores: on one node.
        memory: MB.
        minutes: for which it may run.
        gpus: on one node.
        partition: names of partitions, separated by commas.
    """

    name: str
    cores: int = 1
    memory: int | None = None
    minutes: int | None = None
    gpus: int | None = None
    partition: str | None = None

    @classmethod
    def of_job(cls, job: Any) -> Request:
        """The request of a job, or group of jobs, of Snakemake."""
        numbers = {name: job.resources.get(name) for name in ("mem_mb", "runtime", "gpu")}
        memory, minutes, gpus = (value if isinstance(value, int) else None for value in numbers.values())
        name = " + ".join(sorted({one.rule.name for one in job.jobs})) if job.is_group() else job.rule.name
        return cls(name, int(job.threads), memory, minutes, gpus, job.resources.get("slurm_partition"))

    @classmethod
    def of_last_attempt(cls, job: Any) -> Request:
        """The request of a job, or group of jobs, of Snakemake that has failed as often as it may."""
        first, last = job.attempt, 1 + job.restart_times
        job.attempt = last  # its resources are asked for again
        try:
            request = cls.of_job(job)
        finally:
            job.attempt = first
        return replace(request, name=f"{request.name}, attempt {last},")

    def __str__(self) -> str:
        said = [_counted(self.cores, "core")]
        said += [_counted(self.gpus, "GPU")] if self.gpus else []
        said += [f"{self.memory} MB"] if self.memory else []
        return ", ".join(said + ([f"{self.minutes} minutes"] if self.minutes else []))


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" + ("" if count == 1 else "s")


def check_requests(requests: Iterable[Request], last: Iterable[Request] = ()) -> str:
    """Compare what jobs will ask for with what the partitions of this cluster have.

    Where `sinfo` does not answer nothing is compared; Slurm says itself what is wrong.

    Args:
        requests: of the jobs that will be submitted.
        last: of the last attempts at them.

    Returns:
        What to tell about last attempts that no partition can serve; empty where all can be served. They are not
        refused, because most runs never come to them.

    Raises:
        UserError: a request that no partition can serve; all of them in one message.
    """
    done = subprocess.run(SINFO, capture_output=True, text=True, check=False)
    if done.returncode:
        return ""
    nodes = parse_nodes(done.stdout)
    raise_problems(
        "No partition of this cluster can run these jobs, which would wait for ever (sinfo)",
        _sentences(requests, nodes),
        WAY_OUT,
    )
    said = _sentences(last, nodes)
    return "\n".join([LATER, *(f"  - {sentence}" for sentence in said), BOUND]) if said else ""


def _sentences(requests: Iterable[Request], nodes: Sequence[Nodes]) -> list[str]:
    return sorted({sentence for request in requests if (sentence := unserved(request, nodes)) is not None})


def unserved(request: Request, nodes: Sequence[Nodes]) -> str | None:
    """Why no node serves a request, in one sentence; None where one does."""
    if request.partition is not None:
        names = {name.strip() for name in request.partition.split(",")}
        if unknown := sorted(names - {kind.partition for kind in nodes}):
            known = ", ".join(sorted({kind.partition for kind in nodes}))
            return f"{request.name}: there is no partition {', '.join(unknown)}; there are {known}."
        asked = [kind for kind in nodes if kind.partition in names]
    else:
        asked = [kind for kind in nodes if kind.default] or list(nodes)
    if not asked or any(_serves(kind, request) for kind in asked):
        return None
    largest = "; ".join(
        f"{kind.partition}: {kind.cores} cores, {kind.gpus} GPUs, {kind.memory} MB"
        + ("" if kind.minutes == inf else f", {kind.minutes:.0f} minutes")
        for kind in dict.fromkeys(asked)
    )
    return f"{request.name} asks for {request}; a node has ({largest})."


def _serves(nodes: Nodes, request: Request) -> bool:
    return (
        nodes.cores >= request.cores
        and nodes.memory >= (request.memory or 0)
        and nodes.minutes >= (request.minutes or 0)
        and nodes.gpus >= (request.gpus or 0)
    )


def parse_nodes(text: str) -> list[Nodes]:
    """Kinds of nodes in what `SINFO` prints."""
    kinds = []
    for line in text.splitlines():
        partition, cores, memory, limit, resources = line.split("|")
        name = partition.strip().removesuffix("*")
        numbers = (int(cores.rstrip("+")), int(memory.rstrip("+")), minutes(limit), _gpus(resources))
        kinds.append(Nodes(name, partition.strip().endswith("*"), *numbers))
    return kinds


def minutes(limit: str) -> float:
    """Minutes of a time limit as Slurm prints it: ``5:00``, ``10:00:00``, ``2-00:00:00``, ``infinite``."""
    if not limit[:1].isdigit():
        return inf
    days, _, rest = limit.rpartition("-")
    clock = [int(part) for part in rest.split(":")]
    hours, minute, second = [0] * (3 - len(clock)) + clock
    return (int(days or 0) * 24 + hours) * 60 + minute + second / 60


def _gpus(resources: str) -> int:
    """GPUs in a list of generic resources, e.g. ``gpu:a100:4(S:0-1),shard:8``."""
    fields = [entry.partition("(")[0].split(":") for entry in resources.strip().split(",")]
    return sum(int(field[-1]) if field[-1].isdigit() else 1 for field in fields if field[0] == "gpu")
