"""What the code that shapes the values of a bank is, as a hash: a part of a bank's record (`patchbank.bank.record`).

Only the modules named here count, those of the recipe and of the encoder among them, and of these only what can move
a value: no comments, docstrings, annotations or type aliases, no arguments of `raise`, no messages of `assert`, no
logging, no progress bars. A module that counts says so in the first lines of its docstring. Messages for people, input
and output, scanning, statistics and checksums stand in other modules: they change without another extraction.

When the text of such a module changes and no value does (for the encoder `tests/goldens/backbone_tokens.npz` tells),
`REWRITTEN` says so, and every bank keeps its hash. Where modules come and go, put the hash of before into
`patchbank.bank.predecessors`: shards are then taken over instead of computed again.
"""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from typing import Any

from patchbank.fingerprint import module_file, reachable

SHAPING = (
    "patchbank.backbones.attention",
    "patchbank.backbones.families",
    "patchbank.backbones.sizes",
    "patchbank.backbones.vit",
    "patchbank.bank.cast",
    "patchbank.bank.coding",
    "patchbank.bank.encode",
    "patchbank.datasets.matlab",
    "patchbank.datasets.rgb",
    "patchbank.seeds",
    "patchbank.views.augmented",
    "patchbank.views.center320",
    "patchbank.views.colour",
    "patchbank.views.dense",
    "patchbank.views.fields",
    "patchbank.views.five",
    "patchbank.views.flipped",
    "patchbank.views.geometry",
    "patchbank.views.lastblock",
    "patchbank.views.mirrored",
    "patchbank.views.multicrop",
    "patchbank.views.pixels",
    "patchbank.views.recoloured",
    "patchbank.views.resize",
    "patchbank.views.whole",
    "patchbank.views.windows",
    "patchbank.weights.model",
)
"""Modules whose code shapes the values of a bank that reaches them; a recipe's and an encoder's own always do."""
REWRITTEN: tuple[tuple[str, str], ...] = (
    (  # backbones/vit.py
        "6c158969bc87f7ca8d1c275e3ef1bb8243a6dc99681eae4a7d8d9c2eb6acf3f3",
        "8e30a357467ae1f931003090b97309c31cb1975f88b9d5186dd9c49397796ebd",
    ),
    (  # bank/cast.py
        "556188611313fd1c07f23cbe8b646d3fd5e486e340e32c1109dd664497d76703",
        "56b236ad640ba9de178537cffc39921c8f82ac1344353e56eb1ef53e5858b755",
    ),
    (  # bank/coding_fit.py
        "ff620b6131af2a388f723eb0f7b76e8ab393b95842089a1b604359aa7d3ab102",
        "e6e1d088c1ab27066882ea03f412efc16b62dbd67888d4c99a95eb7a43b0d7af",
    ),
    (  # bank/coding.py
        "f0ddaead5d1cacf957fa86b124f841f5daf76b38ea723cd361f83a7c45291e65",
        "f55eecc55693b7bf455476dc833f20880faa2648a74b5f9912972d46aaaad0ff",
    ),
    (  # bank/encode.py
        "075f7b6f63317419865049c9b5ebaf77c3d5f69d2ec202d11a968530d41335cc",
        "d5b4b172778573dbd271352ad1251a906ab58e8d19b21d58852e1a33957a7e24",
    ),
    (  # datasets/depth.py
        "61ec156783e5ccdbdc219abf75099e3c9cce1ce729fa2f28f04f3ca4da6a9e38",
        "3928a3d8ff5752a20b76bcea35c911dd6734f79d23a05efed81ef4829d3404e0",
    ),
    (  # datasets/tiff.py
        "4c65992b29a188d7b31492e5d6090ba7560bc14e754236760f03ae0f3e79881d",
        "49679e27247b899d588e0e9326fce9d4b634856e4e8fe4c9860e94f08908fdf9",
    ),
    (  # views/flipped.py
        "47fbbaa90ce4a0462de3942159aaa8870f677e065ec80ccee80f22034ee5cf44",
        "0134974f0306f8517a9b9f5643d6064da33457af91933e1cb3076cc0b033bee5",
    ),
    (  # views/lastblock.py
        "a688975d06a0df2953ec4b258f2e8cd3cc83fc1d7fcd23c74b0e57c9c2ac5dbb",
        "ec32d12ee3b932983d8e68eecd00b45a0532f5d95a2b5cb98adf8cb495f3dd5f",
    ),
    (  # views/recoloured.py
        "c85187b3ca22333b3976f42b399b6fa772b6df304414a0fa266c996a7cbe2b4c",
        "ba78dbb6f9ce2cb72da954f950d70f6fee3342c6dd604f6a32c15742584dcbad",
    ),
    (  # views/windows.py
        "cee88b203d44f7edfd3ae8f07c13d41bca5c71f27ae082c893d6cdb3d74c0f37",
        "ad18c3e213bc5c64c45b93b88be6334ea1138571492d75dcdd9287e969371464",
    ),
)
"""Modules that were rewritten and make the values that they made: hash of the text today, the hash that it keeps."""
_ENTRANCES = ("patchbank.bank.cast", "patchbank.bank.encode", "patchbank.datasets.rgb")
_UNSEEN_FIELDS = {"annotation", "ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}
_UNSEEN_IMPORTS = {
    *("__future__", "collections.abc", "logging", "numpy.typing", "typing", "warnings"),
    *("patchbank.errors", "patchbank.progress"),
}
_LOGS = {"LOG", "log", "logger", "logging", "warnings"}


def values_code(*own: str) -> str:
    """Hash of the code that shapes the values of a bank.

    Args:
        own: modules of its recipe and of its encoder, e.g. ``"patchbank.views.whole"``, ``"patchbank.backbones.vit"``.

    Returns:
        16 hexadecimal digits, the same for every version of Python.
    """
    used = {name for module in (*own, *_ENTRANCES) for name in reachable(module)}
    hashes = sorted(_module_hash(name) for name in {*own, *(used & set(SHAPING))})
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]


