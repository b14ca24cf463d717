"""Several extractions into one bank at the same time, killed and stopped ones among them, in real processes.

A fresh process imports torch once and forks the extractions. Every shard that one of them finishes is a line in a file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from bank_factory import TINY, make_images

from patchbank.bank import fill as fill_module
from patchbank.bank.claims import ShardClaims
from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.fill import BlockBank
from patchbank.bank.finish import finish
from patchbank.bank.verify import verify_bank
from patchbank.stopping import Stopped, install

IMAGES = 24
SETTINGS = ExtractSettings("whole", {"size": 32}, images_per_shard=2, batch_tokens=4)
"""16 shards, of which most have several batches of one image."""


def job_of(folder: Path, bank: str, name: str) -> ExtractJob:
    files = (folder / "weights.safetensors", folder / "weights.json")
    out = folder / f"{bank}-{name}.json"
    return ExtractJob(folder / "manifest.json", "train", TINY, *files, SETTINGS, folder / bank, out, threads=1)


def start(
    folder: Path,
    bank: str,
    name: str,
    pause: float,
    sent: int = 0,
    at: int = 0,
    meet: Callable[[], object] = lambda: None,
) -> int:
    """Extract in a child that takes its time for each batch, and gets a signal in the batch `at`; the process.

    `meet` is called before its first batch.
    """
    child = os.fork()
    if child:
        return child
    made, encode, lines = ShardClaims.made, fill_module.encode_rows, folder / f"{bank}.made"

    def tell(claims: ShardClaims, shards: BlockBank, shard: int) -> None:
        made(claims, shards, shard)
        with lines.open("a") as file:
            file.write(f"{name} {shard}\n")

    calls = count(1)

    def slowly(*given: Any) -> Any:
        time.sleep(pause)
        number = next(calls)
        if number == 1:
            meet()
        if number == at:
            os.kill(os.getpid(), sent)
        return encode(*given)

    ShardClaims.made, fill_module.encode_rows = tell, slowly  # type: ignore[method-assign]
    try:
        install()
        extract(job_of(folder, bank, name))
        os._exit(0)
    except Stopped as stopped:
        os._exit(int(str(stopped.code)))
    finally:
        os._exit(1)


def status(child: int) -> int:
    """Exit status of a child, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def scenarios(folder: Path) -> dict[str, list[int]]:
    """Exit status of every child of every scenario."""
    found = {"alone": [status(start(folder, "alone", "one", 0.0))]}

    both = get_context("fork").Barrier(2, timeout=60)  # however late a loaded machine starts one of them
    twins = [start(folder, "twins", name, 0.02, meet=both.wait) for name in ("one", "two")]
    found["twins"] = [status(child) for child in twins]

    killed = start(folder, "killed", "killed", 0.02, signal.SIGKILL, 6)
    while not (folder / "killed.made").is_file():
        time.sleep(0.002)
    found["killed"] = [status(start(folder, "killed", "other", 0.02)), status(killed)]

    found["stopped"] = [status(start(folder, "stopped", "stopped", 0.02, signal.SIGTERM, 8))]
    left = list((folder / "stopped").rglob(".*"))
    found["left"] = [len(left)]
    found["stopped"].append(status(start(folder, "stopped", "again", 0.0)))
    return found


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[int]]]:
    folder = tmp_path_factory.mktemp("twins")
    make_images(folder, IMAGES)
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def made_in(folder: Path, bank: str) -> list[tuple[str, int]]:
    """Who made which shard, in order."""
    pairs = [line.split() for line in (folder / f"{bank}.made").read_text().splitlines()]
    return [(name, int(shard)) for name, shard in pairs]


def check_bank(folder: Path, bank: str, names: list[str]) -> None:
    """The bank is whole, nothing else lies in it, and its shards are those of a process that was alone."""
    parts = [folder / f"{bank}-{name}.json" for name in names]
    finish(parts, folder / "manifest.json", folder / f"{bank}.json")
    assert verify_bank(folder / f"{bank}.json") == IMAGES
    shards = {path.name: path.read_bytes() for path in (folder / bank).rglob("0*.h5")}
    assert shards == {path.name: path.read_bytes() for path in (folder / "alone").rglob("0*.h5")}
    assert not list((folder / bank).rglob(".*"))


def test_two_share_a_bank_and_compute_each_shard_once(ended: tuple[Path, dict[str, list[int]]]) -> None:
    folder, statuses = ended
    assert statuses["alone"] == [0]
    assert statuses["twins"] == [0, 0]
    made = made_in(folder, "twins")
    assert sorted(shard for _, shard in made) == sorted(shard for _, shard in made_in(folder, "alone"))
    assert min(Counter(name for name, _ in made).values()) >= 3  # both worked
    check_bank(folder, "twins", ["one", "two"])


def test_what_a_killed_one_had_begun_is_done_by_the_other(ended: tuple[Path, dict[str, list[int]]]) -> None:
    folder, statuses = ended
    assert statuses["killed"] == [0, -signal.SIGKILL]
    made = Counter(shard for _, shard in made_in(folder, "killed"))
    # a kill may fall between the shard and the word of it
    assert len(made_in(folder, "alone")) - len(made) <= 1
    assert set(made.values()) == {1}
    check_bank(folder, "killed", ["other"])


def test_sigterm_ends_at_the_next_batch_and_keeps_complete_shards(ended: tuple[Path, dict[str, list[int]]]) -> None:
    folder, statuses = ended
    assert statuses["stopped"] == [143, 0]
    assert statuses["left"] == [0]
    made = made_in(folder, "stopped")
    before = {shard for name, shard in made if name == "stopped"}
    assert 2 <= len(before) <= 6
    assert sorted(shard for _, shard in made) == sorted(shard for _, shard in made_in(folder, "alone"))
    check_bank(folder, "stopped", ["again"])


if __name__ == "__main__":
    print(json.dumps(scenarios(Path(sys.argv[1]))))
