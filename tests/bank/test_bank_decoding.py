"""How many processes decode: beside a GPU, beside an encoder on the same cores, in little shared memory."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bank_factory import extract_all, make_images

import patchbank.bank.extract as extract_module
from patchbank.bank import decoding, fill
from patchbank.bank.decoding import decoders
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.errors import UserError
from patchbank.views.base import make_recipe

WHOLE = ExtractSettings("whole", {"size": 64}, images_per_shard=4, batch_tokens=32)


def test_an_encoder_on_many_cores_is_fed_by_several() -> None:
    assert [decoders(torch.device("cpu"), threads) for threads in (1, 2, 7, 8, 16, 64)] == [1, 1, 1, 2, 3, 9]
    assert [decoders(torch.device("cuda"), threads) for threads in (1, 2, 16, 64)] == [1, 1, 15, 16]


@pytest.mark.parametrize(("free", "expected"), [(10**9, 4), (150_000, 3), (0, 1)])
def test_as_many_decode_as_shared_memory_has_room_for(
    free: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two pictures of 64 x 64 bytes in three colours a batch, two batches a process: 49,152 bytes."""
    monkeypatch.setattr(decoding, "SHARED", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with caplog.at_level(logging.WARNING):
        assert decoding._sharing(4, make_recipe("whole", {"size": 64}, 16), 2) == expected
    told = f"{expected} processes decode in place of 4: {tmp_path} has room for no more"
    assert (told in caplog.text) == (expected < 4)


def test_several_processes_make_the_bank_that_one_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for name, count in (("one", 1), ("three", 3)):
        monkeypatch.setattr("patchbank.bank.fill.decoders", lambda *_, count=count: count)
        make_images(tmp_path / name, 9)
        made.append(open_bank(extract_all(tmp_path / name, WHOLE)).folder)
    one, three = ([path.read_bytes() for path in sorted(folder.glob("0*.h5"))] for folder in made)
    assert len(one) > 1
    assert one == three


def test_a_device_without_enough_memory_says_which_number_to_halve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_images(tmp_path, 2)

    def small(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(extract_module, "fill_blocks", small)
    with pytest.raises(UserError, match=r"out of memory on cpu with extract.batch_tokens: 32, .* 2 GiB.*; halve it"):
        extract_all(tmp_path, WHOLE)


def test_decoding_ends_behind_an_error_whose_traceback_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its processes outlive the extraction, and the end of this process may wait for them for ever."""
    make_images(tmp_path, 6)
    ended: list[bool] = []
    made = fill.image_batches

    class Watched:
        def __init__(self, loader: Any) -> None:
            self.loader = loader

        def __iter__(self) -> Iterator[Any]:
            try:
                yield from self.loader
            finally:
                ended.append(True)

    def refuse(*_: Any) -> None:
        raise UserError("the encoder broke")

    monkeypatch.setattr(fill, "image_batches", lambda *given, **named: Watched(made(*given, **named)))
    monkeypatch.setattr(fill, "encode_rows", refuse)
    # as on a GPU, whose batches are asked for one by one and do not end with who asks
    monkeypatch.setattr(fill, "uploaded", lambda batches, device: (batch for batch in batches))
    with pytest.raises(UserError, match="the encoder broke") as caught:
        extract_all(tmp_path, ExtractSettings("whole", {"size": 64}, images_per_shard=3))
    assert caught.value.__traceback__ is not None
    assert ended == [True]
