"""A process that has imported what takes long (torch and timm: 5 s), and Pythons that are its forks.

Snakemake and the scripts of its jobs are such forks where a test asks for it with `Project(forks=True)`. The package is
never imported here: each fork takes that of its own `PYTHONPATH`. Everything else is as in a start of `python FILE`
(`forked_python.py`); that scripts run without any of this, all alone, show a kill in `test_workflow_folders.py`, the
cluster's tests of faults and, for what each may import, `test_imports.py`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

CLIENT = Path(__file__).with_name("forked_python.py")
IMPORTED = (
    *("torch", "torchvision", "timm", "faiss", "h5py", "scipy.optimize", "scipy.stats", "matplotlib.pyplot"),
    *("safetensors.torch", "jinja2", "jsonschema", "yaml", "PIL.Image", "tifffile", "tqdm", "onnx", "snakemake.cli"),
    "torch._dynamo",  # the first step of an optimiser imports it
)


@cache
def fork_server() -> list[str]:
    """Start the process of this test worker, once; the command of a Python that is its fork."""
    folder = tempfile.mkdtemp(prefix="forks-", dir="/tmp")  # a socket's path has 107 bytes at most
    address = str(Path(folder) / "s")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-P", __file__, address]
    # it ends when this process does, whose end of the pipe is closed then
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment | {"OMP_WAIT_POLICY": "PASSIVE"}
    )
    assert server.stdout is not None
    assert server.stdin is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stdin.close)
    return [sys.executable, "-I", "-S", str(CLIENT), address]


def serve(address: str) -> int:
    """Fork for every connection until the input is closed; a fork returns its exit status."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.partition(".")[0] == "patchbank"]
    gc.collect()
    gc.freeze()  # a fork's collections copy none of these pages
    signal.signal(signal.SIGCHLD, reap)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
                return 0
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                return attend(connection, address)
            connection.close()


def reap(*_: object) -> None:
    """Take leave of forks that have ended; their processor time counts as this process's children's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def attend(connection: socket.socket, address: str) -> int:
    """Fork what was asked for, tell its exit status; kill it where nobody waits for it any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, *_ = socket.recv_fds(connection, 1 << 16, 3)
    while not text.endswith(b"\n"):
        if not (more := connection.recv(1 << 16)):  # who asked has ended
            os._exit(1)
        text += more
    child = os.fork()
    if child == 0:
        connection.close()
        leave(run(json.loads(text), files, address))
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def leave(code: int) -> NoReturn:
    """End as Python does, but do not take every imported object apart, which copies the memory that forks share."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(request: dict[str, Any], files: list[int], address: str) -> int:
    """What `python ARGUMENTS` does; returns its exit status."""
    os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # found again in this environment
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    first, *others = request["arguments"]
    here = request["folder"] if first == "-m" else str(Path(first).absolute().parent)
    sys.path[:0] = [here, *given]
    try:
        if first == "-m":
            if others[0] == "snakemake":  # it starts its jobs with this
                sys.executable = shlex.join([sys.executable, "-I", "-S", str(CLIENT), address])
            sys.argv[:] = others
            runpy.run_module(others[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = [first, *others]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))
