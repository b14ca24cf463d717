"""`patchbank plan SET`: what a set will cost in bytes and hours, and which setting halves it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.arguments import positive
from patchbank.paths import expand

if TYPE_CHECKING:
    from patchbank.config.config import Config
    from patchbank.planning.cost import Machine, Stage

HELP = "say what a set will cost in GB and hours, and which setting halves it"
OF_FOLDER = ("folder", "name", "classes", "label_map", "depth", "tiles")
"""Keys that make a set of a folder; in a complete configuration it is a set like the others."""
HALF = 0.6
"""A setting that leaves less than this share of GB or hours is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, the machine, the configuration."""
    parser.add_argument("set", metavar="SET", help="a set of the configuration, e.g. voc")
    parser.add_argument("--device", help="a device with measured rates, e.g. h100 (default: the CPU cores here)")
    parser.add_argument("--cores", type=positive, help="CPU cores (default: those here)")
    parser.add_argument(
        "--config",
        type=expand,
        metavar="FILE",
        help="configuration (default: config.yaml here, else the shipped one)",
    )


def run(options: argparse.Namespace) -> int:
    """Print a table of the stages, the disk, and what would halve them."""
    from patchbank import threads
    from patchbank.config.config import UNLABELLED
    from patchbank.config.load import read_config
    from patchbank.errors import UserError
    from patchbank.planning.cost import Machine, devices, images_of, rates, stages_of

    config = read_config([options.config] if options.config else [])
    config.suggested = lambda _: UNLABELLED  # neither bytes nor hours depend on K, which `auto` would wait for
    if options.set not in config.datasets:
        raise UserError(f"{options.set!r} is not a set of the configuration ({', '.join(config.datasets)}).")
    device = options.device or "cpu"
    if device not in devices():
        raise UserError(f"No rates of --device {device} were measured; there are rates of {', '.join(devices())}.")
    cores = options.cores or (threads.available() if device == "cpu" else int(rates()[device]["cores"]))
    machine = Machine(device, cores)
    images, source = images_of(config, options.set)
    stages = stages_of(config, options.set, images, machine)
    counted = ", ".join(f"{count:,} {split}" for split, count in images.items())
    print(f"{options.set}: {counted} images ({source}); {device}, {cores} cores\n")
    print(_table(stages))
    for stage in stages:
        if stage.there is not None:
            print(f"{stage.name} is there: {stage.there}")
    print(f"\n{_disk(config, sum(stage.size for stage in stages))}")
    for line in _halves(config, options.set, images, machine, stages):
        print(line)
    print(f"Rates: docs/benchmarks.md ({rates()[device]['source']}); - was not measured, and no part of the sum.")
    return 0


def _table(stages: list[Stage]) -> str:
    rows = [("stage", "GB", "hours")]
    rows += [
        (stage.name, f"{stage.size / 1e9:.2f}" if stage.size or stage.there else "", _hours(stage.seconds))
        for stage in stages
    ]
    least = "> " if _unknown(stages) else ""
    rows.append(("all", f"{sum(stage.size for stage in stages) / 1e9:.2f}", least + _hours(_seconds(stages))))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a.ljust(widths[0])}  {b.rjust(widths[1])}  {c.rjust(widths[2])}" for a, b, c in rows)


def _hours(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 3600:.2f}"


def _seconds(stages: list[Stage]) -> float:
    """Seconds of the stages with a rate."""
    return sum(stage.seconds for stage in stages if stage.seconds is not None)


def _unknown(stages: list[Stage]) -> set[str]:
    """Names of the stages without a rate."""
    return {stage.name for stage in stages if stage.seconds is None}


def _disk(config: Config, size: int) -> str:
    folder = Path(config.bank_root).absolute()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    enough = "which is enough"
    if size >= 0.98 * free:
        enough = "which is NOT enough: point bank_root to a larger disk"
    return f"Banks take {size / 1e9:.2f} GB more below {folder}, where {free / 1e9:.2f} GB are free, {enough}."


def _halves(
    config: Config, dataset: str, images: Mapping[str, int], machine: Machine, stages: list[Stage]
) -> list[str]:
    """One line for each setting that brings GB or hours to about the half."""
    from patchbank.config.load import checked
    from patchbank.config.schema import merge
    from patchbank.errors import UserError
    from patchbank.planning.cost import stages_of

    size, seconds = sum(stage.size for stage in stages), _seconds(stages)
    lines = []
    known = {key: value for key, value in config.values.items() if key not in OF_FOLDER}
    for change in _changes(config, dataset):
        values = merge(known, {"datasets": {dataset: {"settings": change}}})
        try:
            changed = checked(values)
        except UserError:
            continue  # some row allows no such change: it is no way to save
        changed.suggested = config.suggested
        after = stages_of(changed, dataset, images, machine)
        if _unknown(after) - _unknown(stages):
            continue  # no rate at that precision, for instance: the hours of a stage would seem to vanish
        parts = [("GB", size, sum(stage.size for stage in after)), ("hours", seconds, _seconds(after))]
        gains = [f"{new / old:.0%} of the {what}" for what, old, new in parts if old and new < HALF * old]
        if gains:
            lines.append(f"{_written(change)} leaves {' and '.join(gains)}.")
    return lines or ["No single setting would halve this."]


def _changes(config: Config, dataset: str) -> list[dict[str, Any]]:
    """Settings that cost less, each of a set's own `settings`."""
    from patchbank.methods.contract import cheaper

    options = config.of(dataset)
    extract = options["extract"]
    whole, shift = (options["recipes"].get("whole", {}).get(key, plain) for key, plain in (("size", 448), ("shift", 1)))
    changes: list[dict[str, Any]] = []
    if extract["dtype"] != "int8":
        changes.append({"extract": {"dtype": "float16" if extract["dtype"] == "float32" else "int8"}})
    if extract["precision"] == "float32":
        changes.append({"extract": {"precision": "bfloat16"}})
    for name in sorted({recipe for method in config.methods(dataset) for recipe in method.traits.recipes}):
        if (draws := options["recipes"].get(name, {}).get("draws", 1)) > 1:
            changes.append({"recipes": {name: {"draws": draws // 2}}})
    if shift > 1:
        changes.append({"recipes": {"whole": {"shift": 1}}})
    if isinstance(whole, int) and whole > 320:
        changes.append({"recipes": {"whole": {"size": 320}}})
    for name, entry in options["methods"].items():
        folder = str(entry.get("kind", name)).replace("-", "_")
        changes += [{"methods": {name: {k: v}}} for k, v in cheaper(folder).items() if entry.get(k) != v]
    return changes


def _written(change: Mapping[str, Any]) -> str:
    """``extract: dtype: float16``"""
    words: list[str] = []
    value: Any = change
    while isinstance(value, Mapping):
        key, value = next(iter(value.items()))
        words.append(str(key))
    return f"`{': '.join([*words, str(value)])}`"
