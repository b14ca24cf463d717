"""What a stage's code is, as a hash that changes with its meaning and not with its comments.

Snakemake does not see changes of library code. Every rule therefore carries, as a param, the hash of the syntax
trees of all modules that the stage's module imports inside `patchbank`, transitively, docstrings removed.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent


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
    return _read(module_file(module)).imports


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
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules |= _modules_of(node)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_bare_string(statement)] or [ast.Pass()]
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(modules))


def _modules_of(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names if _is_module(alias.name)}
    if node.level or not node.module:
        return set()
    names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return {name for name in names if _is_module(name)}


@cache
def module_file(name: str) -> Path:
    """The file of a module of the package."""
    path = ROOT.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _is_module(name: str) -> bool:
    return (name == "patchbank" or name.startswith("patchbank.")) and module_file(name).is_file()


def _is_bare_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
