"""From the encoder's output to rows on the disk: cast, checks, sums, the queue between encoder and disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from patchbank.backbones.vit import Encoded
from patchbank.bank import fill as fill_module
from patchbank.bank import writer as writer_module
from patchbank.bank.cast import cast
from patchbank.bank.encode import row_shapes
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.fill import WAITING, ShardRows, fill
from patchbank.bank.format import damaged_rows, images_of, row_crc
from patchbank.bank.stored import Outlet, Rows, device_checks
from patchbank.bank.sums import Sums
from patchbank.bank.writer import ShardWriter
from patchbank.errors import UserError
from patchbank.views.base import make_recipe

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)
SHAPES = {"tokens": ((2, 5, 3), HALF), "cls": ((2, 3), HALF), "boxes": ((2, 4), SINGLE), "flip": ((2,), np.dtype("u1"))}
FIELDS = ("tokens", "cls", "boxes", "flip", "image")
CPU = torch.device("cpu")


def fields_of(rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(0, 3, (rows, *shape)).astype(np.float32) for name, (shape, _) in SHAPES.items()}
    return {**{n: torch.from_numpy(v) for n, v in values.items()}, "flip": torch.from_numpy(values["flip"] > 0)}


def test_cast_rounds_as_numpy_does() -> None:
    """Every float16, what lies between two of them, what it cannot hold, and numbers without order."""
    exact = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    exact = exact[np.isfinite(exact)]
    near = np.concatenate([exact, exact + np.diff(exact, append=0) / 2, exact * np.float32(1 + 2**-12)])
    values = np.concatenate([near, np.float32([7e4, -1e30, np.inf, np.nan, 65519.9, 65520, 1e-8, -2.9e-8])])
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    np.testing.assert_array_equal(cast(torch.from_numpy(values), torch.float16).numpy(), expected)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 300), st.just(3)), elements=st.floats(-80, 80, width=32)))
def test_sums_are_those_of_adding_row_after_row(values: np.ndarray) -> None:
    tokens = values.astype(np.float16)
    total, square = np.zeros(3), np.zeros(3)
    for row in tokens.astype(np.float64):
        total, square = total + row, square + row * row
    sums = Sums.of(tokens)
    np.testing.assert_array_equal(sums.total, total)
    np.testing.assert_array_equal(sums.square, square)


def test_sums_of_many_rows_are_added_in_pieces_with_the_same_bits() -> None:
    tokens = np.random.default_rng(0).normal(1, 2, (3001, 77)).astype(np.float16)
    exact = tokens.astype(np.float64)
    sums = Sums.of(tokens)
    np.testing.assert_array_equal(sums.total, exact.sum(0))
    np.testing.assert_array_equal(sums.square, np.einsum("nd,nd->d", exact, exact))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_sums_of_the_device_are_those_of_the_host(dtype: torch.dtype) -> None:
    tokens = (torch.randn(4, 2, 500, 6) * 3 + torch.tensor([0, 1, 50, 0, 0, 0])).to(dtype)
    tokens[..., 4] = 0.1
    tokens[..., 5] = 1000 + 0.5 * (torch.rand(4, 2, 500) < 0.5)
    total, square, about_mean = device_checks({"tokens": tokens})["tokens"].numpy()
    sums = Sums.of(tokens.flatten(0, -2).numpy())
    np.testing.assert_allclose(total, sums.total, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(square, sums.square, rtol=1e-12)
    np.testing.assert_allclose(about_mean, sums.about_mean, rtol=1e-9, atol=1e-9)
    assert about_mean[4] == 0
    expected = tokens.double().flatten(0, -2).numpy()
    for found in (sums, Sums(len(expected), total, square, about_mean)):
        mean, std = found.moments()
        np.testing.assert_allclose(mean, expected.mean(0), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(std, expected.std(0), rtol=1e-6, atol=1e-9)


def on_the_way(images: Sequence[str], fields: dict[str, torch.Tensor], checked: bool) -> Rows:
    """Rows as they leave the encoder: checked by the host, or as a device checks them."""
    if not checked:
        return Outlet(CPU, SHAPES, len(images), 1).send(images, fields)
    stored = {name: cast(fields[name], torch.from_numpy(np.empty(0, d)).dtype) for name, (_, d) in SHAPES.items()}
    return Rows(images, fields, stored, checks=device_checks(stored))


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name", ["tokens", "cls", "boxes"])
@pytest.mark.parametrize("bad", [np.nan, -np.inf, 7e4])
def test_what_cannot_be_stored_names_image_view_and_channel(name: str, bad: float, checked: bool) -> None:
    fields = fields_of(3)
    fields[name][1, 1, ..., 2] = bad
    if name == "boxes" and bad == 7e4:
        assert on_the_way(["a", "b", "c"], fields, checked).wait().fields["boxes"][1, 1, 2] == bad
        return
    kind = "float32" if name == "boxes" else "float16"
    said = f"image b, view 1, channel 2: {name} is {bad}, which {kind} cannot hold; set extract.dtype to float32"
    with pytest.raises(UserError, match=said):
        on_the_way(["a", "b", "c"], fields, checked).wait()


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("parts", [1, 3, 8])
def test_a_shard_holds_rows_sums_and_checksums(tmp_path: Path, checked: bool, parts: int) -> None:
    sizes, path = (4, 1, 2), tmp_path / "0000.h5"
    batches = [fields_of(size, seed) for seed, size in enumerate(sizes)]
    ids = [[f"{seed:015x}{row}" for row in range(size)] for seed, size in enumerate(sizes)]
    with ThreadPoolExecutor(3) as pool, ShardWriter(path, "content", sum(sizes), SHAPES, pool, parts) as writer:
        for images, fields in zip(ids, batches, strict=True):
            assert not writer.full
            writer.append(on_the_way(images, fields, checked).wait())
        assert writer.full
        assert not path.exists()
    expected = {n: torch.cat([b[n] for b in batches]).numpy().astype(d) for n, (_, d) in SHAPES.items()}
    with h5py.File(path) as shard:
        for name, values in expected.items():
            np.testing.assert_array_equal(shard[name][:], values)
            assert shard[name].id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        assert images_of(shard) == [image for images in ids for image in images]
        crc = [row_crc({name: shard[name][row] for name in FIELDS}) for row in range(sum(sizes))]
        assert shard["crc"][:].tolist() == crc
        tokens = expected["tokens"].reshape(-1, 3).astype(np.float64)
        np.testing.assert_allclose(shard["sum"], tokens.sum(0), rtol=1e-12)
        np.testing.assert_allclose(shard["square_sum_about_mean"][:] / len(tokens), tokens.var(0), rtol=1e-9)
        assert shard.attrs["count"] == len(tokens)
        assert shard.attrs["complete"]
    assert damaged_rows(path, FIELDS) == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_takes_a_part_only_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(writer_module.os, "pwrite", lambda file, data, start: whole(file, data[:7], start))
    fields = fields_of(2)
    with ShardWriter(tmp_path / "0000.h5", "content", 2, SHAPES) as writer:
        writer.write(["a" * 16, "b" * 16], {name: value.numpy() for name, value in fields.items()})
    assert damaged_rows(tmp_path / "0000.h5", FIELDS) == []


class Ready:
    """An encoder that hands over tensors that are there already."""

    device, patch, dim, heads, block, read, class_token = CPU, 16, 6, 2, 0, (0, True), True

    def grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.patch, width // self.patch

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float().mean(1)

    def __call__(self, means: torch.Tensor) -> Encoded:
        value = means[:, None, None]
        return Encoded(value.expand(-1, 4, 6).clone(), value[:, 0].expand(-1, 6), value.expand(-1, 2, 4))


def ready(folder: Path, images: int) -> tuple[dict[int, list[str]], ShardRows]:
    """Shards of three images each, and what their rows are made from."""
    vit: Any = Ready()
    paths = {f"{i:016x}": folder / f"{i}.png" for i in range(images)}
    for i, file in enumerate(paths.values()):
        Image.new("RGB", (40, 30), (7 * i, 80, 90)).save(file)
    recipe, ids = make_recipe("whole", {"size": 32}, 16), list(paths)
    parts = {i: ids[3 * i : 3 * i + 3] for i in range(-(-images // 3))}
    return parts, ShardRows(paths, vit, recipe, row_shapes(vit, recipe, HALF), "content")


def test_workers_and_queue_keep_the_order_of_rows(tmp_path: Path) -> None:
    parts, rows = ready(tmp_path, 13)
    for name, workers, batch in (("one", 1, 4), ("two", 2, 8)):
        (tmp_path / name).mkdir()
        fill(tmp_path / name, parts, rows, batch, workers=workers)
    names = [f"{i:04d}.h5" for i in parts]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == names
    for name in names:
        with h5py.File(tmp_path / "one" / name) as one, h5py.File(tmp_path / "two" / name) as three:
            for field in one:
                if one[field].shape == (6,):  # sums, which other batches round otherwise
                    np.testing.assert_allclose(three[field][:], one[field][:], rtol=1e-12, atol=1e-9)
                else:
                    np.testing.assert_array_equal(three[field][:], one[field][:])
            assert one["tokens"][0, 0, 0, 0] == round((7 * int(images_of(one)[0], 16) + 80 + 90) / 3, 3)


def test_a_bounded_number_of_batches_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, rows = ready(tmp_path, 12)
    sent, written = [0], [0]
    most: list[int] = []
    send, append = Outlet.send, ShardWriter.append

    def count_sent(self: Outlet, *arguments: Any) -> Rows:
        sent[0] += 1
        most.append(sent[0] - written[0])
        return send(self, *arguments)

    def slow(self: ShardWriter, stored: Any) -> None:
        time.sleep(0.02)
        append(self, stored)
        written[0] += 1

    monkeypatch.setattr(Outlet, "send", count_sent)
    monkeypatch.setattr(ShardWriter, "append", slow)
    fill(tmp_path, parts, rows, 4)
    assert written == [12]
    assert 1 < max(most) <= WAITING["cpu"] + 1


def test_a_full_disk_leaves_whole_shards_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, rows = ready(tmp_path, 9)
    folder = tmp_path / "bank"
    folder.mkdir()
    write = writer_module._write_at
    calls = [0]

    def full(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] > 20:  # in the second shard: five fields a row
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(writer_module, "_write_at", full)
    with pytest.raises(OSError, match="No space left"):
        fill(folder, parts, rows, 4)
    assert [path.name for path in folder.iterdir()] == ["0000.h5"]
    assert damaged_rows(folder / "0000.h5", ("tokens", "cls", "cls_attention", "boxes", "flip", "image")) == []


def test_a_shard_stays_open_until_all_rows_of_a_failed_write_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that is closed before may be another file's when the late rows are written."""
    parts, rows = ready(tmp_path, 3)
    folder = tmp_path / "bank"
    folder.mkdir()
    begun, closed = threading.Barrier(3), []

    def fail(descriptor: int, *_: Any) -> None:
        if begun.wait(10) > 0:  # one of three rows fails at once
            time.sleep(0.1)
            try:
                os.fstat(descriptor)
            except OSError:
                closed.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer_module, "_write_at", fail)
    with pytest.raises(OSError, match="No space left"):
        fill(folder, parts, rows, 12)
    assert closed == []
    assert list(folder.iterdir()) == []


