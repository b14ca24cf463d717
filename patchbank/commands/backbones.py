"""`patchbank backbones`: the encoders of the configuration, and what each costs (docs/encoders.md)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.paths import expand

if TYPE_CHECKING:
    from patchbank.weights.spec import BackboneSpec

HELP = "list the encoders of the configuration: width, patch, licence, weights, bytes of a bank"
IMAGES, SIDE = 1000, 448
COLUMNS = ("backbone", "block", "width", "patch", "prefix", "norm", "MB", "on disk", "licence", "weights", "model")
"""`prefix`: tokens before the patches, - without a class token; `MB`: bank of a thousand images at 448, float16."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The configuration."""
    parser.add_argument(
        "--config",
        type=expand,
        metavar="FILE",
        help="configuration (default: config.yaml here, else the shipped one)",
    )


def run(options: argparse.Namespace) -> int:
    """Print a table; a column is as wide as its longest entry."""
    from patchbank.config.load import read_config

    config = read_config([options.config] if options.config else [])
    table = [COLUMNS, *(_row(config.backbone(name)) for name in config.values["backbones"])]
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    for row in table:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())
    print(
        "\nprefix: tokens before the patches, (no class token) where none of them is one. "
        f"MB: tokens, class token and its attention of {IMAGES} images at {SIDE} in float16."
    )
    return 0


def _row(spec: BackboneSpec) -> tuple[str, ...]:
    from patchbank.backbones.sizes import round_to_patch

    source: dict[str, Any] = dict(spec.sources[0]) if spec.sources else {}
    named = {"file": source.get("path"), "hub": source.get("tag"), "wheel": source.get("requirement")}
    where = f"{source['kind']}: {named[source['kind']]}" if source else "none"
    stored = Path("results", "weights", spec.name, "weights.safetensors")
    there = stored.is_file() or (source.get("kind") == "file" and Path(str(source["path"])).is_file())
    ends = ("yes" if there else "no", str(source.get("licence", _licence(spec))), where, spec.model)
    facts = spec.facts
    if facts is None:
        return (spec.name, str(spec.block), "?", "?", "?", "?", "?", *ends)
    block = spec.block + facts.depth if spec.block < 0 else spec.block
    patches = (round_to_patch(SIDE, facts.patch) // facts.patch) ** 2
    values = patches * facts.width + (facts.width + facts.heads * patches if facts.class_token else 0)
    norm = "no" if not spec.norm else "yes" if facts.norm == "norm" else "none to apply"
    return (
        spec.name, f"{block} of 0-{facts.depth - 1}", str(facts.width), str(facts.patch),
        f"{facts.prefix}{'' if facts.class_token else ' (no class token)'}", norm,
        f"{2 * values * IMAGES / 1e6:.0f}", *ends,
    )  # fmt: skip


def _licence(spec: BackboneSpec) -> str:
    from patchbank.weights.facts import stated

    known = stated(spec.model, spec.sources)
    return known.licence if known else "unknown"
