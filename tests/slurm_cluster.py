"""A Slurm of two nodes with two counted GPUs each, on this host alone: its daemons live as long as a test's fixture.

All daemons listen on 127.0.0.1. Nodes declare more than the host has, and a GPU is another null device, so that nothing
is computed on it. Slurm reads one place only when the executor's job steps have cleaned their environment, so the
configuration is linked into /etc/slurm; a host that has one of its own is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "munge", "unmunge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
PACKAGES = "munge slurmctld slurmd slurm-client"
ETC = Path("/etc/slurm")
MUNGE = Path("/run/munge")
CONTROLLER, NODES = 16817, {"n1": 16818, "n2": 16819}
CPUS, MEMORY = 8, 64000
"""Of a node, as it is declared; MB."""

CONF = """ClusterName=onehost
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
SlurmctldPort={controller}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
SlurmdParameters=config_overrides
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MinJobAge=86400
KillWait=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
GresTypes=gpu
{nodes}
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=2880 State=UP OverSubscribe=NO
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory} Gres=gpu:fake:2"
)


def why_not() -> str | None:
    """Why no Slurm can be started here; None where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install {PACKAGES}"
    if os.getuid() != 0:
        return "Slurm's daemons are started as root, and this is not"
    if (ETC / "slurm.conf").exists() and not (ETC / "slurm.conf").is_symlink():
        return f"{ETC}/slurm.conf belongs to a Slurm of this host"
    try:
        import snakemake_executor_plugin_slurm  # noqa: F401
    except ImportError:
        return "snakemake-executor-plugin-slurm missing: pip install 'patchbank[slurm]'"
    return None


def munged() -> bool:
    """Whether a munged answers."""
    return not subprocess.run("munge -n | unmunge", shell=True, capture_output=True, check=False).returncode


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Cluster:
    """The daemons, and what tests ask of them.

    Args:
        folder: for state, logs and spools; short, because sockets lie there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        for name in ("state", "log", "run", "gpu", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        host = socket.gethostname().split(".")[0]
        lines = [NODE.format(name=name, host=host, port=port, cpus=CPUS, memory=MEMORY) for name, port in NODES.items()]
        conf = CONF.format(host=host, folder=self.folder, controller=CONTROLLER, nodes="\n".join(lines))
        for number in range(2):
            os.mknod(self.folder / "gpu" / f"nvidia{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null
        gres = [f"NodeName={name} Name=gpu Type=fake File={self.folder}/gpu/nvidia[0-1]\n" for name in NODES]
        ETC.mkdir(parents=True, exist_ok=True)
        for name, text in (("slurm.conf", conf), ("gres.conf", "".join(gres))):
            (self.folder / name).write_text(text)
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(self.folder / name)
        if not munged():
            MUNGE.mkdir(parents=True, exist_ok=True)
            shutil.chown(MUNGE, "munge", "munge")
            self._start("munged", "runuser", "-u", "munge", "--", "munged", "--foreground")
            until(
                lambda: (
                    not subprocess.run("munge -n | unmunge", shell=True, capture_output=True, check=False).returncode
                )
            )
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        until(lambda: self.run("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * len(NODES), 60)

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._start("slurmctld", "slurmctld", "-D")

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        self._start(name, "slurmd", "-D", "-N", name)

    def _start(self, name: str, *command: str) -> None:
        log = (self.folder / "log" / f"{name}.out").open("ab")
        environment = {**os.environ, "PATH": _path()}
        self._daemons[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )

    def end(self, name: str) -> None:
        """End one daemon; a job that it runs goes on."""
        daemon = self._daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def stop(self) -> None:
        """Cancel all jobs, end all daemons and take the links away."""
        if "slurmctld" in self._daemons:
            subprocess.run(["scancel", "-f", "-u", "root"], capture_output=True, check=False, timeout=60)
            deadline = time.monotonic() + 30
            while self.states("RUNNING,COMPLETING") and time.monotonic() < deadline:
                time.sleep(0.5)
        for name in ("n1", "n2", "slurmctld", "munged"):
            if name in self._daemons:
                self.end(name)
        for name in ("slurm.conf", "gres.conf"):
            if (ETC / name).is_symlink():
                (ETC / name).unlink()

    def run(self, *command: str) -> str:
        """What one of Slurm's commands prints; nothing while the controller does not answer."""
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout

    def states(self, states: str = "all", folder: Path | None = None) -> dict[str, tuple[str, str]]:
        """State and comment (the rule) of the jobs in some states, by their number; only those of a working folder."""
        lines = self.run("squeue", "-h", "-t", states, "-o", "%i|%T|%Z|%k").splitlines()
        jobs = [line.split("|", 3) for line in lines]
        return {job: (state, rule) for job, state, where, rule in jobs if folder is None or where == str(folder)}

    def jobs(self, folder: Path, rule: str, states: str = "all") -> list[str]:
        """Numbers of the jobs of a rule for a working folder, in their order."""
        return sorted((job for job, (_, name) in self.states(states, folder).items() if rule in name), key=int)

    def running(self, folder: Path, rule: str, seconds: float = 300) -> str:
        """The job of a rule that runs for a working folder, as soon as one does."""
        until(lambda: bool(self.jobs(folder, rule, "RUNNING")), seconds)
        return self.jobs(folder, rule, "RUNNING")[-1]

    def state(self, job: str) -> str:
        """State of a job."""
        return self.states().get(job, ("", ""))[0]

    def device(self, job: str) -> tuple[str, str]:
        """The node of a running job, and `CUDA_VISIBLE_DEVICES` of its stage's script."""
        seen = {variables.get("CUDA_VISIBLE_DEVICES", "") for variables in _scripts(job).values()}
        return self.run("squeue", "-h", "-j", job, "-o", "%N").strip(), ",".join(sorted(seen))

    def shown(self, job: str, what: str) -> str:
        """A value that Slurm shows of a job."""
        return re.findall(rf"\b{what}=(\S+)", self.run("scontrol", "show", "job", job))[0]


PATIENCE = 4
"""A busy machine is slower."""


def until(true: Callable[[], bool], seconds: float = 60, pause: float = 0.3) -> None:
    """Wait until something is true, with so many seconds between two looks.

    `TimeoutError` after `PATIENCE` times `seconds`, which are what a machine with nothing else to do may need.
    """
    deadline = time.monotonic() + PATIENCE * seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {PATIENCE * seconds} s")
        time.sleep(pause)


def processes_of(job: str) -> list[int]:
    """Process numbers of the Python scripts of stages that belong to a Slurm job."""
    return sorted(_scripts(job))


def _scripts(job: str) -> dict[int, dict[str, str]]:
    """Environments of the Python scripts of stages that belong to a Slurm job, by process number."""
    scripts = {}
    for folder in Path("/proc").iterdir():
        try:
            lines = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if f"SLURM_JOB_ID={job}".encode() in lines and b".snakemake/scripts" in command and b"python" in command:
            pairs = (line.decode(errors="replace").split("=", 1) for line in lines if b"=" in line)
            scripts[int(folder.name)] = dict(pairs)
    return scripts


@contextmanager
def one_host(folder: Path) -> Iterator[Cluster]:
    """A Slurm while this is open; it always ends."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
