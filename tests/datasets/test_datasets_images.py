"""Reading single files: safe conversions, refusals, indices. The files are assembled byte by byte here."""

from __future__ import annotations

import contextlib
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_bytes import GOOD_JPEG, GREY, GREY_ALPHA, PALETTE, RGB, RGBA, chunk, exif, jpeg, png

from patchbank.datasets import load_image, load_instances, load_labels
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import decode_image, decode_indices
from patchbank.datasets.labels import build_lut
from patchbank.datasets.probe import probe
from patchbank.datasets.unusable import Unusable
from patchbank.errors import UserError


def pack(values: np.ndarray, depth: int) -> bytes:
    """Rows of `depth`-bit samples, highest bit first, each row padded to whole bytes."""
    if depth == 16:
        return values.astype(">u2").tobytes()
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(values.shape[0], -1).astype(np.uint8), axis=1).tobytes()


PALETTE_256 = chunk(b"PLTE", bytes((i * 7 + c) % 256 for i in range(256) for c in range(3)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_indices_of_every_depth_are_read_unchanged(data: st.DataObject) -> None:
    depth = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
    colour = data.draw(st.sampled_from([GREY, PALETTE])) if depth < 16 else GREY
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=11))
    values = data.draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, 2**depth - 1)))
    extra = (chunk(b"PLTE", bytes(3 * 2**depth)),) if colour == PALETTE else ()
    file = png(shape[1], shape[0], depth, colour, pack(values, depth), *extra)
    np.testing.assert_array_equal(decode_indices(file), values)


def test_labels_and_instances_from_files(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [2, 255, 0]], np.uint16)
    (tmp_path / "m.png").write_bytes(png(3, 2, 8, PALETTE, pack(values, 8), PALETTE_256))
    labels = load_labels(tmp_path / "m.png", build_lut(2, {0: 1, 1: 0, 2: 255}))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 0, 255], [255, 255, 1]]
    (tmp_path / "i.png").write_bytes(png(3, 2, 16, GREY, pack(values * 200, 16)))
    instances = load_instances(tmp_path / "i.png")
    assert instances.dtype == np.int32
    assert instances.tolist() == (values.astype(int) * 200).tolist()


