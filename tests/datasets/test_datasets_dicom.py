"""DICOM files as pictures: windows, inversion, rescaling, padding, colours, frames, and what is refused."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from patchbank.bank.identity import depth_code
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import decode_image, load_image, read_size
from patchbank.datasets.pages import located, page_hash, pages
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import make_spec
from patchbank.datasets.unusable import Unusable
from patchbank.errors import UserError

CT = np.random.default_rng(0).integers(0, 2000, (30, 40)).astype(np.uint16)


def dicom(values: NDArray[Any], **more: Any) -> FileDataset:
    """A file of one frame (h, w), of several (n, h, w), or in colour (h, w, 3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset("a.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = values.shape[-1] == 3
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    file.Rows, file.Columns = values.shape[-3:-1] if colour else values.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        file.PlanarConfiguration = 0
    if values.ndim == 3 and not colour:
        file.NumberOfFrames = len(values)
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in more.items():
        setattr(file, name, value)
    return file


def data(file: FileDataset) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def grey(file: FileDataset, treatment: Treatment | None = None) -> NDArray[Any]:
    pixels = np.asarray(decode_image(data(file), treatment or Treatment()).image).astype(int)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def scaled(values: NDArray[Any], black: float, white: float) -> NDArray[Any]:
    return np.clip((values - black) / (white - black), 0, 1) * 255


def test_the_window_of_the_file() -> None:
    units = dict(RescaleSlope="1", RescaleIntercept="-1024")
    found = grey(dicom(CT, WindowCenter="40", WindowWidth="401", **units))
    np.testing.assert_allclose(found, scaled(CT - 1024.0, 40 - 0.5 - 200, 40 - 0.5 + 200), atol=0.51)
    several = grey(dicom(CT, WindowCenter=["40", "900"], WindowWidth=["401", "9"], **units))
    np.testing.assert_array_equal(several, found)
    exact = grey(dicom(CT, WindowCenter="40", WindowWidth="400", VOILUTFunction="LINEAR_EXACT", **units))
    np.testing.assert_allclose(exact, scaled(CT - 1024.0, -160, 240), atol=0.51)
    # what is configured wins
    bone = grey(dicom(CT, WindowCenter="40", WindowWidth="401", **units), Treatment("window", window=(0, 500)))
    np.testing.assert_allclose(bone, scaled(CT - 1024.0, 0, 500), atol=0.51)
    half = grey(dicom(CT, RescaleSlope="0.5", RescaleIntercept="3"), Treatment("window", window=(0, 500)))
    np.testing.assert_allclose(half, scaled(CT / 2 + 3, 0, 500), atol=0.51)


def test_without_a_window_inverted_and_padded() -> None:
    low, high = np.percentile(CT, [2, 98])
    plain = grey(dicom(CT))
    np.testing.assert_allclose(plain, scaled(CT, low, high), atol=0.51)
    np.testing.assert_array_equal(grey(dicom(CT, PhotometricInterpretation="MONOCHROME1")), 255 - plain)
    padded = CT.astype(np.int16)
    padded[:10] = -2000
    found = grey(dicom(padded, PixelPaddingValue=-2000))
    assert not found[:10].any()
    np.testing.assert_allclose(found[10:], scaled(CT[10:], *np.percentile(CT[10:], [2, 98])), atol=0.51)


def test_colours_and_compression() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(decode_image(data(dicom(colour))).image), colour)
    packed = dicom(CT)
    packed.compress(RLELossless)
    np.testing.assert_array_equal(grey(packed), grey(dicom(CT)))
    packed.file_meta.TransferSyntaxUID = JPEGLSLossless
    with pytest.raises(Unusable, match=r"compressed by JPEG-LS Lossless.*gdcmconv --raw"):
        decode_image(data(packed))


def test_frames_are_pictures(tmp_path: Path) -> None:
    film = np.stack([CT, CT // 2, CT // 4])
    (tmp_path / "film.dcm").write_bytes(data(dicom(film, WindowCenter="500", WindowWidth="1001")))
    (tmp_path / "IM0001").write_bytes(data(dicom(CT)))  # known by its content
    names = pages(tmp_path / "film.dcm")
    assert [name.name for name in names] == ["film.p001.dcm", "film.p002.dcm", "film.p003.dcm"]
    assert len({page_hash(*located(name)) for name in names}) == 3
    for name, values in zip(names, film, strict=True):
        found = np.asarray(load_image(name))[..., 0]
        np.testing.assert_allclose(found, scaled(values, -0.5, 999.5), atol=0.51)
        assert read_size(name, indexed=False) == (40, 30)
    scanned = examine(make_spec("own", "folder", tmp_path), workers=1)
    assert scanned.manifest is not None
    assert len(scanned.manifest.entries("val")) == 4
    assert any("of DICOM files the window that they name" in note for note in scanned.notes)
    assert depth_code(dicom=True) != depth_code()
    with pytest.raises(UserError, match=r"film\.dcm: holds 3 frames"):
        load_image(tmp_path / "film.dcm")


def test_what_is_no_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    report = dicom(CT)
    del report.Rows
    with pytest.raises(Unusable, match=r"without a picture \(no Rows\)"):
        decode_image(data(report))
    with pytest.raises(Unusable, match="truncated or damaged"):
        decode_image(data(dicom(CT))[:-500])
    with pytest.raises(Unusable, match="colour model HSV"):
        decode_image(data(dicom(CT, PhotometricInterpretation="HSV")))
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("pydicom"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(Unusable, match=r"needs pydicom: pip install 'patchbank\[dicom\]'"):
        decode_image(data_of_ct)


data_of_ct = data(dicom(CT))
