"""What is slow to import is imported only by the stages and commands that compute with it.

Importing torch takes four times as long as all that scoring a method does; a run has many such jobs.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from bank_factory import extract_all, make_images

from patchbank import open_bank
from patchbank.bank.extract import ExtractSettings
from patchbank.predictions import PredictionRecord, PredictionWriter

ROOT = Path(__file__).parents[2]
SLOW = ("faiss", "jinja2", "matplotlib", "onnx", "scipy", "timm", "torch", "torchvision")
MAY_IMPORT: dict[str, set[str]] = {
    "ablation": set(),
    "ablation_row": {"scipy"},
    "bank": set(),
    "compare": set(),
    "count": {"scipy"},
    "criteria": set(),
    "curves": {"matplotlib"},
    "demo": {"scipy"},
    "extract": {"torch"},
    "fetch": set(),
    "k_chart": set(),
    "k_page": {"jinja2", "matplotlib"},
    "manifest": set(),
    "page": {"jinja2", "matplotlib", "scipy"},
    "panel": {"matplotlib"},
    "parts": set(),
    "pictures": set(),
    "predict": set(),
    "report": set(),
    "score": set(),
    "segment_clusters": set(),
    "segment_numbers": set(),
    "sheet": {"matplotlib"},
    "statistics": set(),
    "summary": {"jinja2"},
    "sweep": {"jinja2", "matplotlib"},
    "train": set(),
    "truth": {"scipy"},
    "weights": {"torch"},
}
"""Of the slow ones, what a script imports before it works. Methods bring their own (`train`, `predict`, `pictures`)."""

EACH_IN_A_CHILD = """
import json, os, sys
for name, lines in json.load(sys.stdin).items():
    read, write = os.pipe()
    if os.fork() == 0:
        exec(lines, {})
        os.write(write, json.dumps([name for name in %r if name in sys.modules]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        print(json.dumps([name, json.loads(said.read())]))
    os.wait()
"""


def imports(path: Path) -> str:
    """All imports of a script of the package, those inside its stage too, without those for type checkers."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    lines = [ast.unparse(node) for node in nodes]
    return "\n".join(line for line in lines if not line.startswith("from snakemake"))


def imported(programs: dict[str, str]) -> dict[str, set[str]]:
    """Which slow modules each program imports, every one in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", EACH_IN_A_CHILD % (SLOW,)],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: set(modules) for name, modules in found}


def test_scripts_import_what_their_stage_needs_and_no_more() -> None:
    scripts = {path.stem: path for path in sorted((ROOT / "scripts").glob("*.py"))}
    assert set(scripts) == set(MAY_IMPORT)
    assert imported({name: imports(path) for name, path in scripts.items()}) == MAY_IMPORT


def test_commands_that_answer_at_once_and_the_help_import_nothing_slow() -> None:
    quick = ("backbones", "data_check", "data_fetch", "export_labels", "info", "init", "compare", "verify")
    programs = {name: f"import patchbank.commands.{name}" for name in quick}
    programs["help"] = "import patchbank.cli\npatchbank.cli._parser()"
    assert imported(programs) == {name: set() for name in programs}


HELP = """
import sys
from patchbank.cli import main
sys.argv = ["patchbank"]
try:
    main(["--help"])
except SystemExit:
    print("LOADED", sorted({"numpy", "PIL", "yaml", "h5py"} & set(sys.modules)))
"""


def test_the_help_imports_no_numpy_either() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", HELP], env=environment, capture_output=True, text=True, check=True)
    assert "segment" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


STAGES = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError("torch is not imported here")
sys.meta_path.insert(0, NoTorch())
from pathlib import Path
from patchbank.bank.statistics import compute_statistics
from patchbank.clustering.kmeans import KMeansSettings
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.count import count_predictions, summarise
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.jobs import PredictJob, TrainingFiles, TrainJob
from patchbank.segments.cluster import SegmentClusterSettings, cluster_segments
folder = Path(sys.argv[1])
bank, prediction, statistics = folder / "whole.json", folder / "segments.h5", folder / "statistics.npz"
compute_statistics(bank, statistics)
settings = SegmentClusterSettings((2,), (0,), kmeans=KMeansSettings(2, 1))
cluster_segments(bank, prediction, bank, prediction, statistics, settings, 0, folder / "clusters.npz")
resolved = {"k": [2], "kmeans_seeds": [0], "sample": 100, "projection": {"pca": 4}, "kmeans": {"niter": 2, "nredo": 1}}
common = {"folder": "kmeans", "banks": {"whole": bank}, "statistics": statistics, "settings": resolved, "seed": 0}
files = TrainingFiles.below(folder / "kmeans")
run_train(TrainJob(**common, files=files, state_root=folder, threads=1))
out = folder / "classes.h5"
job = PredictJob(**common, row="kmeans", dataset="toy", split="train", out=out, checkpoint=files.checkpoint, threads=1)
run_predict(job)
manifest = Manifest.load(folder / "manifest.json")
for postprocess in ("", "bilinear"):
    count_predictions(prediction, manifest, folder / "counts.npz", "full", 1, postprocess=postprocess)
    assert summarise(folder / "counts.npz")["used"] >= 1
"""


def test_statistics_kmeans_clusters_and_counts_work_without_torch(tmp_path: Path) -> None:
    make_images(tmp_path, 4)
    bank = open_bank(str(extract_all(tmp_path, ExtractSettings("whole", {"size": 64}))))
    record = PredictionRecord("toy", "train", "random", "segments", 0, "nearest", bank.input_size)
    scores = np.random.default_rng(0).normal(size=(len(bank), 3, *bank.grid))
    with PredictionWriter(tmp_path / "segments.h5", record, bank.images, {"segments": 3}, bank.grid) as writer:
        writer.write_scores("segments", 0, scores)
    done = subprocess.run(
        [sys.executable, "-c", STAGES, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
