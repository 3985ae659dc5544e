"""Run lengths and checks of masks, against pycocotools."""

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlevelset.annotations.masks import (
    empty_polygons,
    encode,
    far_outside,
    rle_problem,
    run_lengths,
)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.floats(0, 1))
def test_run_lengths_are_those_of_pycocotools(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = mask_utils.encode(np.asfortranarray(mask, np.uint8))
    flat = np.concatenate([[0], mask.ravel("F"), [2]]).astype(int)
    expected = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat))]))
    runs = run_lengths(rle["counts"].decode())
    assert runs.tolist() == run_lengths(rle["counts"]).tolist() == expected.tolist()
    size = {"size": [height, width]}
    assert encode(size | {"counts": runs.tolist()}, height, width) == rle
    problem = None if mask.any() else "zero area"
    assert rle_problem(size | {"counts": rle["counts"].decode()}, height, width) == problem
    assert rle_problem(size | {"counts": runs.tolist()}, height, width) == problem


@given(st.text(max_size=30) | st.text(st.sampled_from("0123456789:PQ_`no"), max_size=30))
def test_any_text_is_a_mask_or_a_problem(text):
    runs = run_lengths(text)
    assert runs is None or runs.dtype == np.int64
    assert rle_problem({"size": [5, 7], "counts": text}, 5, 7) in (
        None,
        "zero area",
        "invalid RLE mask",
    )


@pytest.mark.parametrize(
    ("points", "far"),
    [
        ([0, 0, 100, 0, 100, 60], False),
        ([-900, 0, 10_090, 0, 100, 60], False),
        ([0, 0, 3.5e8, 0, 100, 60], True),
        ([0, 0, 100, -3.5e8, 100, 60], True),
        ([0, 10_061, 100, 0, 100, 60], True),
    ],
)
def test_far_is_ten_thousand_pixels_or_ten_sides(points, far):
    assert far_outside(points, 60, 100) is far
    assert far_outside(points, 60_000_000, 100_000_000) is False


def test_polygons_without_a_pixel():
    square, line = [2, 2, 6, 2, 6, 6, 2, 6], [2, 2, 4, 4, 6, 6]
    away = [50, 50, 60, 50, 60, 60]
    masks = [[square], [line], [line, square], [away], [away, line]]
    assert empty_polygons(masks, 10, 10) == [False, True, False, True, True]
    assert empty_polygons([], 10, 10) == []
