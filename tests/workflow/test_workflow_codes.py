"""A row on the codes of another row, through the real Snakefile: made after it, and again when it changes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from workflow_tools import TINY, Project

from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.config.schema import merge
from patchbank.files import sha256_file

pytestmark = pytest.mark.exhaustive

ROW = "primaps-stego"
SHORT = {"kind": "primaps", "epochs": 2, "batch_size": 4}
CHANGES: dict[str, Any] = {
    "datasets": {
        "demo": {
            "settings": {
                "methods": {
                    "alignseg": None,
                    "kmeans": None,
                    "stego": {"steps": 4, "search_steps": 2, "batch_size": 4, "points": 3, "width": 8},
                    ROW: {**SHORT, "codes": "stego"},
                },
                "floors": [],
                "ceilings": [],
            }
        }
    },
    "ablations": {
        "codes": {
            "method": ROW,
            "datasets": ["demo"],
            "floors": [],
            "rows": {"codes": {"factor": "codes"}, "two": {"factor": "epochs", "settings": {"epochs": 3}}},
        }
    },
}
SCORES = f"results/demo/{ROW}/scores.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after the row's scores, those of its ablation, and nothing else."""
    project = Project(tmp_path_factory.mktemp("codes") / "p", merge(TINY, CHANGES), forks=True)
    project.done(SCORES, "ablate_codes")
    return project


def test_the_row_is_trained_after_the_other_and_scored(finished: Project) -> None:
    folder = finished.folder / "results" / "demo"
    record = load_checkpoint(folder / ROW / "seed0" / "checkpoint.safetensors")[1]
    told = sha256_file(folder / "stego" / "seed0" / "checkpoint.safetensors")
    assert record["after"] == {"row": "stego", "method": "stego", "seed": 0, "sha256": told}
    scores = json.loads((finished.folder / SCORES).read_text())["rows"]
    assert scores
    assert all(row["miou"]["mean"] > 0 for row in scores)
    assert finished.planned(SCORES, "ablate_codes") == {}
    rows = json.loads((finished.folder / "results/ablations/codes/demo/codes.json").read_text())["rows"]
    mine = {(row["protocol"], row["variant"]): row["miou"] for row in scores}
    assert {(row["protocol"], row["variant"]): row["miou"] for row in rows} == mine, "the same as in the pipeline"


def test_the_row_is_made_again_when_the_other_is(finished: Project) -> None:
    """A new checkpoint of the other row, another setting of it, and a change of its code."""
    later = {"predict": 1, "count": 1, "score": 1}
    longer = "datasets={demo: {settings: {methods: {stego: {width: 9}}}}}"
    assert finished.planned(SCORES, "--config", longer) == {"train": 2, **later}
    old, new = "import annotations", "import annotations\nNEW = 1"
    path = finished.folder / "patchbank/methods/stego/losses.py"
    before = path.read_text()
    finished.edit("patchbank/methods/stego/losses.py", old, new)
    assert finished.planned(SCORES) == {"train": 2, **later}
    path.write_text(before)
    assert finished.planned(SCORES) == {}
    other = finished.folder / "results/demo/stego/seed0/checkpoint.safetensors"
    mine = finished.folder / "results/demo" / ROW / "seed0/checkpoint.safetensors"
    tensors, record = load_checkpoint(other)
    known = load_checkpoint(mine)[0]
    save_checkpoint(other, {name: -value for name, value in tensors.items()}, record)
    assert finished.planned(SCORES) == {"train": 1, **later}
    finished.done(SCORES)
    assert finished.planned(SCORES) == {}
    made, told = load_checkpoint(mine)
    assert told["after"]["sha256"] == sha256_file(other)
    assert not made["decoder/direct.weight"].equal(known["decoder/direct.weight"])


def test_pictures_are_segmented_by_the_row_alone(finished: Project) -> None:
    other = finished.folder / "results/demo/stego"
    kept = other.rename(finished.folder / "kept")
    command = [sys.executable, "-m", "patchbank", "segment", "results/demo/data/images/val"]
    command += ["--row", f"results/demo/{ROW}", "--out", "out", "--threads", "1"]
    done = subprocess.run(
        command, cwd=finished.folder, env=finished.environment, capture_output=True, text=True, check=False
    )
    kept.rename(other)
    assert done.returncode == 0, done.stderr
    legend = json.loads((finished.folder / "out" / "legend.json").read_text())
    assert len(list((finished.folder / "out").rglob("*.png"))) >= 6
    assert legend