def depth_code(dicom: bool = False, pca: bool = False) -> str:
    """Hash of the code that makes 8-bit pictures of deep ones: part of the record of sets that have such."""
    names = ("depth", "tiff", *(["dicom"] if dicom else []), *(["directions"] if pca else []))
    hashes = [_module_hash(f"patchbank.datasets.{name}") for name in names]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]


def coding_code() -> str:
    """Hash of the code that codes tokens: part of the record of banks with small tokens."""
    return _module_hash("patchbank.bank.coding")[:16]


def fit_code() -> str:
    """Hash of the code that fits a coding: it names the file of what was fitted, and is part of no record."""
    return _module_hash("patchbank.bank.coding_fit")[:16]


@cache
def _module_hash(name: str) -> str:
    today = source_hash(module_file(name).read_text(encoding="utf-8"))
    return dict(REWRITTEN).get(today, today)


def source_hash(source: str) -> str:
    """Hash of what can move a value in a module's text; the module's own name and place are no part of it."""
    return hashlib.sha256(json.dumps(_plain(ast.parse(source))).encode()).hexdigest()


def _plain(node: Any) -> Any:
    """A syntax tree as plain lists, without what cannot move a value; `ast.dump` differs between versions of Python."""
    if isinstance(node, list):
        return [_plain(item) for item in node if not _unseen(item)]
    if not isinstance(node, ast.AST):
        return [type(node).__name__, repr(node)]
    kind, fields = type(node).__name__, dict(ast.iter_fields(node))
    match node:
        case ast.Call(func=ast.Name(id="track"), args=[items, *_]):
            return _plain(items)
        case ast.Raise(exc=ast.Call(func=raised)):
            fields = {"exc": raised}
        case ast.Raise():
            fields.pop("cause")
        case ast.Assert():
            fields.pop("msg")
        case ast.AnnAssign(value=None):
            kind, fields = "Expr", {"value": node.target}
        case ast.AnnAssign():
            kind, fields = "Assign", {"targets": [node.target], "value": node.value}
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "patchbank":
            fields.pop("module")  # a module may move; what it holds is hashed by itself
    kept = {name: value for name, value in fields.items() if name not in _UNSEEN_FIELDS and value not in (None, [])}
    return [kind, *([name, _plain(value)] for name, value in sorted(kept.items()))]


def _unseen(statement: Any) -> bool:
    """Whether a statement cannot move a value: documentation, typing, logging."""
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _LOGS
        case ast.Assign(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logging"), attr="getLogger"))):
            return True
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.ImportFrom(module=str(module)):
            return module in _UNSEEN_IMPORTS
        case ast.Import(names=names):
            return all(alias.name in _UNSEEN_IMPORTS for alias in names)
    return False
