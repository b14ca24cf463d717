"""A copy of the project to run Snakemake in: own package, own configuration, own results."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from fork_server import fork_server
from safetensors.torch import save_file

from patchbank.config.folders import PARTS
from patchbank.config.schema import merge
from patchbank.weights.model import build_model

ROOT = Path(__file__).parent.parent
COPIED = (*PARTS, "patchbank")
PARSED = Path(".snakemake/patchbank/sources.json")
TINY: dict[str, Any] = {
    "seeds": [0],
    "kmeans_seeds": [0],
    "extract": {"images_per_shard": 4, "batch_tokens": 512},
    "recipes": {"whole": {"size": 112}, "multicrop": {"size": 64, "draws": 2}},
    "clustering": {"overcluster": [9], "niter": 5, "nredo": 1, "pca": 16},
    "backbones": {"tiny": {"model": "vit_tiny_patch16_224", "file": "tiny.safetensors", "block": 1, "norm": False}},
    "datasets": {
        "demo": {
            "backbone": "tiny",
            "generated": {"train": 12, "val": 6, "size": 112},
            "settings": {
                "methods": {"alignseg": {"epochs": 2, "batch_size": 4, "hidden": 64, "postprocess": ["flip", "pamr"]}}
            },
        },
    },
}


class Project:
    """A copy of the project in a folder of its own.

    Args:
        folder: where.
        changes: of `config.yaml`.
        forks: Snakemake and its jobs are forks of one process that has imported torch; by default each starts as users
            start it, which takes several times as long.
    """

    parsed = b""
    """What Snakemake has read of the package's sources, by their hashes: the next copy need not read them again."""

    def __init__(self, folder: Path, changes: Mapping[str, Any], forks: bool = False) -> None:
        self.folder, self.paths, self.forks = folder, list[Path](), forks
        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        values = merge(yaml.safe_load((ROOT / "config.yaml").read_text()), changes)
        (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        if Project.parsed:
            (folder / PARSED).parent.mkdir(parents=True)
            (folder / PARSED).write_bytes(Project.parsed)
        torch.manual_seed(0)
        save_file(build_model("vit_tiny_patch16_224").state_dict(), folder / "tiny.safetensors")

    @classmethod
    def copied(cls, folder: Path, of: Path) -> Project:
        """A copy of another copy with all that was made in it, where nothing is to be made again."""
        project = cls.__new__(cls)
        project.folder, project.paths, project.forks = folder, [], False
        shutil.copytree(of, folder, symlinks=True)
        return project

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run."""
        python = fork_server() if self.forks else [sys.executable]
        return [*python, "-m", "snakemake", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The copy's package comes first, then `paths`; what is compiled once is kept."""
        paths = os.pathsep.join(map(str, [self.folder, *self.paths]))
        return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": ""}

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in the copy; output is stdout and stderr together."""
        ended = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if not Project.parsed and (self.folder / PARSED).is_file():
            Project.parsed = (self.folder / PARSED).read_bytes()
        return ended

    def done(self, *arguments: str) -> str:
        """Run and expect success; return what was printed."""
        result = self.snakemake("--cores", "2", *arguments)
        assert result.returncode == 0, result.stdout[-6000:]
        return result.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry run would start, by stage; empty when there is nothing to be done.

        A stage of rows is several rules, `count`, `count_2` and so on (`patchbank.config.plan.shapes`).
        """
        text = self.done("-n", *arguments)
        if "Nothing to be done" in text:
            return {}
        table = text[text.rindex("Job stats:") :]
        found: dict[str, int] = {}
        for name, count in re.findall(r"^([a-z_]+?)(?:_\d+)? +(\d+)$", table, flags=re.M):
            found[name] = found.get(name, 0) + int(count)
        found.pop("total")
        return found

    def planned_with(self, file: str, old: str, new: str) -> dict[str, int]:
        """Jobs that `all` would start after an edit of one file, which is taken back."""
        path = self.folder / file
        before = path.read_text()
        self.edit(file, old, new)
        try:
            return self.planned("all")
        finally:
            path.write_text(before)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the copy; it must be there."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} holds no {old!r}"
        path.write_text(text.replace(old, new, 1))
