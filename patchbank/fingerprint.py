"""What a stage's code is, as a hash that changes with its meaning and not with its comments.

Snakemake does not see changes of library code. Every rule therefore carries, as a param, the hash of the syntax
trees of all modules that the stage's module imports inside `patchbank`, transitively, docstrings removed.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from patchbank.files import write_json

ROOT = Path(__file__).parent
Parsed = tuple[str, list[str]]
"""What is kept of a source: hash of its syntax tree, dotted names that it may import from the package."""
_parsed: dict[str, Parsed] = {}
"""By the hash of a file's bytes: of this process, and of earlier ones (`remember`)."""


@cache
def code_fingerprint(*modules: str) -> str:
    """Hash of the named modules and of everything in `patchbank` that they import, at any depth.

    Args:
        modules: dotted names such as ``"patchbank.bank.extract"``.

    Returns:
        16 hexadecimal digits.
    """
    seen = {name for module in modules for name in reachable(module)}
    parts = [f"{name}={tree_hash(module_file(name))}" for name in sorted(seen)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def stage_code(script: Path, modules: Sequence[str]) -> str:
    """Hash of the code of a stage: its script, and the named modules with all that they import."""
    return f"{tree_hash(script)[:16]}-{code_fingerprint(*modules)}"


@cache
def reachable(module: str) -> frozenset[str]:
    """Names of all `patchbank` modules that `module` imports, itself included."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports(name))
    return frozenset(seen)


def imports(module: str) -> frozenset[str]:
    """Names of the `patchbank` modules that `module` itself imports."""
    return imports_of(module_file(module))


def imports_of(path: Path) -> frozenset[str]:
    """Names of the `patchbank` modules that a Python file imports."""
    return _read(path).imports


def tree_hash(path: Path) -> str:
    """Hash of the syntax tree of one Python file, comments and docstrings removed."""
    return _read(path).hash


@dataclass(frozen=True)
class _Source:
    """What is kept of one file: every fingerprint of a process asks for the same files."""

    hash: str
    imports: frozenset[str]


@cache
def _read(path: Path) -> _Source:
    content = path.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    if key not in _parsed:
        _parsed[key] = _parse(content)
    found, names = _parsed[key]
    return _Source(found, frozenset(name for name in names if _is_module(name)))


def _parse(content: bytes) -> Parsed:
    tree = ast.parse(content)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= _names_of(node)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_bare_string(statement)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), sorted(filter(_in_package, names))


def remember(path: Path, write: bool = True) -> None:
    """Read what earlier processes parsed from a file, and leave there what this one parsed too, when it ends.

    Parsing the package takes most of the time in which Snakemake reads the Snakefile. Sources are known by their bytes,
    so that what is read is never older than they are.

    Args:
        path: JSON; what cannot be read, or is of another Python or another version of this module, is as good as none.
        write: whether this process leaves anything.
    """
    version = f"{sys.version_info[:2]} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"
    path = path.absolute()  # Snakemake may end in another folder
    kept = _kept(path, version)
    _parsed.update(kept)
    if write:
        atexit.register(_leave, path, version, set(kept))


def _kept(path: Path, version: str) -> dict[str, Parsed]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("version") != version:
        return {}
    return {key: (found, names) for key, (found, names) in content.get("sources", {}).items()}


def _leave(path: Path, version: str, before: set[str]) -> None:
    if _parsed.keys() - before:
        with contextlib.suppress(OSError):  # the next process parses again
            write_json(path, {"version": version, "sources": _parsed})


def _names_of(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if node.level or not node.module:
        return set()
    return {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}


def _in_package(name: str) -> bool:
    return name == "patchbank" or name.startswith("patchbank.")


@cache
def module_file(name: str) -> Path:
    """The file of a module of the package."""
    path = ROOT.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _is_module(name: str) -> bool:
    return module_file(name).is_file()


def _is_bare_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
