"""Pictures of more than 8 bits, of floats, of many bands: what is read, how it is scaled, what a bank knows of it."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from patchbank.bank.format import content_hash
from patchbank.bank.record import make_record
from patchbank.datasets.depth import Deep, Treatment
from patchbank.datasets.images import decode_image, read_size
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import examine, scan
from patchbank.datasets.spec import make_spec
from patchbank.datasets.unusable import Unusable
from patchbank.errors import UserError

RANDOM = np.random.default_rng(0)
TWELVE = np.clip(RANDOM.normal(1800, 700, (48, 40)), 0, 4095).astype(np.uint16)
"""12-bit values in 16 bits."""


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def pixels(data: bytes, treatment: Treatment | None = None) -> NDArray[np.uint8]:
    return np.asarray(decode_image(data, treatment or Treatment()).image)


def by_percentile(values: NDArray[Any]) -> NDArray[np.float64]:
    """(H, W, 3) from (H, W) or (H, W, 3), as one would write it down."""
    values = values.astype(np.float64).reshape(*values.shape[:2], -1)
    low, high = np.percentile(values, [2, 98], axis=(0, 1))
    exact = np.clip((values - low) / (high - low), 0, 1) * 255
    return np.broadcast_to(exact, (*exact.shape[:2], 3))


TYPES = ("uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
STORAGE: dict[str, dict[str, Any]] = {
    "big-endian": {"byteorder": ">"},
    "deflate with predictor": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
    "tiles": {"tile": (16, 16)},
    "strips of 5 rows": {"rowsperstrip": 5, "compression": "zlib"},
    "BigTIFF": {"bigtiff": True},
}


@pytest.mark.parametrize(("dtype", "storage"), list(itertools.product(TYPES, STORAGE)))
def test_every_type_and_storage_is_read(tmp_path: Path, dtype: str, storage: str) -> None:
    values = TWELVE.astype(dtype)
    data = tiff(values, **STORAGE[storage])
    np.testing.assert_allclose(pixels(data), by_percentile(values), atol=0.51)
    (tmp_path / "a.tif").write_bytes(data)
    assert read_size(tmp_path / "a.tif", indexed=False) == (40, 48)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 13])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_bands(count: int, planar: str, dtype: str) -> None:
    values = np.stack([np.roll(TWELVE, 3 * band, 1) for band in range(count)], -1)
    values = (values >> 4).astype(np.uint8) if dtype == "uint8" else values
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    data = tiff(stored, planarconfig=planar, photometric="rgb" if count == 3 else "minisblack")
    chosen = values[..., :3] if count >= 3 else values[..., 0]
    if dtype == "uint8" and count != 4:  # a fourth band of 8 bits is transparency for Pillow, as ever
        np.testing.assert_array_equal(pixels(data), np.broadcast_to(chosen.reshape(48, 40, -1), (48, 40, 3)))
    elif dtype == "uint16":
        np.testing.assert_allclose(pixels(data), by_percentile(chosen), atol=0.51)
    if count > 3:
        picked = pixels(data, Treatment("minmax", bands=(4, 2, 1)))
        exact = values[..., [3, 1, 0]].astype(float)
        exact = (exact - exact.min((0, 1))) / np.ptp(exact, axis=(0, 1)) * 255
        np.testing.assert_allclose(picked, exact, atol=0.51)
    with pytest.raises(Unusable, match="names band 14"):
        pixels(data, Treatment(bands=(14,)))


def test_white_is_zero_orientation_and_no_data() -> None:
    inverted = tiff(TWELVE, photometric="miniswhite")
    np.testing.assert_allclose(pixels(inverted), 255 - by_percentile(TWELVE), atol=0.51)
    turned = tiff(TWELVE, extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(pixels(turned), np.rot90(pixels(tiff(TWELVE)), -1))
    holes = TWELVE.copy()
    holes[:20] = 65_000
    without = pixels(tiff(holes, extratags=[(42113, 2, 0, "65000", True)]))
    assert not without[:20].any()
    np.testing.assert_allclose(without[20:], by_percentile(TWELVE[20:]), atol=0.51)
    floats = holes.astype(np.float32)
    floats[:20] = np.nan
    np.testing.assert_array_equal(pixels(tiff(floats)), without)
    assert not pixels(tiff(np.full((8, 8), np.inf, np.float32))).any()


def test_overviews_are_no_pages() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(TWELVE, subifds=0)
        file.write(TWELVE[::2, ::2], subfiletype=1)
    np.testing.assert_allclose(pixels(buffer.getvalue()), by_percentile(TWELVE), atol=0.51)
    with pytest.raises(Unusable, match="holds 3 frames"):
        pixels(tiff(np.stack([TWELVE] * 3), photometric="minisblack"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tiff(TWELVE.astype(np.complex64)), "type complex64"),
        (tiff(np.stack([TWELVE] * 4, -1), photometric="separated"), "colour model SEPARATED in 16 bits"),
        (tiff(TWELVE)[:2000], "truncated or damaged"),
        (tiff(TWELVE, compression="zlib")[:-900], "truncated or damaged|header"),
    ],
)
def test_others_are_refused_in_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(Unusable, match=says) as caught:
        pixels(data)
    assert "\n" not in str(caught.value)


def test_a_codec_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    data = tiff(TWELVE, compression="lzw")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", absent)
    with pytest.raises(
        Unusable, match=r"compressed by LZW, which needs imagecodecs: pip install 'patchbank\[images\]'"
    ):
        pixels(data)


def test_scales() -> None:
    data = tiff(TWELVE)
    full = pixels(data, Treatment("full"))[..., 0].astype(int)
    assert np.abs(full - TWELVE / 257).max() <= 0.51
    window = pixels(data, Treatment("window", window=(1000, 2000)))[..., 0]
    np.testing.assert_allclose(window, np.clip((TWELVE - 1000.0) / 1000, 0, 1) * 255, atol=0.51)
    assert np.ptp(pixels(data, Treatment("minmax"))) == 255
    photograph = RANDOM.integers(60, 190, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(photograph).save(buffer, "PNG")
    np.testing.assert_array_equal(pixels(buffer.getvalue()), photograph)  # 8 bits stay as they are
    np.testing.assert_array_equal(pixels(buffer.getvalue(), Treatment("full")), photograph)
    assert np.ptp(pixels(buffer.getvalue(), Treatment("minmax"))) == 255
    assert not Deep(np.full((2, 2, 1), 7, np.uint16)).to_bytes(Treatment()).any()


@pytest.mark.parametrize(
    "depth", [{"scale": "window"}, {"window": [1, 2]}, {"scale": "window", "window": [2, 1]}, {"bands": [1, 2]}]
)
def test_values_that_contradict_each_other(tmp_path: Path, depth: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="own: depth has"):
        make_spec("own", "folder", tmp_path, depth=depth)


def deep_set(folder: Path, *pictures: NDArray[Any], suffix: str = ".tif") -> Path:
    folder.mkdir()
    for number, values in enumerate(pictures):
        path = folder / f"{number}{suffix}"
        path.write_bytes(tiff(values)) if suffix == ".tif" else Image.fromarray(values).save(path)
    return folder


def test_black_and_white_are_the_sets(tmp_path: Path) -> None:
    pictures = [TWELVE, TWELVE // 4, TWELVE[:20]]
    folder = deep_set(tmp_path / "set", *pictures)
    found = examine(make_spec("own", "folder", folder), workers=1, memory=tmp_path / "memory")
    manifest = found.manifest
    assert manifest is not None
    assert manifest.depth is not None
    ((low, high),) = manifest.depth.ranges["uint16x1"]
    each = np.concatenate([np.percentile(one, np.linspace(0, 100, 101)) for one in pictures])
    assert (low, high) == tuple(np.percentile(each, [2, 98]))
    assert any(
        note.startswith("3 pictures have more than 8 bits") and "over the set (uint16" in note for note in found.notes
    )
    manifest.save(tmp_path / "manifest.json")
    again = Manifest.load(tmp_path / "manifest.json")
    assert again == manifest
    for entry in again.entries("val"):
        values = pictures[int(entry.image[0])]
        exact = np.clip((values - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(np.asarray(again.image(entry))[..., 0], exact, atol=0.51)
    assert examine(make_spec("own", "folder", folder), workers=1, memory=tmp_path / "memory") == found
    other = make_spec("own", "folder", folder, depth={"scale": "minmax"})
    ranges = scan(other, workers=1, memory=tmp_path / "memory").depth
    assert ranges is not None
    assert ranges.ranges["uint16x1"] == [(float((TWELVE // 4).min()), float(TWELVE.max()))]
    alone = scan(make_spec("own", "folder", folder, depth={"per": "image"}), workers=1).depth
    assert alone is not None
    assert not alone.ranges


def test_a_picture_without_data_moves_no_black_and_white() -> None:
    holes = np.zeros((48, 40), dtype=np.bool_)
    pictures = [
        Deep(TWELVE[..., None] + 900.0),
        Deep(np.full((8, 8, 1), np.nan)),
        Deep(np.ones((8, 8, 1)), holes[:8, :8]),
    ]
    told = [(picture.kind, picture.quantiles()) for picture in pictures]
    assert told[1:] == [("float64x1", ((),))] * 2
    pooled = Treatment().over(told)
    assert pooled == Treatment().over(told[:1])
    assert pooled.ranges["float64x1"][0][0] >= 900
    assert not pictures[1].to_bytes(pooled).any()
    nothing = Treatment().over(told[1:])
    assert nothing.ranges == {"float64x1": [(0.0, 0.0)]}
    for treatment in (nothing, Treatment(per="image"), Treatment("minmax")):
        assert not pictures[1].to_bytes(treatment).any()


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float16", "float64"])
def test_strips_have_the_bits_of_the_whole(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    values = RANDOM.normal(0, 3000, (37, 23, 3)).clip(0).astype(dtype)
    if dtype.startswith("float"):
        values[:4, :3] = np.array([np.nan, np.inf, -np.inf])[:, None]
    whole = Deep(values).to_bytes(Treatment())
    for strip in (1, 23, 100):
        monkeypatch.setattr("patchbank.datasets.depth.STRIP", strip)
        np.testing.assert_array_equal(Deep(values).to_bytes(Treatment()), whole)


@pytest.mark.parametrize("per", ["set", "image"])
def test_sparse_values_are_seen(per: str) -> None:
    sparse = np.full((100, 100, 1), 40, dtype=np.uint16)
    sparse[3, :50, 0] = 500
    sparse[4, :50, 0] = 1000
    constant = Deep(np.full((100, 100, 1), 40, dtype=np.uint16))
    deep, treatment = Deep(sparse), Treatment(per=per)  # type: ignore[arg-type]
    treatment = treatment.over([(one.kind, one.quantiles()) for one in (deep, constant)])
    assert deep.ranges(treatment) == [(40.0, 1000.0)]
    assert np.unique(deep.to_bytes(treatment)).tolist() == [0, 122, 255]
    alone = Treatment().over([(constant.kind, constant.quantiles())])
    assert not constant.to_bytes(alone).any()


def test_a_bank_knows_the_treatment_of_sets_that_need_one(tmp_path: Path) -> None:
    spec = SimpleNamespace(name="n", model="m", norm=True, pos_embed="x", mean=(0,), std=(1,))
    vit = type(
        "Encoder", (), {"__module__": "patchbank.backbones.vit", "spec": spec, "block": 1, "class_token": True}
    )()
    whole = {"__module__": "patchbank.views.whole", "record": lambda _: {"name": "whole", "size": [8, 8]}}
    recipe = type("Recipe", (), whole)()

    def record(folder: Path, **depth: Any) -> dict[str, Any]:
        manifest = scan(make_spec("own", "folder", folder, depth=depth), workers=1)
        return make_record(manifest, "val", vit, "0", recipe, "float32", "float16", 8)

    plain = deep_set(tmp_path / "plain", RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8), suffix=".png")
    deep = deep_set(tmp_path / "deep", TWELVE)
    assert "depth" not in record(plain)
    assert "depth" in record(plain, scale="minmax")
    hashes = [content_hash(record(deep, **depth)) for depth in ({}, {"scale": "minmax"}, {"scale": "full"})]
    assert len(set(hashes)) == 3
    assert content_hash(record(deep)) == hashes[0]


def test_twelve_bits_and_their_eight_bit_twin_and_dead_pixels_are_one_picture() -> None:
    """The same segments but for 2 % of patches: k-means of patches' means and contrasts, fitted on one of them."""
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(np.random.default_rng(3).random((1, 1, 12, 12))) * 3000 + 500, (448, 448), mode="bicubic"
    )[0, 0].numpy()
    twelve = np.clip(smooth + np.random.default_rng(4).normal(0, 60, smooth.shape), 0, 4095).astype(np.uint16)
    dead = twelve.copy()
    dead[100, 7] = dead[300, 200] = 65_535
    eight = io.BytesIO()
    Image.fromarray((twelve >> 4).astype(np.uint8)).save(eight, "PNG")
    percentile = Treatment("percentile")
    pictures = [pixels(data, percentile) for data in (tiff(twelve), eight.getvalue(), tiff(dead))]
    tokens = [one[..., 0].reshape(32, 14, 32, 14).mean((1, 3)).ravel() for one in pictures]
    centres = np.percentile(tokens[0], [10, 30, 50, 70, 90])
    segments = [np.abs(one[:, None] - centres).argmin(1) for one in tokens]
    assert (segments[0] == segments[1]).mean() >= 0.98
    assert (segments[0] == segments[2]).mean() >= 0.98
    assert (
        np.ptp(pixels(tiff(dead), Treatment("minmax"))[..., 0][twelve < 4096].astype(int)) == 255
    )  # the dead pixels alone


def test_a_background_without_a_colour_is_grey(tmp_path: Path) -> None:
    spec = make_spec("own", "folder", tmp_path, classes=("Background", "cell", "nucleus"))
    assert spec.colours[0] == (128, 128, 128)
    assert len(set(spec.colours)) == 3
    given = make_spec("own", "folder", tmp_path, classes=("background",), colours=[[1, 2, 3]])
    assert given.colours == ((1, 2, 3),)
