"""`bands: pca`: the principal directions of a set's bands, what becomes red, green and blue, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.bank.format import content_hash
from patchbank.bank.identity import depth_code
from patchbank.bank.record import make_record
from patchbank.datasets.depth import Deep, OfBands, Treatment
from patchbank.datasets.directions import PIXELS, Directions, fitted, sampled
from patchbank.datasets.images import decode_image, load_image, open_raster, read_size
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import Scan, examine
from patchbank.datasets.spec import DatasetSpec, make_spec
from patchbank.datasets.unusable import Unusable
from patchbank.errors import UserError
from patchbank.inference.inputs import set_treatment
from patchbank.plain import from_plain, to_plain

PCA = Treatment(bands=Directions())
SOURCES = np.array([[5, 4, 3, 2, 1], [1, -1, 1, -1, 0], [0, 1, 1, 0, -3]])
"""Three directions, none of them as strong as another, of which five bands are mixed."""


def bands(seed: int, shape: tuple[int, int] = (15, 16), dtype: str = "uint16") -> NDArray[Any]:
    """(H, W, 5) of independent strengths 300, 200 and 50 along the sources."""
    strengths = np.random.default_rng(seed).normal(0, (300, 200, 50), (*shape, 3))
    noise = np.random.default_rng(seed + 99).normal(0, 3, (*shape, 5))
    return np.rint(strengths @ SOURCES + noise + 9000).astype(dtype)


def store(path: Path, values: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", **options)
    return path


def examined(folder: Path, **depth: Any) -> Scan:
    return examine(make_spec("own", "folder", folder, depth={"bands": "pca", **depth}), workers=1)


def treated(found: Scan) -> tuple[Treatment, Directions]:
    assert found.manifest is not None
    assert found.manifest.depth is not None
    assert isinstance(found.manifest.depth.bands, Directions)
    return found.manifest.depth, found.manifest.depth.bands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, each of fewer pixels than are sampled, so that all of them count."""
    folder = tmp_path_factory.mktemp("bands") / "set"
    folder.mkdir()
    for seed in range(3):
        store(folder / f"{seed}.tif", bands(seed))
    return folder


