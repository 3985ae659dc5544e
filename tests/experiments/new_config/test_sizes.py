"""Settings from the sizes of images and boxes, for sizes whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmlevelset.experiments.new_config import sizes
from mmlevelset.experiments.new_config.split import split_images

STRIDES = (4, 8, 16, 32)


def test_the_scale_bounds_the_area_and_enlarges_nothing():
    assert sizes.image_scale(np.array([[640, 480]]), 448 * 320) == (448, 320)
    assert sizes.image_scale(np.array([[480, 640]]), 448 * 320) == (448, 320)
    assert sizes.image_scale(np.array([[128, 128]]), 448 * 320) == (128, 128)
    assert sizes.image_scale(np.array([[4000, 3000]]), 1333 * 800) == (1184, 896)
    factors = sizes.resize_factors(np.array([[896, 100], [320, 640]]), (448, 320))
    assert factors.tolist() == [0.5, 0.7]


def test_anchors_of_known_boxes():
    """Squares of 32, 64, 128 and 256 pixels are the anchors of scale 8."""
    boxes = np.array([[side, side] for side in (32, 64, 128, 256)], float)
    found = sizes.choose_anchors(boxes, STRIDES)
    assert (found.scale, found.ratios, found.covered) == (8, (0.5, 1.0, 2.0), 1)
    assert found.shares == (0.25, 0.25, 0.25, 0.25)
    upright = boxes * [1, 1] / [np.sqrt(3), 1 / np.sqrt(3)]
    found = sizes.choose_anchors(upright, STRIDES)
    assert 3.0 in found.ratios and found.covered == 1
    # RoIAlign reads boxes from one and two times the finest scale from the next level.
    assert found.finest_scale in (28, 56, 112) and sum(found.roi_shares) == 1
    small = sizes.choose_anchors(boxes / 4, STRIDES)
    assert small.scale == 2 and small.finest_scale == 28


@given(st.lists(st.tuples(st.floats(1, 900), st.floats(1, 900)), min_size=1, max_size=30))
def test_any_boxes_have_levels(pairs):
    boxes = np.array(pairs)
    found = sizes.choose_anchors(boxes, STRIDES)
    assert sum(found.shares) == pytest.approx(1) and 0 <= found.covered <= 1
    assert list(found.ratios) == sorted(set(found.ratios))
    grids = sizes.choose_grids(boxes, (448, 320))
    size = np.sqrt(boxes.prod(1))
    low, high = np.array(grids.ranges).T
    inside = (size[:, None] >= low) & (size[:, None] <= high)
    assert inside.any(1).all(), "each box has a level"
    assert grids.shares == pytest.approx(inside.mean(0).tolist())
    assert list(grids.grids) == sorted(grids.grids, reverse=True)


def test_grids_follow_the_boxes_and_the_image():
    boxes = np.full((9, 2), 150.0)
    assert sizes.choose_grids(boxes, (448, 320)).grids == (28, 24, 16, 12, 8)
    assert sizes.choose_grids(boxes, (448, 320)).ranges == sizes.SOLO_RANGES
    assert sizes.choose_grids(boxes / 4, (448, 320)).ranges[0] == (1, 24)
    assert sizes.choose_grids(boxes, (1333, 800)).grids == (40, 34, 24, 18, 12)


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 99))
def test_splits(count, share, seed):
    names = [f"{number // 2}.jpg" for number in range(count + 2)]
    labels = [{number % 3} for number in range(count + 2)]
    held = split_images(names, labels, share, seed)
    assert held == split_images(names, labels, share, seed)
    assert any(held) and not all(held)
    sides = {name: {h for n, h in zip(names, held, strict=True) if n == name} for name in names}
    assert all(len(side) == 1 for side in sides.values()), "a file is on one side"
