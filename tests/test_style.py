"""Lint, types, formatting: part of the test command, so that they cannot be forgotten."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = {
    "ruff-lint": ["-m", "ruff", "check", "."],
    "ruff-format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "snakefmt": ["-m", "snakefmt.snakefmt", "--check", "Snakefile", "workflow"],
    "snakemake-lint": ["-m", "snakemake", "--lint"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_is_content(tool: str) -> None:
    done = subprocess.run([sys.executable, *TOOLS[tool]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("lower", ["weights", "datasets", "backbones", "views", "bank", "clustering"])
def test_no_stage_knows_a_later_one(lower: str) -> None:
    from patchbank.fingerprint import reachable

    later = {"methods", "segments", "evaluation", "report", "config", "scripting", "inference", "commands", "drawing"}
    order = ["weights", "datasets", "backbones", "views", "bank", "clustering"]
    forbidden = later | set(order[order.index(lower) + 1 :])
    for path in (ROOT / "patchbank" / lower).rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        used = {name.split(".")[1] for name in reachable(module) if "." in name}
        assert not used & forbidden, f"{module} reaches {sorted(used & forbidden)}"


def test_the_package_imports_without_snakemake_and_faiss() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "patchbank").rglob("*.py")
        if path.name != "__main__.py"
    ]
    program = (
        "import sys\nfor name in ('snakemake', 'faiss'):\n    sys.modules[name] = None\n"
        "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in modules)
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_small_and_free_of_pickles_and_machine_paths() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix not in (".py", ".smk", ".yaml", ".md", ".toml", ".rst") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".py", ".smk"):
            assert len(text.splitlines()) <= 350, f"{name} has {len(text.splitlines())} lines"
        if name.startswith("patchbank/"):
            assert not re.search(r"allow_pickle=True|pickle\.load|except:", text), name
        assert not re.search(r"(?<![\w.])/(work|farm|root)/", text) or name == "tests/test_style.py", name


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"`(docs/[a-z_]+\.md)`", text)
        for target in named:
            assert (page.parent / target).exists() or (ROOT / target).exists(), f"{page.name} names {target}"


def test_the_golden_folder_is_complete() -> None:
    ours = ROOT / "tests" / "goldens"
    theirs = {path.name for path in Path(os.environ.get("PATCHBANK_GOLDENS") or ours).glob("*.npz")}
    assert {path.name for path in ours.glob("*.npz")} <= theirs