def test_red_green_and_blue_are_numpys_eigenvectors(folder: Path) -> None:
    found = examined(folder)
    treatment, directions = treated(found)
    pooled = np.concatenate([bands(seed).reshape(-1, 5) for seed in range(3)]).astype(float)
    matrix = np.asarray(directions.matrix)
    np.testing.assert_allclose(directions.mean, pooled.mean(0), rtol=1e-12)
    variances, vectors = np.linalg.eigh(np.cov(pooled.T))
    np.testing.assert_allclose(np.abs(matrix), np.abs(vectors[:, [4, 3, 2]]), atol=1e-8)
    np.testing.assert_allclose(((pooled - pooled.mean(0)) @ matrix).var(0, ddof=1), variances[[4, 3, 2]], rtol=1e-6)
    assert all(column[np.abs(column).argmax()] > 0 for column in matrix.T)
    along = (pooled - pooled.mean(0)) @ matrix
    low, high = np.percentile(along, [2, 98], axis=0)
    np.testing.assert_allclose(treatment.ranges["float32x3"], np.stack([low, high], 1), rtol=1e-4)
    assert found.manifest is not None
    for entry in found.manifest.entries("val"):
        values = (bands(int(entry.image[0])).astype(float) - pooled.mean(0)) @ matrix
        exact = np.clip((values - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(np.asarray(found.manifest.image(entry)), exact, atol=0.6)
    assert found.summary.conversions == {
        "16-bit": 3,
        "principal directions of 5 bands": 3,
        "scaled by percentile": 3,
    }
    (note,) = [note for note in found.notes if "principal" in note]
    assert note.startswith(
        "3 pictures have 8-bit RGB made anew: red, green and blue are the principal directions of the set's 5 bands of "
        "uint16, black and white are the 2nd and 98th percentile over the set along them (-"
    )


def test_a_picture_by_hand() -> None:
    """The bands vary one by one, the fourth most, the second less, the first least, the others not at all."""
    values = np.full((1, 7, 5), 100, dtype=np.uint16)
    for band, change, column in ((3, 50, 1), (1, 30, 3), (0, 10, 5)):
        values[0, column : column + 2, band] += np.array([-change, change]).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="minisblack", planarconfig="contig")
    picture = decode_image(buffer.getvalue(), Treatment("minmax", bands=Directions()))
    assert picture.conversions == ("16-bit", "principal directions of 5 bands", "scaled by minmax")
    expected = np.full((7, 3), 127.5)
    expected[[1, 3, 5], [0, 1, 2]], expected[[2, 4, 6], [0, 1, 2]] = 0, 255
    np.testing.assert_allclose(np.asarray(picture.image)[0], expected, atol=0.51)
    directions, along = fitted([("uint16x5", sampled(values, None))])
    assert directions.mean == (100.0,) * 5
    assert directions.matrix == ((0, 0, 1), (0, 1, 0), (0, 0, 0), (1, 0, 0), (0, 0, 0))
    assert along[:, 0].tolist() == [0, -50, 50, 0, 0, 0, 0]


def test_signs_do_not_follow_the_pictures() -> None:
    """Of the same pixels, of any order, scale and sign of the noise, the directions have one sign."""
    pixels = bands(5, (1, 240))[0].astype(float)
    first, _ = fitted([("float64x5", tuple(pixels.T.tolist()))])
    for other in (pixels[::-1], 2 * pixels.mean(0) - pixels, pixels * 1e200):
        found, _ = fitted([("float64x5", tuple(other.T.tolist()))])
        np.testing.assert_allclose(found.matrix, first.matrix, atol=2e-8)
    ties = np.array([[1, -1, 1, -1], [-1, 1, -1, 1]])
    assert [row[0] for row in fitted([("int8x4", tuple(ties.T.tolist()))])[0].matrix] == [0.5, -0.5, 0.5, -0.5]


def test_a_direction_along_which_nothing_varies_is_black() -> None:
    grey = np.random.default_rng(0).integers(0, 4000, (20, 20, 1), dtype=np.uint16)
    picture = OfBands(np.concatenate([grey, 2 * grey, 3 * grey, grey], -1))
    channels = picture.to_bytes(PCA)
    assert np.ptp(channels[..., 0]) == 255
    assert not channels[..., 1:].any()
    assert not OfBands(np.full((4, 4, 5), 7, np.uint16)).to_bytes(PCA).any()
    nothing = OfBands(np.full((4, 4, 5), np.nan, np.float32), np.zeros((4, 4), dtype=np.bool_))
    assert not nothing.to_bytes(PCA).any()
    pooled = PCA.over([(one.kind, one.quantiles()) for one in (nothing, nothing)])
    assert not nothing.to_bytes(pooled).any()
    huge = bands(1, dtype="float64")
    huge[0, 0] = -1.7e308
    assert np.isfinite(np.asarray(fitted([("float64x5", sampled(huge, None))])[0].matrix)).all()


def test_a_sample_is_bounded_and_spread_over_pixels_with_data() -> None:
    rows, columns = np.mgrid[:512, :384]
    values, valid = np.stack([rows, columns, rows, columns], -1), rows >= 256
    sample = np.asarray(sampled(values, valid))
    assert sample.shape == (4, PIXELS)
    assert len(set(map(tuple, sample.T))) == PIXELS
    assert sample[0].min() >= 256
    counts = np.histogram2d(sample[0], sample[1], [np.linspace(256, 512, 5), np.linspace(0, 384, 5)])[0]
    assert (np.abs(counts - PIXELS / 16) <= 4).all()
    assert np.asarray(sampled(values[:3, :5], None)).shape == (4, 15)


def test_no_data_counts_nowhere_and_is_black(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "holes"
    other.mkdir()
    for seed in range(3):
        values = np.concatenate([bands(seed), np.full((9, 16, 5), 65_000, np.uint16)])
        store(other / f"{seed}.tif", values, extratags=[(42113, 2, 0, "65000", True)])
    treatment, _ = treated(examined(other))
    assert treatment == treated(examined(folder))[0]
    picture = np.asarray(load_image(other / "1.tif", treatment))
    assert not picture[15:].any()
    np.testing.assert_array_equal(picture[:15], np.asarray(load_image(folder / "1.tif", treatment)))


def test_manifest_memory_and_workers_change_nothing(folder: Path, tmp_path: Path) -> None:
    spec = make_spec("own", "folder", folder, depth={"bands": "pca"})
    first = examine(spec, workers=1, memory=tmp_path / "memory")
    assert first.manifest is not None
    first.manifest.save(tmp_path / "manifest.json")
    assert Manifest.load(tmp_path / "manifest.json") == first.manifest
    assert examine(spec, workers=1, memory=tmp_path / "memory") == first  # from what is remembered
    assert examine(spec, workers=2) == first
    plain = examine(make_spec("own", "folder", folder), workers=1, memory=tmp_path / "memory").manifest
    assert plain is not None
    assert plain.depth is not None
    assert plain.depth.to_json()["bands"] == []
    assert json.loads((tmp_path / "manifest.json").read_text())["depth"]["bands"].keys() == {"dtype", "matrix", "mean"}
    given = from_plain(DatasetSpec, to_plain(spec))  # as a rule's params
    assert given.treatment == spec.treatment == PCA
    assert examine(given, workers=1) == first


def test_black_and_white_of_each_picture(folder: Path) -> None:
    treatment, directions = treated(examined(folder, per="image"))
    assert not treatment.ranges
    assert directions == treated(examined(folder))[1]
    along = directions.project(bands(2))
    np.testing.assert_array_equal(
        np.asarray(load_image(folder / "2.tif", treatment)), Deep(along).to_bytes(Treatment())
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_tiles_and_strips_have_the_bits_of_the_whole(dtype: str, tmp_path: Path) -> None:
    values = (bands(3, (97, 83)) / (40 if dtype == "uint8" else 1)).astype(dtype)
    path = store(tmp_path / "a.tif", values, tile=(16, 16), compression="zlib")
    found = examine(make_spec("own", "folder", tmp_path, depth={"bands": "pca"}, tiles=32), workers=1)
    treatment, _ = treated(found)
    whole = np.asarray(load_image(path, treatment))
    assert found.manifest is not None
    entries = {entry.image: np.asarray(found.manifest.image(entry)) for entry in found.manifest.entries("val")}
    rows = [np.concatenate([entries[f"a.r{r}of3.c{c}of3.tif"] for c in (1, 2, 3)], 1) for r in (1, 2, 3)]
    np.testing.assert_array_equal(np.concatenate(rows), whole)
    with open_raster(path, treatment) as raster:
        np.testing.assert_array_equal(np.concatenate([raster.rows(y, min(97, y + 7)) for y in range(0, 97, 7)]), whole)
    with open_raster(path, PCA) as raster:  # alone: bands of rows have one treatment, too
        alone = np.concatenate([raster.rows(y, min(97, y + 7)) for y in range(0, 97, 7)])
    np.testing.assert_array_equal(alone, np.asarray(load_image(path, PCA)))


def test_new_pictures_have_the_directions_of_the_set(folder: Path, tmp_path: Path) -> None:
    """As `patchbank segment` takes them from the manifest beside a row's checkpoint."""
    found = examined(folder)
    assert found.manifest is not None
    found.manifest.save(tmp_path / "mine" / "manifest.json")
    taken = set_treatment(tmp_path / "mine" / "kmeans" / "seed0" / "clusters.npz")
    assert taken == found.manifest.depth
    new = store(tmp_path / "new.tif", bands(7) + np.arange(0, 1500, 300, dtype=np.uint16))
    assert taken is not None
    picture, alone = (np.asarray(load_image(new, treatment)).astype(int) for treatment in (taken, PCA))
    _, directions = treated(found)
    exact = Deep(directions.project(tifffile.imread(new))).to_bytes(Treatment(ranges=taken.ranges))
    np.testing.assert_array_equal(picture, exact)
    assert np.abs(picture - alone).max() > 20  # its own would be others


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (bands(1)[..., :4], "has 4 bands of uint16, and the set's principal directions are of 5 bands of uint16"),
        (bands(1, dtype="int32"), "has 5 bands of int32, and the set's principal directions are of 5 bands of uint16"),
        (bands(1)[..., :3], "has 3 bands, and `bands: pca` is for pictures of 4 or more; leave it out"),
        (bands(1)[..., 0], "has 1 band, and"),
    ],
)
def test_other_bands_than_the_sets_are_refused(folder: Path, tmp_path: Path, values: NDArray[Any], says: str) -> None:
    treatment, _ = treated(examined(folder))
    path = store(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=says):
        load_image(path, treatment)
    with pytest.raises(UserError, match=says):
        open_raster(path, treatment)
    with pytest.raises(Unusable, match=says):
        read_size(path, False, treatment)


def test_sets_of_other_pictures_are_refused(tmp_path: Path) -> None:
    store(tmp_path / "a.tif", bands(1))
    store(tmp_path / "b.tif", bands(2)[..., :4])
    store(tmp_path / "c.tif", bands(3, dtype="float32"))
    Image.fromarray(bands(4)[..., 0]).save(tmp_path / "d.png")
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path / "e.png")
    with pytest.raises(UserError) as caught:
        examined(tmp_path)
    of_one = "`bands: pca` finds the directions of one kind of bands"
    lines = [line.strip(" -") for line in str(caught.value).splitlines()]
    for problem in (
        f"b.tif: has 4 bands of uint16, and a.tif has 5 of uint16; {of_one}",
        f"c.tif: has 5 bands of float32, and a.tif has 5 of uint16; {of_one}",
        "d.png: is no TIFF of 4 or more bands, for which `bands: pca` is; leave it out",
        "e.png: is no TIFF of 4 or more bands, for which `bands: pca` is; leave it out",
    ):
        assert sum(line == problem for line in lines) == 1
    assert lines[0].startswith("own: 4 of 5 images cannot be used (4 problems)")
    with pytest.raises(Unusable, match="is no TIFF of 4 or more bands"):
        read_size(tmp_path / "d.png", False, PCA)


