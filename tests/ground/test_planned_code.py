"""A job whose code has changed since its run was planned does not begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from patchbank.config.plan.code import Code

CHECK = """
import sys
from pathlib import Path
from patchbank.planned_code import check
check(Path(sys.argv[1]), sys.argv[2])
"""


def checked(folder: Path, code: str) -> str:
    """What a job says that checks its code; it is a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHECK, str(folder), code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stderr


def test_a_job_compares_its_code_with_that_of_the_plan(tmp_path: Path) -> None:
    script, left = tmp_path / "stage.py", tmp_path / "left"
    script.write_text("from patchbank.seeds import derive\n")
    code = Code(tmp_path, left).of("stage")
    assert checked(left, code) == ""
    script.write_text("# a comment\nfrom patchbank.seeds import derive\n")
    assert checked(left, code) == ""
    script.write_text("from patchbank.seeds import derive\nderive('a', 1)\n")
    said = checked(left, code)
    assert "UserError: The code of this job (stage.py or a module of patchbank that it uses) has changed" in said
    assert "start snakemake again" in said


def test_what_no_plan_has_left_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text("")
    assert checked(tmp_path, Code(tmp_path).of("stage")) == ""
    assert not (tmp_path / "code").exists()
