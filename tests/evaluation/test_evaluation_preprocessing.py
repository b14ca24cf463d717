from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchbank.config.folders import SCHEMA
from patchbank.errors import UserError
from patchbank.evaluation.preprocessing import SOFT, VARIANTS, frame, pil_nearest, torch_nearest

SIZES = st.integers(1, 700)


def random_mask(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 255, (height, width)).astype(np.uint8)


def torch_resize(array: np.ndarray, size: tuple[int, int], mode: str = "nearest") -> np.ndarray:
    options = {} if mode == "nearest" else {"align_corners": False}
    tensor = torch.from_numpy(array.astype(np.float32))
    tensor = tensor[None, None] if array.ndim == 2 else tensor[None]
    out = F.interpolate(tensor, size=size, mode=mode, **options)[0].numpy()
    return out[0] if array.ndim == 2 else out


def pil_resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(array).resize(size[::-1], Image.Resampling.NEAREST))


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES)
def test_torch_nearest_is_torchs(source: int, target: int) -> None:
    line = np.arange(source)[None]
    assert (torch_resize(line, (1, target))[0] == torch_nearest(source, target)).all()
    assert (torch_resize(line.T, (target, 1))[:, 0] == torch_nearest(source, target)).all()


@pytest.mark.parametrize(("source", "target"), [(448, 100), (28, 100), (32, 100), (500, 320), (375, 320), (480, 320)])
def test_torch_nearest_is_the_exact_quotient_for_the_usual_sizes(source: int, target: int) -> None:
    assert (torch_nearest(source, target) == np.arange(target) * source // target).all()


def test_pil_and_torch_differ_at_most_positions_of_a_voc_image() -> None:
    rows, cols = pil_nearest(375, 320) == torch_nearest(375, 320), pil_nearest(500, 320) == torch_nearest(500, 320)
    assert round(100 * (1 - np.outer(rows, cols).mean())) == 89  # spec/protocols.md


@pytest.mark.parametrize(("source", "target"), [(500, 448), (375, 448), (333, 448), (500, 320), (375, 320)])
def test_pil_nearest_samples_pixel_centres_for_the_usual_sizes(source: int, target: int) -> None:
    assert (pil_nearest(source, target) == (2 * np.arange(target) + 1) * source // (2 * target)).all()


def test_every_variant_of_the_schema_is_here_and_every_class_variant_in_the_schema() -> None:
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    assert set(schema["properties"]["preprocessing"]["enum"]) == set(VARIANTS) - set(SOFT)


@settings(deadline=None, max_examples=25)
@given(SIZES, SIZES)
def test_squash_448_100_is_pil_then_torch(height: int, width: int) -> None:
    mask = random_mask(height, width)
    expected = torch_resize(pil_resize(mask, (448, 448)), (100, 100))
    assert (frame("squash_448_100", mask.shape, (448, 448)).labels(mask) == expected).all()


@pytest.mark.parametrize(
    ("input_size", "size"),
    [((320, 320), (320, 320)), ((322, 322), (320, 320)), ((320, 640), (320, 640)), ((644, 322), (640, 320))],
)
def test_squash_320_keeps_the_protocols_size_and_the_inputs_proportion(
    input_size: tuple[int, int], size: tuple[int, int]
) -> None:
    mask = random_mask(375, 500)
    labels = frame("squash_320", mask.shape, input_size).labels(mask)
    assert (labels == torch_resize(mask, size)).all()


@pytest.mark.parametrize("shape", [(375, 500), (500, 333), (320, 320), (321, 640), (200, 1000)])
def test_short_320_center_is_stegos(shape: tuple[int, int]) -> None:
    mask = random_mask(*shape)
    scale = [int(320 * side / min(shape)) for side in shape]
    resized = pil_resize(mask, (scale[0], scale[1]))
    y, x = round((scale[0] - 320) / 2), round((scale[1] - 320) / 2)
    view = frame("short_320_center", shape, (320, 320))
    assert (view.labels(mask) == resized[y : y + 320, x : x + 320]).all()
    grid = np.arange(40 * 40).reshape(40, 40)
    whole = torch_resize(grid, (scale[0], scale[1]))
    assert (view.segments(grid, "nearest") == whole[y : y + 320, x : x + 320]).all()


def test_full_compares_at_the_masks_own_size() -> None:
    mask = random_mask(37, 53)
    view = frame("full", mask.shape, (448, 448))
    assert (view.labels(mask) == mask).all()
    grid = np.arange(30).reshape(5, 6)
    assert (view.segments(grid, "nearest") == torch_resize(grid, mask.shape)).all()


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_labels_and_segments_have_one_shape_and_instances_keep_their_dtype(name: str) -> None:
    mask = random_mask(150, 201).astype(np.int32) + 70000
    view = frame(name, mask.shape, (448, 448))
    scores = np.random.default_rng(0).normal(size=(3, 4, 5))
    labels = view.labels(mask)
    assert labels.dtype == np.int32
    assert labels.shape == view.segments(scores, "bilinear").shape == view.segments(scores[0], "nearest").shape


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20), st.integers(1, 300), st.integers(1, 300))
def test_bilinear_is_torchs(k: int, gh: int, gw: int, height: int, width: int) -> None:
    scores = np.random.default_rng(gh * 100 + gw).normal(size=(k, gh, gw)).astype(np.float32)
    upsampled = torch_resize(scores, (height, width), "bilinear")
    found = frame("full", (height, width), (1, 1)).segments(scores, "bilinear")
    chosen = np.take_along_axis(upsampled, found[None], 0)[0]
    # rounding may decide between scores that are equal to 1e-5
    assert (upsampled.max(0) - chosen <= 1e-5).all()


def test_bilinear_crop_is_the_crop_of_the_whole() -> None:
    scores = np.random.default_rng(1).normal(size=(4, 10, 12)).astype(np.float32)
    view = frame("short_320_center", (375, 500), (320, 320))
    whole = frame("full", view.size, (1, 1)).segments(scores, "bilinear")
    y, x = view.corner
    assert (view.segments(scores, "bilinear") == whole[y : y + 320, x : x + 320]).all()


def test_errors() -> None:
    with pytest.raises(UserError, match="squash_448_100"):
        frame("squash", (10, 10), (10, 10))
    with pytest.raises(ValueError, match="shape"):
        frame("full", (10, 10), (10, 10)).segments(np.zeros((2, 3, 4)), "nearest")