def test_an_unreadable_image_leaves_whole_shards_only(tmp_path: Path) -> None:
    parts, rows = ready(tmp_path, 6)
    folder = tmp_path / "bank"
    folder.mkdir()
    rows.paths[parts[1][1]].write_bytes(b"no picture")
    with pytest.raises(UserError, match=rows.paths[parts[1][1]].name):
        fill(folder, parts, rows, 4)
    assert {path.name for path in folder.iterdir()} <= {"0000.h5"}


KILLED = """
import os, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from bank_factory import extract_all
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.writer import ShardWriter
append, rows = ShardWriter.append, [0]
def count(self, stored):
    append(self, stored)
    rows[0] += len(stored.images)
    if rows[0] == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
ShardWriter.append = count
extract_all(Path(sys.argv[1]), ExtractSettings("whole", {"size": 64}, images_per_shard=3, batch_tokens=16))
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("rows", [1, 4, 7, 9])
def test_a_kill_in_the_middle_loses_the_shard_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    make_images(tmp_path, 10)
    arguments = [str(tmp_path), str(Path(__file__).parents[1]), str(rows)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True)
    assert done.returncode == -9
    complete = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bank").rglob("0*.h5")}
    computed: list[str] = []
    monkeypatch.setattr(
        fill_module, "ShardWriter", lambda path, *rest: (computed.append(path.name), ShardWriter(path, *rest))[1]
    )
    extract_all(tmp_path, ExtractSettings("whole", {"size": 64}, images_per_shard=3, batch_tokens=16))
    shards = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "bank").rglob("0*.h5")}
    assert set(computed) == set(shards) - set(complete)
    assert complete.items() <= shards.items()
    held = 0
    for path in (tmp_path / "bank").rglob("0*.h5"):
        with h5py.File(path) as shard:
            held += len(shard["image"]) if path.name in complete else 0
    assert rows - held <= 10 // len(shards) + 3  # of one shard
    assert not list((tmp_path / "bank").rglob(".*"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_rows_from_a_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    outlet = Outlet(torch.device("cuda"), SHAPES, 4, 3)
    for seed in range(9):  # buffers come back
        fields = fields_of(3, seed)
        found = outlet.send(list("abc"), {name: value.cuda() for name, value in fields.items()})
        one, other = on_the_way(list("abc"), fields, False).wait(), found.wait()
        for name in SHAPES:
            np.testing.assert_array_equal(other.fields[name], one.fields[name])
        assert one.sums is not None
        assert other.sums is not None
        np.testing.assert_allclose(other.sums.total, one.sums.total, rtol=1e-12)
        np.testing.assert_allclose(other.sums.square, one.sums.square, rtol=1e-12)
        found.done()
