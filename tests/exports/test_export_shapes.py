"""Polygons and run lengths, read back by shapely, rasterio and pycocotools."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from export_factory import decode_brush
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco
from rasterio.features import rasterize
from scipy import ndimage

from patchbank.exports.polygons import (
    Polygon,
    _inside,
    _near,
    _thin,
    _valid,
    area,
    pieces,
    polygons,
    trace,
    without_holes,
)
from patchbank.exports.rle import coco_box_rle, coco_counts, coco_rle, label_studio_rle, runs

Mask = NDArray[np.bool_]


def masks(smooth: bool = False) -> st.SearchStrategy[Mask]:
    """Noise, or blobs with edges like those of upsampled patches."""

    def make(seed: int, height: int, width: int, share: float) -> Mask:
        random = np.random.default_rng(seed)
        noise = random.random((4, 4) if smooth else (height, width))
        mask: Mask = (ndimage.zoom(noise, (height / 4, width / 4), order=1) if smooth else noise) < share
        return mask

    low = 8 if smooth else 1
    return st.builds(make, st.integers(0, 9999), st.integers(low, 40), st.integers(low, 40), st.floats(0.2, 0.9))


def shape(polygon: Polygon) -> shapely.Polygon:
    return shapely.Polygon(polygon.exterior, polygon.holes)


def test_rings_by_hand() -> None:
    # a ring of pixels around a hole, whose two ends meet the outside at a corner only
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.bool_)
    polygon = trace(mask)
    assert polygon.exterior.tolist() == [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3]]
    assert [hole.tolist() for hole in polygon.holes] == [[[1, 1], [1, 2], [2, 2], [2, 1]]]
    assert (area(polygon.exterior), area(polygon.holes[0])) == (8, -1)
    with pytest.raises(ValueError, match="2 pieces"):
        trace(np.array([[1, 0, 1]], dtype=np.bool_))
    assert [(top, left) for top, left, _ in pieces(np.eye(2, dtype=np.bool_))] == [(0, 0), (1, 1)]


@settings(deadline=None, max_examples=60)
@given(masks())
def test_exact_polygons_are_valid_and_cover_the_pixels(mask: Mask) -> None:
    shapes = [shape(polygon) for polygon in polygons(mask)]
    assert all(one.is_valid for one in shapes)
    assert sum(one.area for one in shapes) == mask.sum()
    if shapes:
        np.testing.assert_array_equal(rasterize(shapes, mask.shape), mask)


@settings(deadline=None, max_examples=60)
@given(st.one_of(masks(), masks(smooth=True)), st.floats(0.5, 4))
def test_simplified_polygons_are_valid_and_within_the_tolerance(mask: Mask, tolerance: float) -> None:
    for exact, thin in zip(polygons(mask), polygons(mask, tolerance), strict=True):
        assert shape(thin).is_valid
        assert len(thin.exterior) <= len(exact.exterior)
        assert len(thin.holes) == len(exact.holes)
        corners = shapely.points(shapely.get_coordinates(shape(exact).boundary))
        assert shapely.distance(corners, shape(thin).boundary).max() <= tolerance + 1e-9


def test_a_staircase_becomes_a_line() -> None:
    mask = np.arange(200)[:, None] + np.arange(200)[None] < 200
    exact, thin = polygons(mask)[0], polygons(mask, 1.0)[0]
    assert len(exact.exterior) > 300
    assert len(thin.exterior) <= 8


@settings(deadline=None, max_examples=40)
@given(masks())
def test_pieces_without_holes_make_up_the_mask(mask: Mask) -> None:
    seen = np.zeros(mask.shape, dtype=np.int64)
    for top, left, piece in without_holes(mask):
        assert not trace(piece).holes
        seen[top : top + piece.shape[0], left : left + piece.shape[1]] += piece
    np.testing.assert_array_equal(seen, mask)


@settings(deadline=None, max_examples=60)
@given(masks())
def test_run_lengths_are_what_coco_writes_and_reads(mask: Mask) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert coco_counts(mask) == theirs["counts"].decode()
    np.testing.assert_array_equal(coco.decode(coco_rle(mask)), mask)


@settings(deadline=None, max_examples=60)
@given(masks(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_run_lengths_of_a_box_are_those_of_the_picture(mask: Mask, top: int, left: int, below: int, right: int) -> None:
    whole = np.pad(mask, ((top, below), (left, right)))
    assert coco_box_rle(mask, top, left, whole.shape) == coco_rle(whole)


@settings(deadline=None, max_examples=60)
@given(masks(), st.floats(0.5, 4))
def test_holes_far_apart_are_not_compared(mask: Mask, tolerance: float) -> None:
    for piece in (piece for _, _, piece in pieces(mask)):
        polygon = trace(piece)
        thin = Polygon(polygon.exterior, tuple(_thin(hole, tolerance) for hole in polygon.holes))
        every = set(itertools.permutations(range(len(thin.holes)), 2))
        near = set(_near(thin.holes))
        assert near <= every
        assert not any(_inside(thin.holes[one], thin.holes[other], False).any() for one, other in every - near)


def test_a_hole_in_a_hole_is_not_valid() -> None:
    def square(low: float, high: float) -> NDArray[np.float64]:
        return np.array([[low, low], [low, high], [high, high], [high, low]], dtype=np.float64)

    outside = square(0, 20)[::-1]
    assert _valid(Polygon(outside, (square(2, 6), square(8, 12))))
    assert not _valid(Polygon(outside, (square(2, 12), square(4, 6))))
    assert not _valid(Polygon(outside, (square(4, 6), square(2, 12))))
    assert not _valid(Polygon(outside, (square(22, 26),)))


def test_long_runs() -> None:
    for mask in (np.zeros((300, 400), np.bool_), np.ones((300, 400), np.bool_)):
        np.testing.assert_array_equal(coco.decode(coco_rle(mask)), mask)
        np.testing.assert_array_equal(decode_brush(label_studio_rle(mask), mask.shape), mask)
    assert runs(np.array([True, True, False])).tolist() == [0, 2, 1]
    assert runs(np.zeros(0, np.bool_)).tolist() == [0]


@settings(deadline=None, max_examples=15)
@given(st.one_of(masks(), masks(smooth=True)))
def test_the_brush_of_label_studio_is_read_back(mask: Mask) -> None:
    np.testing.assert_array_equal(decode_brush(label_studio_rle(mask), mask.shape), mask)
