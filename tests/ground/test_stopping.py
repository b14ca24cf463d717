"""SIGTERM: at once where nothing more can be kept, else at the next item; the status runs the job again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STAGE = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from patchbank.files import atomic_path
from patchbank.progress import track
from patchbank.scripting import stage
from patchbank.stopping import at_the_next

class Given(dict):
    __getattr__ = dict.get

folder, how = Path(sys.argv[1]), sys.argv[2]
given = SimpleNamespace(log=[folder / "log"], threads=1, params=Given(), resources=Given(), input=Given())
given.output = [folder / "out.json"]
with stage(given):
    if how == "at once":
        with atomic_path(folder / "out.json") as path:
            path.write_text("half")
            print("ready", flush=True)
            time.sleep(600)
    if how == "broken":
        print("ready", flush=True)
        with at_the_next():
            time.sleep(0.5)
            raise RuntimeError("a helper was killed")
    with at_the_next():
        for item in track(range(10 ** 6), "items"):
            if item == 0:
                print("ready", flush=True)
            time.sleep(0.05)
            (folder / "items").open("a").write("begun\\n")
            time.sleep(0.05)
            (folder / "items").open("a").write("done\\n")
"""


@pytest.mark.parametrize("how", ["at once", "at the next", "broken"])
def test_a_stage_ends_with_a_sentence_and_a_status(how: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", STAGE, str(tmp_path), how]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "Stopped by SIGTERM; what is complete is kept, and the same command goes on from there." in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == (["items", "log"] if how == "at the next" else ["log"])
    if how == "at the next":
        lines = (tmp_path / "items").read_text().split()
        assert lines == ["begun", "done"] * (len(lines) // 2)
