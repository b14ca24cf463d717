"""HTML from templates: one environment, autoescape on, undefined names are errors.

Inputs: a template of `templates/` and its values. Output: HTML text that ends with a newline; style and script are
inside it, so that the file works wherever it is copied, without a network.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        template: file of `templates/`, e.g. ``"dataset.html.j2"``.
        values: what it names.
    """
    assets = {name: Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("style.css", "page.js")}
    text = _environment().get_template(template).render(assets=assets, **values)
    return re.sub(r"\n\s*\n+", "\n", text).rstrip() + "\n"


def templates_digest() -> str:
    """16 hexadecimal digits over all templates, for rules: Snakemake and the hash of the code do not see them."""
    digest = hashlib.sha256()
    for path in sorted(TEMPLATES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def words(text: str) -> Markup:
    """A sentence of the reports as HTML: everything is escaped, then ``**bold**`` and `` `code` `` are marked."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked))


def link(path: str) -> str:
    """A relative path as a link."""
    return quote(path, safe="/-_.~")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"], environment.filters["link"] = words, link
    return environment
