"""What jobs run in, besides the environment of who starts them: conda's file, and a container."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from workflow_tools import COPIED, ROOT, TINY, Project

from patchbank.config.schema import merge

NOT_COPIED = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
"""What a build of the package reads beside the package and the workflow."""
FAKE = """#!/bin/sh
# an apptainer that runs its command here and writes down what it was asked
if [ "$1" = --version ]; then echo "apptainer version 1.3.0"; exit; fi
printf '%s\\n' "$*" >> "$ASKED"
while [ "$2" != -c ]; do shift; done
exec "$1" -c "$3"
"""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_condas_file_names_what_the_package_asks_for(project: dict[str, Any]) -> None:
    *plain, pip = yaml.safe_load((ROOT / "envs" / "patchbank.yaml").read_text())["dependencies"]
    assert plain == [f"python {project['requires-python']}", "pip"]
    assert pip["pip"] == [one for one in project["dependencies"] if not one.startswith("snakemake")]


def test_the_container_installs_the_package_of_the_checkout(project: dict[str, Any]) -> None:
    text = (ROOT / "envs" / "patchbank.def").read_text()
    sections = dict(part.split("\n", 1) for part in text.split("%")[1:])
    header = text.split("%")[0]
    assert header == "Bootstrap: docker\nFrom: python:3.11-slim-bookworm\n\n"
    assert project["requires-python"] == ">=3.11"
    copied = [line.split() for line in sections["files"].splitlines() if line.strip()]
    assert all(target == f"/opt/patchbank/{source}" for source, target in copied)
    assert {source for source, _ in copied} == {*NOT_COPIED, *COPIED}
    assert all((ROOT / source).exists() for source, _ in copied)
    assert "pip install --no-cache-dir /opt/patchbank\n" in sections["post"]  # with the versions of its pyproject.toml


@pytest.mark.exhaustive
def test_jobs_run_in_the_container_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / "p", merge(TINY, {"datasets": {"demo": {"generated": {"train": 2, "val": 2}}}}))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apptainer").write_text(FAKE)
    (programs / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    image = ("--sdm", "apptainer", "--apptainer-args=--nv", "results/demo/manifest.json")
    project.done(*image)
    asked = (tmp_path / "asked").read_text().splitlines()
    images = [line.split(" bash -c ")[0].split()[-1] for line in asked if " bash -c " in line]
    assert images == [str(project.folder / "patchbank.sif")] * 2
    assert all("--nv" in line for line in asked)
    assert project.planned(*image) == {}
