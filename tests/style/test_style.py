"""Lint, types, formatting: part of the test command, so that they cannot be forgotten."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = {
    "ruff-lint": ["-m", "ruff", "check", "."],
    "ruff-format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "snakefmt": ["-m", "snakefmt.snakefmt", "--check", "Snakefile", "workflow"],
    "snakemake-lint": ["-m", "snakemake", "--lint"],
}


@pytest.mark.style
@pytest.mark.parametrize("tool", TOOLS)
def test_tool_is_content(tool: str) -> None:
    done = subprocess.run([sys.executable, *TOOLS[tool]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PACKAGE = ROOT / "patchbank"
GROUND = ("weights", "datasets", "backbones", "views", "bank", "clustering", "criteria", "refinement")
"""Rooms below the methods, the lowest first."""
ABOVE = {
    "segments",
    "evaluation",
    "report",
    "config",
    "planning",
    "scripting",
    "inference",
    "exports",
    "ablation",
    "commands",
    "sweep",
}
"""Rooms above the methods."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def method_names() -> list[str]:
    """Folders and rows of all methods, found; `kmeans` is an algorithm too."""
    from patchbank.methods import contract

    names = {*contract.method_folders(), *contract.rows()} - {"kmeans", "floors", "single"}
    return sorted({name.replace("_", "-") for name in names})


@pytest.mark.parametrize("lower", GROUND)
def test_no_stage_knows_a_later_one(lower: str) -> None:
    from patchbank.fingerprint import reachable

    forbidden = {"methods", "drawing"} | ABOVE | set(GROUND[GROUND.index(lower) + 1 :])
    for path in (PACKAGE / lower).rglob("*.py"):
        used = {name.split(".")[1] for name in reachable(module_of(path)) if "." in name}
        assert not used & forbidden, f"{module_of(path)} reaches {sorted(used & forbidden)}"


def test_methods_know_no_later_room_and_not_each_other() -> None:
    from patchbank.fingerprint import reachable
    from patchbank.methods import contract

    for folder in contract.method_folders():
        for path in (PACKAGE / "methods" / folder).rglob("*.py"):
            found = [name.split(".") for name in reachable(module_of(path))]
            used = {parts[1] for parts in found if len(parts) > 1}
            assert not used & ABOVE, f"{module_of(path)} reaches {sorted(used & ABOVE)}"
            others = {parts[2] for parts in found if parts[1:2] == ["methods"] and len(parts) > 2}
            assert not others & (set(contract.method_folders()) - {folder}), module_of(path)


def test_only_the_contract_finds_methods_and_no_room_imports_upwards() -> None:
    """Of the rooms and modules of `patchbank`, found from the folders, none imports one that imports it."""
    from patchbank.fingerprint import imports
    from patchbank.methods import contract

    folders = contract.method_folders()
    rooms: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        module = module_of(path).split(".")
        inside = module[1:3] if module[1:2] == ["methods"] else module[1:2]
        for name in imports(module_of(path)):
            target = name.split(".")
            if target[1:2] == ["methods"] and target[2:3] and target[2] in folders:
                assert inside == ["methods", target[2]], f"{module_of(path)} imports {name}"
            other = target[1:3] if target[1:2] == ["methods"] else target[1:2]
            if inside and other and inside != other:
                rooms.setdefault(".".join(inside), set()).add(".".join(other))
    while leaves := {room for used in rooms.values() for room in used} - set(rooms):
        rooms = {room: used - leaves for room, used in rooms.items() if used - leaves}
    assert not rooms, f"these import each other in a circle: {sorted(rooms)}"


def test_nothing_outside_a_methods_folder_names_a_method_or_reads_its_settings() -> None:
    from patchbank.config.load import default_config
    from patchbank.methods import contract

    own = set()
    for folder in contract.method_folders():
        text = "".join(path.read_text() for path in (PACKAGE / "methods" / folder).glob("settings.py"))
        own |= set(re.findall(r"^    (\w+): (?!Traits)", text, flags=re.M))
    own -= set(default_config().shared("msrc"))  # what every k-means of a set has in common
    assert {"queries", "metric", "pseudo_label", "weight_decay"} <= own
    names = "|".join(name.replace("-", "[-_]") for name in method_names())
    assert "transfgu" in names
    keys = "|".join(sorted(own))
    listed = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".j2", ".js")]
    listed += [*(ROOT / "scripts").glob("*.py"), *(ROOT / "workflow").rglob("*.smk"), ROOT / "Snakefile"]
    for path in listed:
        if path.is_relative_to(PACKAGE / "methods") and path.parent != PACKAGE / "methods":
            continue
        text = path.read_text(encoding="utf-8")
        assert not (found := re.search(rf"\b({names})\b", text)), f"{path.relative_to(ROOT)}: {found}"
        read = rf"""settings("\]|'\])?(\[|\.get\()["']({keys})["']"""
        assert not (found := re.search(read, text)), f"{path.relative_to(ROOT)}: {found}"
        named = r"""(method|name)("\])?(\)? ?==|\.startswith\(\(?) ?["']kmeans"""
        assert not (found := re.search(named, text)), f"{path.relative_to(ROOT)}: {found}"


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
        assert not re.search(r"(?<![\w.])/(work|farm|root)/", text) or name == "tests/style/test_style.py", name


def test_functions_stay_short_and_take_few_parameters() -> None:
    long = []
    for path in (path for room in ("patchbank", "scripts", "benchmarks") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = f"{path.relative_to(ROOT)}: {node.name}"
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > 60:
                long.append(f"{name} has {lines} lines")
            given = node.args
            named = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            starred = [one for one in (given.vararg, given.kwarg) if one is not None]
            count = len([one for one in named if one not in ("self", "cls")]) + len(starred)
            if count > 8:
                long.append(f"{name} takes {count} parameters; a dataclass can hold them")
    assert not long, "\n".join(long)


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