def test_unknown_label_names_file_and_value(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(png(2, 1, 8, GREY, bytes([0, 37])))
    with pytest.raises(UserError, match=r"m\.png: value 37 is not in the label map \(known: 0-1, 255\)"):
        load_labels(tmp_path / "m.png", build_lut(2))


def test_grey_16_bit_is_scaled_not_cut() -> None:
    values = np.array([[0, 128, 32767, 65535, 257 * 77]], np.uint16)
    data = png(5, 1, 16, GREY, pack(values, 16))
    decoded = decode_image(data, Treatment("full"))
    assert np.asarray(decoded.image)[0, :, 0].tolist() == [0, 0, 127, 255, 77]
    assert decoded.conversions == ("16-bit greyscale",)
    decoded = decode_image(data)  # by the 2nd and 98th percentile, 10 and 62914
    assert np.asarray(decoded.image)[0, :, 0].tolist() == [0, 0, 133, 255, 80]
    assert decoded.conversions == ("16-bit", "scaled by percentile")


def test_rgb_16_bit_keeps_the_high_byte() -> None:
    values = np.array([[0x1234, 0xFFFF, 0x0001]], np.uint16)
    decoded = decode_image(png(1, 1, 16, RGB, pack(values, 16)))
    assert np.asarray(decoded.image).tolist() == [[[0x12, 0xFF, 0]]]
    assert decoded.conversions == ("16-bit colour",)


def test_greyscale_palette_and_one_bit() -> None:
    assert np.asarray(decode_image(png(2, 1, 8, GREY, b"\x05\xc8")).image).tolist() == [[[5] * 3, [200] * 3]]
    decoded = decode_image(png(1, 1, 8, PALETTE, b"\x02", PALETTE_256))
    assert np.asarray(decoded.image).tolist() == [[[14, 15, 16]]]
    assert decoded.conversions == ("palette",)
    assert np.asarray(decode_image(png(2, 1, 1, GREY, b"\x40")).image).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize(
    "file",
    [
        png(2, 1, 8, RGBA, bytes([9, 9, 9, 0, 10, 20, 30, 255])),
        png(2, 1, 8, PALETTE, b"\0\x01", chunk(b"PLTE", bytes([9, 9, 9, 10, 20, 30])), chunk(b"tRNS", b"\0")),
    ],
    ids=["rgba", "palette"],
)
def test_hidden_pixels_become_white(file: bytes) -> None:
    decoded = decode_image(file)
    assert np.asarray(decoded.image).tolist() == [[[255] * 3, [10, 20, 30]]]
    assert decoded.conversions == ("transparency over white",)


@pytest.mark.parametrize(("samples", "mode"), [(3, "RGB"), (4, "CMYK")])
def test_jpeg_colours(samples: int, mode: str) -> None:
    pixels = np.zeros((16, 16, samples), np.uint8)
    pixels[..., 0] = 255  # red, or full cyan
    seen = np.asarray(decode_image(jpeg(pixels, mode)).image)[8, 8].astype(int)
    expected = [255, 0, 0] if mode == "RGB" else [0, 255, 255]
    assert abs(seen - expected).max() < 6


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
"""What a stored picture must undergo to stand upright, for each value of the EXIF tag (CIPA DC-008)."""


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(orientation: int) -> None:
    pixels = np.full((16, 32, 3), 40, np.uint8)
    pixels[:8, :8] = 220
    seen = np.asarray(decode_image(jpeg(pixels, orientation=orientation)).image).astype(int)
    expected = TURNS[orientation](pixels).astype(int)
    assert seen.shape == expected.shape
    assert abs(seen - expected).max() < 20


@pytest.mark.parametrize("block", [b"garbage", b"II*\0\xff\xff\xff\x7f", exif(6)[:14]], ids=["text", "offset", "cut"])
def test_broken_exif_does_not_turn_or_fail(block: bytes) -> None:
    data = jpeg(np.zeros((16, 32, 3), np.uint8))
    body = b"Exif\0\0" + block
    spliced = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert decode_image(spliced).image.size == (32, 16)


def gif(frames: int) -> bytes:
    """A 1x1 GIF of so many frames."""
    frame = b"\x21\xf9\x04\0\x05\0\0\0" + b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    return b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b"\x3b"


def tiff_float() -> bytes:
    """A 1x1 TIFF with one 32-bit floating-point sample."""
    tags = [(256, 3, 1), (257, 3, 1), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 1)]
    tags += [(279, 4, 4), (339, 3, 3)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0\x0c\0\0\0" + struct.pack("<f", 0.5) + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"


GOOD_PNG = png(40, 40, 8, RGB, np.random.default_rng(0).bytes(40 * 120))
BROKEN = {
    "text": (b"<html>404</html>", "not an image"),
    "jpeg of zeros": (b"\xff\xd8\xff" + bytes(400), "not an image"),
    "jpeg cut in half": (GOOD_JPEG[: len(GOOD_JPEG) // 2], "truncated or damaged"),
    "jpeg header only": (GOOD_JPEG[:20], "not an image|broken header"),
    "png cut in half": (GOOD_PNG[: len(GOOD_PNG) // 2], "truncated or damaged"),
    "png signature only": (GOOD_PNG[:8], "not an image|broken header"),
    "png with broken stream": (png(1, 1, 8, GREY, b"\0").replace(b"x\x9c", b"\0\0"), "truncated or damaged"),
    "png of impossible depth": (png(1, 1, 3, GREY, b"\0"), "not an image|broken header|truncated"),
    "png of zero width": (png(0, 1, 8, GREY, b"\0"), "not an image|broken header|truncated"),
    "bomb": (png(60_000, 60_000, 8, GREY, b"\0" * 60_000), "million pixels"),
    "animation": (gif(3), "holds 3 frames"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images_are_refused_with_a_reason(name: str) -> None:
    data, says = BROKEN[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Unusable, match=says):
            decode_image(data)


def test_single_gif_is_an_image() -> None:
    assert decode_image(gif(1)).image.size == (1, 1)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([GOOD_PNG[:600], GOOD_JPEG, gif(1), tiff_float()]), st.data())
def test_damaged_bytes_never_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data[: draw.draw(st.integers(0, len(data)))])
    for _ in range(draw.draw(st.integers(0, 4))):
        if damaged:
            damaged[draw.draw(st.integers(0, min(len(damaged), 700) - 1))] = draw.draw(st.integers(0, 255))
    for decode in (decode_image, decode_indices):
        with contextlib.suppress(Unusable):  # any other exception fails the test
            decode(bytes(damaged))
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(damaged)
    for kind in ("image", "mask"):
        whole, quick = probe(kind, file, "damaged"), probe(kind, file, "damaged", quick=True)
        assert whole.problem or (whole.width, whole.height) == (quick.width, quick.height)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (png(1, 1, 8, RGB, b"\0\1\2"), "not an indexed mask .colour mode RGB"),
        (png(1, 1, 8, RGBA, b"\0\0\0\0"), "colour mode RGBA"),
        (png(1, 1, 8, GREY_ALPHA, b"\0\0"), "colour mode LA"),
        (jpeg(np.zeros((8, 8), np.uint8), "L"), "JPEG file, whose compression changes labels"),
        (tiff_float(), "colour mode F"),
    ],
)
def test_masks_that_are_not_indices_are_refused(file: bytes, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        decode_indices(file)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    says = {"empty": "zero bytes", "folder": "is a folder", "loop": "cannot be read", "dangling": "missing file"}
    for name, text in (says | {"absent": "does not exist"}).items():
        for load in (load_image, load_instances):
            with pytest.raises(UserError, match=rf"{name}\.jpg: .*{text}"):
                load(tmp_path / f"{name}.jpg")