@pytest.mark.parametrize(
    ("depth", "says"),
    [
        ({"bands": "pca", "scale": "full"}, "take percentile or minmax"),
        ({"bands": "pca", "scale": "window", "window": [0, 1]}, "take percentile or minmax"),
        ({"bands": "rgb"}, "or write pca"),
    ],
)
def test_values_that_contradict_each_other(tmp_path: Path, depth: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_spec("own", "folder", tmp_path, depth=depth)


def test_a_bank_knows_the_directions_and_their_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(name="n", model="m", norm=True, pos_embed="x", mean=(0,), std=(1,))
    vit: Any = type("E", (), {"__module__": "patchbank.backbones.vit", "spec": spec, "block": 1, "class_token": True})()
    whole = {"__module__": "patchbank.views.whole", "record": lambda _: {"name": "whole", "size": [8, 8]}}
    recipe: Any = type("Recipe", (), whole)()
    found = examined(folder).manifest
    assert found is not None
    record = make_record(found, "val", vit, "0", recipe, "float32", "float16", 8)
    assert record["depth"]["bands"]["dtype"] == "uint16"
    assert record["depth"]["code"] == depth_code(pca=True) != depth_code()
    other = examine(make_spec("own", "folder", folder, depth={"bands": [3, 2, 1]}), workers=1).manifest
    assert other is not None
    assert content_hash(make_record(other, "val", vit, "0", recipe, "float32", "float16", 8)) != content_hash(record)


def test_banks_without_directions_keep_their_hashes() -> None:
    """As they were before `bands: pca`: of sets with deep pictures, and of such with DICOM files."""
    assert (depth_code(), depth_code(dicom=True)) == ("c1baa6522ee07fb7", "519a736887b68861")
    assert Treatment().to_json() == {"scale": None, "per": "set", "window": None, "bands": [], "ranges": {}}
