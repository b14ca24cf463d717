"""The benchmark that goes from files to counts runs, in small, so that it is there when a GPU is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.exhaustive
def test_a_sixth_of_coco_in_small_goes_from_files_to_counts(tmp_path: Path) -> None:
    small = ["--images", "26", "--draws", "1", "--epochs", "1", "--seeds", "0", "--work", str(tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_coco_small.py"), *small]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for stage in ("manifest", "whole, train", "crops, train", "training, seed 0", "prediction", "clusters", "counts"):
        assert stage in said
    assert list(tmp_path.iterdir()) == []
