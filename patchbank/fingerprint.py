"""What a stage's code is, as a hash that changes with its meaning and not with its comments.

Snakemake does not see changes of library code. Every rule therefore carries, as a param, the hash of the syntax
trees of all modules that the stage's module imports inside `patchbank`, transitively, docstrings removed.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent


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


def reachable(module: str) -> set[str]:
    """Names of all `patchbank` modules that `module` imports, itself included."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_imports(name))
    return seen


@cache
def module_file(name: str) -> Path:
    """The file of a module of the package."""
    path = ROOT.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(name: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(_parse(module_file(name))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if _is_module(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if _is_module(node.module):
                found.add(node.module)
            found.update(f"{node.module}.{a.name}" for a in node.names if _is_module(f"{node.module}.{a.name}"))
    return found


def _is_module(name: str) -> bool:
    return (name == "patchbank" or name.startswith("patchbank.")) and module_file(name).is_file()


@cache
def tree_hash(path: Path) -> str:
    """Hash of the syntax tree of one Python file, comments and docstrings removed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_bare_string(statement)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_bare_string(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
