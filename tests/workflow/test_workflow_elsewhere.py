"""The workflow where people run it: odd paths, a shared checkout, no home folder, an installed wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workflow_tools import COPIED, ROOT, TINY, Project

from patchbank.config.folders import PARTS

pytestmark = pytest.mark.exhaustive

NO_HOME = "/proc/none"
"""A folder that nobody can make, not even root."""


def _pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(folder / name)


def _environment(folder: Path) -> Path:
    """A virtual environment that sees the packages of this one; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python3*/site-packages"))
    (site / "these.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin" / "python"


def _run(*command: str | Path, cwd: Path, changed: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run with output and errors together, without the variables of the tests' own environment."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | dict(changed or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _files(folder: Path) -> dict[str, int]:
    """Files with their times, and folders; what Python caches is left out."""
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {str(path): path.stat().st_mtime_ns if path.is_file() else 0 for path in paths}


def _names(manifest: Path) -> set[str]:
    splits = json.loads(manifest.read_text())["splits"]
    return {Path(entry["image"]).name for entries in splits.values() for entry in entries}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout that others run, with an environment inside, in a path of odd characters."""
    project = Project(tmp_path_factory.mktemp("shared") / 'Jörg\'s "new" $HOME (a b)%', TINY)
    _environment(project.folder / ".venv")
    return project


def test_jobs_run_in_a_path_with_odd_characters(checkout: Project) -> None:
    _pictures(checkout.folder / "my pictures")
    python = checkout.folder / ".venv/bin/python"
    asked = ("results/mine/manifest.json", "--config", "folder=my pictures")
    done = _run(python, "-m", "snakemake", "--cores", "1", *asked, cwd=checkout.folder)
    assert done.returncode == 0, done.stdout[-3000:]
    assert _names(checkout.folder / "results/mine/manifest.json") == {"a.png", "b.png"}


@pytest.mark.parametrize("how", ["snakefile", "directory"])
def test_a_checkout_is_run_from_another_folder_and_stays_as_it_was(checkout: Project, tmp_path: Path, how: str) -> None:
    _pictures(tmp_path / "pictures")
    work = tmp_path / "work [1] ~"
    work.mkdir()
    before = _files(checkout.folder)
    where = ["--directory", work] if how == "directory" else ["--snakefile", checkout.folder / "Snakefile"]
    python = checkout.folder / ".venv/bin/python"
    asked = ["results/mine/manifest.json", "--config", "folder=$PICTURES"]
    done = _run(
        python,
        *("-m", "snakemake", "--cores", "1", *where, *asked),
        cwd=checkout.folder if how == "directory" else work,
        changed={"HOME": NO_HOME, "PICTURES": str(tmp_path / "pictures")},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert _names(work / "results/mine/manifest.json") == {"a.png", "b.png"}
    assert sorted(path.name for path in work.iterdir()) == [".snakemake", "results"]
    assert _files(checkout.folder) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config": "folder=$NOT_SET/x"}, "folder: $NOT_SET/x: the environment has no variable NOT_SET; set it"),
        ({"config.yaml": "learning_rate: 0.1\n"}, "a config.yaml in the working folder replaces the whole shipped one"),
        ({"config": "data_root=~nobody-of-this-name/x"}, "data_root: ~nobody-of-this-name/x: the home folder of"),
    ],
)
def test_what_cannot_work_is_a_sentence_before_any_job(
    checkout: Project, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    if "config.yaml" in changes:
        (tmp_path / "config.yaml").write_text(changes["config.yaml"])
    asked = ["--config", changes["config"]] if "config" in changes else []
    command = ["-m", "snakemake", "-s", checkout.folder / "Snakefile", "--cores", "1", "results/mine/manifest.json"]
    done = _run(checkout.folder / ".venv/bin/python", *command, *asked, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


def test_braces_in_the_path_of_a_project_are_a_sentence(tmp_path: Path) -> None:
    project = Project(tmp_path / "{a}", TINY)
    done = project.snakemake("--cores", "1", "-n", "all")
    assert done.returncode == 1
    assert "takes braces in its folders' names for wildcards; rename the folder" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_wheel_lays_out_a_folder_that_runs_and_its_commands_need_no_checkout(tmp_path: Path) -> None:
    source, work = tmp_path / "source", tmp_path / "work"
    source.mkdir()
    work.mkdir()
    for name in (*COPIED, "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source, cwd=tmp_path)
    assert built.returncode == 0, built.stdout[-3000:]
    python = _environment(tmp_path / "env")
    site = next((tmp_path / "env").glob("lib/python3*/site-packages"))
    wheel = next(tmp_path.glob("*.whl"))
    installed = _run(*pip, "install", "--no-deps", "--no-index", "--target", site, wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stdout[-3000:]
    for name in PARTS:
        assert (site / "patchbank" / "project" / name).exists(), name

    for command, said in (
        (("data", "check", "nope"), "patchbank/project/config.yaml has no set 'nope'; it has camvid"),
        (("train", "alignseg", "--dataset", "msrc", "--out", "x"), "which `patchbank init DIR` lays out, makes it"),
        (("segment", "x.png", "--checkpoint", "y", "--out", "z"), "patchbank: The input cannot be used:"),
        (("info", "x"), "patchbank: x"),
        (("init", "x y"), "x y is laid out; next: cd 'x y' && snakemake all"),
        (("init", "x y"), "x y is not empty (it holds Snakefile and 6 more)"),
    ):
        done = _run(python, "-m", "patchbank", *command, cwd=work)
        assert said in done.stdout, done.stdout
        assert "Traceback" not in done.stdout
    asked = ("-m", "snakemake", "-n", "all", "--config", "bank_root=banks/{a}")
    planned = _run(python, *asked, cwd=work / "x y", changed={"HOME": NO_HOME})
    assert planned.returncode == 0, planned.stdout[-3000:]
    assert "This was a dry-run" in planned.stdout
    assert str(ROOT) not in planned.stdout.replace(sys.prefix, "")  # README's environment lies in the checkout
