"""`patchbank segment` where a killed run left files, and with models that have few folders above them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from inference_world import make_world, run

from patchbank.alive import Process, this_process


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `inference_world.make_world`."""
    return make_world(tmp_path_factory.mktemp("inference"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_a_killed_run_left_goes_with_the_next(world: Path, tmp_path: Path) -> None:
    here = this_process()
    dead = Process(here.host, here.system, here.pid, here.start + 1)
    assert run(world, tmp_path / "out", "--soft") == 0
    before = files_of(tmp_path / "out")
    for kind, suffix in (("labels", ".png"), ("overlays", ".png"), ("soft", ".npz")):
        (tmp_path / "out" / kind / f".003.{dead}.x1.tmp{suffix}").touch()
    assert run(world, tmp_path / "out", "--soft") == 0
    assert files_of(tmp_path / "out") == before


def test_a_checkpoint_and_clusters_may_lie_right_below_the_root(world: Path, tmp_path: Path) -> None:
    seed = world / "toy" / "mine" / "seed0"
    own = str(seed / "clusters.npz")
    with tempfile.NamedTemporaryFile(dir="/tmp", suffix=".npz") as clusters:
        shutil.copy(seed / "clusters.npz", clusters.name)
        assert run(world, tmp_path / "a", "--clusters", clusters.name) == 0
    with tempfile.NamedTemporaryFile(dir="/tmp", suffix=".safetensors") as checkpoint:
        shutil.copy(seed / "checkpoint.safetensors", checkpoint.name)
        assert run(world, tmp_path / "b", "--checkpoint", checkpoint.name, "--clusters", own) == 0
    assert files_of(tmp_path / "a")["labels/000.png"] == files_of(tmp_path / "b")["labels/000.png"]
