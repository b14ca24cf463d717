"""Small banks: int8 tokens, what they are fitted on, and that everything that reads a bank is given tokens."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from bank_factory import TINY, extract_all, make_images
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchbank import open_bank
from patchbank.bank import coding_fit
from patchbank.bank import fill as fill_module
from patchbank.bank.coding import Coding
from patchbank.bank.coding_fit import fit
from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.format import content_hash
from patchbank.bank.predecessors import BY_VALUES, same_values
from patchbank.bank.settings import CodingSettings
from patchbank.bank.spread import extract_on
from patchbank.bank.statistics import compute_statistics
from patchbank.bank.stored import Outlet, device_checks
from patchbank.bank.verify import describe_bank, verify_bank
from patchbank.bank.writer import ShardWriter
from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.methods.alignseg import batches as alignseg_batches
from patchbank.methods.tools.batches import Batch

WHOLE = ExtractSettings("whole", {"size": 32}, images_per_shard=4, batch_tokens=64)
CODING = CodingSettings("train", {"size": 32})
SMALL = replace(WHOLE, dtype="int8", coding=CODING)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coding")
    torch.set_num_threads(1)  # as processes that share an extraction have; bits are those of a number of threads
    make_images(folder, 9)
    for name, how in (("exact", replace(WHOLE, dtype="float32")), ("small", SMALL)):
        for split in ("train", "val"):
            pointer = extract_all(folder, how, split)
            pointer.rename(folder / f"{split}-{name}.json")
    return folder


def tokens_of(pointer: Path) -> np.ndarray:
    bank = open_bank(pointer, check=True)
    tokens: np.ndarray = bank.read(np.arange(len(bank)), ("tokens",))["tokens"]
    return tokens


def by_hand(token: float, centre: float, step: float) -> int:
    """The nearest whole number of steps from the centre, of two the even one, at most 127."""
    return max(-127, min(127, round(float(np.float32(np.float32(token) - np.float32(centre)) / np.float32(step)))))


FLOATS = st.floats(-1000, 1000, width=32)


@settings(max_examples=25)
@given(hnp.arrays(np.float32, (5, 3), elements=FLOATS), hnp.arrays(np.float32, 3, elements=FLOATS),
       hnp.arrays(np.float32, 3, elements=st.floats(0.0009765625, 10, width=32)))  # fmt: skip
def test_codes_are_the_nearest_steps_and_tokens_are_read_back(
    tokens: np.ndarray, centre: np.ndarray, step: np.ndarray
) -> None:
    coding = Coding(None, centre, step)
    codes = coding.encode(torch.from_numpy(tokens.copy()))
    expected = [[by_hand(t, c, s) for t, c, s in zip(row, centre, step, strict=True)] for row in tokens]
    assert codes.tolist() == expected
    read = coding.decode(codes)
    inside = np.abs(tokens - centre) <= 127 * step
    error = np.abs(read.numpy() - tokens)
    assert (error <= 0.5 * step * (1 + 1e-5) + 1e-6 * (np.abs(tokens) + np.abs(centre)) + 1e-6)[inside].all()
    out = np.empty_like(tokens)
    coding.decode_into(codes.numpy(), out)
    np.testing.assert_array_equal(out, read.numpy())


def test_steps_reach_to_the_furthest_token_of_the_sample() -> None:
    tokens = np.float32([[1, 5, 0], [3, 5, 0], [8, 5, 254]])
    coding = fit(tokens)
    assert coding.centre is not None
    assert coding.step is not None
    np.testing.assert_allclose(coding.centre, [4, 5, 254 / 3])
    np.testing.assert_allclose(coding.step, [4 / 127, 1, 254 * 2 / 3 / 127])
    assert coding.encode(torch.tensor([[0.0, 5, 10], [100.0, 6, 254]])).tolist() == [[-127, 0, -56], [127, 1, 127]]


def test_parts_are_named_in_a_shard_and_hashed() -> None:
    coding = Coding(np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32), np.ones(2, np.float32))
    assert sorted(coding.arrays) == ["token_centre", "token_directions", "token_step"]
    assert Coding.of(coding.arrays).sha256 == coding.sha256
    assert Coding(None, coding.centre, coding.step).sha256 != coding.sha256
    assert Coding(coding.directions).project(torch.tensor([[3.0, 4, 5]])).tolist() == [[3, 4]]


def test_readers_are_given_tokens(world: Path) -> None:
    exact, small = open_bank(world / "train-exact.json"), open_bank(world / "train-small.json")
    assert (small.dtype, small.dim, small.grid, small.fields) == (np.float32, exact.dim, exact.grid, exact.fields)
    wanted, given_ = tokens_of(world / "train-exact.json"), tokens_of(world / "train-small.json")
    with h5py.File(min(small.folder.glob("0*.h5")), "r") as shard:
        coding = Coding.of(shard)
        assert (shard["tokens"].dtype, shard["cls"].dtype) == (np.int8, np.float16)
    assert coding.step is not None
    assert (np.abs(wanted - given_) <= 0.5 * coding.step * (1 + 1e-3)).all()  # all of train are in the sample
    assert np.abs((given_ - coding.centre) / coding.step).round(3).max() == 127
    np.testing.assert_array_equal(small[3]["tokens"].numpy(), given_[3])
    buffer = np.empty((2, *given_.shape[1:]), np.float32)
    assert small.read([4, 1], ("tokens",), {"tokens": buffer})["tokens"] is buffer
    np.testing.assert_array_equal(buffer, given_[[4, 1]])
    exact_others, others = (bank.read(range(9), ("cls", "boxes")) for bank in (exact, small))
    np.testing.assert_array_equal(others["cls"], exact_others["cls"].astype(np.float16))
    np.testing.assert_array_equal(others["boxes"], exact_others["boxes"])


def test_codes_of_a_bank_that_stays_on_a_device_are_decoded_there(world: Path) -> None:
    small = open_bank(world / "train-small.json")
    batches = [Batch(0, 0, False, np.array([1, 4, 5])), Batch(0, 1, True, np.array([0, 2, 8]))]
    device = torch.device("cpu")
    streamed = [tokens.clone() for _, tokens, _ in alignseg_batches._streamed(small, batches, None, device)]
    resident = [tokens for _, tokens, _ in alignseg_batches._resident(small, batches, None, device)]
    assert alignseg_batches._resident_dtype(small) == torch.int8
    for one, other in zip(resident, streamed, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_other_splits_and_recipes_are_coded_as_the_training_images(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "w")
    made = [world / "train-small.json", world / "val-small.json"]
    made += [extract_all(tmp_path / "w", replace(SMALL, recipe=recipe)) for recipe in ("flipped", "multicrop")]
    banks = [open_bank(pointer) for pointer in made]
    assert len({bank.record["coding"]["sha256"] for bank in banks}) == 1
    assert len(list((tmp_path / "w" / "bank").rglob("coding/*.npz"))) == 1
    record = read_json(extract_all(tmp_path / "w", replace(SMALL, recipe="lastblock")))["record"]
    assert ("coding" in record, record["dtype"]) == (False, "float16")  # it holds no tokens


def test_statistics_are_those_of_the_tokens_that_readers_get(world: Path, tmp_path: Path) -> None:
    statistics = compute_statistics(world / "train-small.json", tmp_path / "s.npz")
    tokens = tokens_of(world / "train-small.json").reshape(-1, 192).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, tokens.mean(0), atol=1e-9)
    np.testing.assert_allclose(statistics.std, tokens.std(0), rtol=1e-9)


def test_a_small_bank_is_verified_with_what_it_is_coded_with(world: Path, tmp_path: Path) -> None:
    bank = open_bank(world / "train-small.json")
    assert verify_bank(bank.folder) == 9
    assert "tokens stored as int8, fitted on train" in describe_bank(bank.folder)
    shutil.copytree(bank.folder, tmp_path / "bank")
    shard = min((tmp_path / "bank").glob("0*.h5"))
    with h5py.File(shard, "r+") as file:
        file["token_step"][3] *= 2
    with pytest.raises(
        UserError, match=rf"(?s){shard.name}: what its tokens are coded with .*Delete {shard.name} of it"
    ):
        verify_bank(tmp_path / "bank")
    with h5py.File(bank.folder / "bank.h5", "r") as joined:
        read = joined["tokens"][:] * joined["token_step"][:] + joined["token_centre"][:]
    np.testing.assert_array_equal(read.astype(np.float32), tokens_of(world / "train-small.json"))


def test_the_coding_is_a_part_of_what_a_bank_is(world: Path) -> None:
    record = open_bank(world / "train-small.json").record
    other = {**record, "coding": {**record["coding"], "sha256": "0"}}
    assert len({content_hash(one) for one in (record, other, {**record, "dtype": "float16"})}) == 3
    assert len(same_values(record)) == 1 + len(BY_VALUES["whole"])


def test_the_same_bytes_again_and_no_fit_where_one_is_there(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("bank", "*small*", "*exact*"))
    extract_all(tmp_path / "w", SMALL)
    ours, again = open_bank(world / "train-small.json"), open_bank(tmp_path / "w" / "whole.json")
    assert ours.folder.name == again.folder.name
    for shard in ours.folder.glob("0*.h5"):
        assert shard.read_bytes() == (again.folder / shard.name).read_bytes()
    monkeypatch.setattr(coding_fit, "fit", lambda _: pytest.fail("fitted again"))
    make_images(tmp_path / "w", 1, start=70)
    monkeypatch.setattr(coding_fit, "IMAGES", 0)  # another sample than that of the file
    with pytest.raises(UserError, match=r"extract\.dtype: int8, pca: 0 is fitted on images of train, which has none"):
        extract_all(tmp_path / "w", SMALL)


def test_who_needs_a_coding_that_another_one_fits_waits_and_takes_it(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("bank", "*small*", "*exact*"))
    (made,) = world.rglob("coding/*.npz")
    monkeypatch.setattr(coding_fit, "fit", lambda *_: pytest.fail("fitted twice"))

    @contextmanager
    def waited(file: Path, what: str) -> Iterator[bool]:
        assert what == file.name == made.name
        assert not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, file)
        yield True

    monkeypatch.setattr(coding_fit, "alone", waited)
    ours, again = open_bank(world / "train-small.json"), open_bank(extract_all(tmp_path / "w", SMALL))
    assert ours.folder.name == again.folder.name


def test_an_image_outside_the_sample_computes_its_shard_alone(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world, tmp_path / "w")
    monkeypatch.setattr(coding_fit, "IMAGES", 2)
    before = open_bank(extract_all(tmp_path / "w", SMALL))
    computed: list[str] = []
    monkeypatch.setattr(
        fill_module, "ShardWriter", lambda path, *rest: (computed.append(path.name), ShardWriter(path, *rest))[1]
    )
    number = 100
    while make_images(tmp_path / "w", 1, start=number)[0] < before.images[1]:
        number += 1
    extract_all(tmp_path / "w", SMALL)
    assert len(computed) == 1
    assert verify_bank(open_bank(tmp_path / "w" / "whole.json").folder) == 10


@pytest.mark.exhaustive
def test_blocks_of_one_pass_have_codings_of_their_own(world: Path, tmp_path: Path) -> None:
    files = (world / "weights.safetensors", world / "weights.json")
    found = {}
    for block, other in ((2, 0), (0, 2)):
        spec = replace(TINY, block=block, blocks=((other, TINY.norm),))
        extract(ExtractJob(world / "manifest.json", "train", spec, *files, SMALL, tmp_path, tmp_path / "p", threads=1))
        finish([tmp_path / "p"], world / "manifest.json", tmp_path / f"{block}.json")
        found[block] = open_bank(tmp_path / f"{block}.json")
        alone = tmp_path / "alone"
        spec = replace(TINY, block=block)
        extract(ExtractJob(world / "manifest.json", "train", spec, *files, SMALL, alone, tmp_path / "p", threads=1))
        finish([tmp_path / "p"], world / "manifest.json", tmp_path / f"alone{block}.json")
        np.testing.assert_array_equal(tokens_of(tmp_path / f"{block}.json"), tokens_of(tmp_path / f"alone{block}.json"))
    assert found[0].record["coding"]["sha256"] != found[2].record["coding"]["sha256"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_stops_and_is_named(bad: float) -> None:
    coding = Coding(None, np.zeros(3, np.float32), np.ones(3, np.float32))
    shapes = coding.shapes({"tokens": ((1, 2, 3), np.dtype(np.float16))}, "int8")
    tokens = torch.zeros(2, 1, 2, 3)
    assert Outlet(torch.device("cpu"), shapes, 2, 1, coding).send(["aaaa", "bbbb"], {"tokens": tokens}).wait().sums
    tokens[1, 0, 1, 2] = bad
    rows = Outlet(torch.device("cpu"), shapes, 2, 1, coding).send(["aaaa", "bbbb"], {"tokens": tokens})
    with pytest.raises(UserError, match=f"image bbbb, view 0, channel 2: tokens is {bad}, which int8 cannot hold"):
        rows.wait()
    assert device_checks({"tokens": rows._given})["tokens"].isfinite().all() == False  # noqa: E712


@pytest.mark.exhaustive
def test_devices_of_a_host_code_alike(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBANK_DEVICES", "0,1")
    files = (world / "weights.safetensors", world / "weights.json")
    job = ExtractJob(world / "manifest.json", "train", TINY, *files, SMALL, tmp_path / "b", tmp_path / "p", threads=2)
    extract_on(job, 2)
    finish([tmp_path / "p"], world / "manifest.json", tmp_path / "spread.json")
    np.testing.assert_array_equal(tokens_of(tmp_path / "spread.json"), tokens_of(world / "train-small.json"))


@pytest.mark.exhaustive
def test_a_folder_becomes_a_small_bank_without_a_workflow(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures, weights = world / "data" / "images" / "train", world / "weights.safetensors"
    model = ["--model", TINY.model, "--file", str(weights), "--size", "32", "--block", "1", "--no-norm"]
    assert main(["extract", str(pictures), "--out", "out", *model, "--dtype", "int8"]) == 0
    capsys.readouterr()
    bank = open_bank("out/train-b1.json", check=True)
    assert (bank.record["dtype"], bank.record["coding"]["fitted_on"], bank.dtype) == ("int8", "train", np.float32)


def test_directions_are_those_that_hold_most_of_the_tokens_by_hand() -> None:
    """Tokens on two axes and far from the origin along one of them: that one first, and no centring."""
    tokens = np.float32([[10, 0, 1, 0], [10, 0, -1, 0], [10, 0, 2, 0], [10, 0, -2, 0]])
    coding = fit(tokens, 2, int8=False)
    assert (coding.centre, coding.step) == (None, None)
    np.testing.assert_allclose(coding.directions, [[1, 0, 0, 0], [0, 0, 1, 0]], atol=1e-6)
    kept = coding.project(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(kept @ kept.T, tokens @ tokens.T, rtol=1e-5)


@given(hnp.arrays(np.float32, (12, 6), elements=st.floats(-10, 10, width=16)), st.integers(1, 6))
@settings(max_examples=25)
def test_no_other_directions_hold_more(tokens: np.ndarray, count: int) -> None:
    directions = fit(tokens, count, int8=False).directions
    assert directions is not None
    np.testing.assert_allclose(directions @ directions.T, np.eye(count), atol=1e-4)
    held = float(np.square(tokens.astype(np.float64) @ directions.T.astype(np.float64)).sum())
    best = float((np.linalg.svd(tokens.astype(np.float64), compute_uv=False)[:count] ** 2).sum())
    np.testing.assert_allclose(held, best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_bank_of_directions_gives_their_coordinates(dtype: str, world: Path, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns("bank"))
    reduced = replace(SMALL, dtype=dtype, coding=replace(CODING, pca=5))
    bank = open_bank(extract_all(tmp_path / "w", reduced, "val"), check=True)
    assert (bank.dim, bank.record["coding"]["pca"], bank.record["dtype"]) == (5, 5, dtype)
    assert verify_bank(bank.folder) == 9
    assert f"5 directions of tokens stored as {dtype}, fitted on train" in describe_bank(bank.folder)
    with h5py.File(min(bank.folder.glob("0*.h5")), "r") as shard:
        coding = Coding.of(shard)
    expected = coding.project(torch.from_numpy(tokens_of(world / "val-exact.json"))).numpy()
    error = 0.002 * np.abs(expected) + 1e-3 if coding.step is None else coding.step * 0.51
    inside = np.abs(expected) < 1e9 if coding.step is None else np.abs(expected - coding.centre) < 127 * coding.step
    given_ = bank.read(np.arange(9), ("tokens",))["tokens"]
    assert (np.abs(given_ - expected) <= error)[inside].all()
    for wide in (192, 193):  # nor all of them: their coordinates would be taken for the tokens
        with pytest.raises(UserError, match=rf"extract\.pca is {wide}, and tokens of tiny have a width of 192"):
            extract_all(tmp_path / "w", replace(SMALL, coding=replace(CODING, pca=wide)))
