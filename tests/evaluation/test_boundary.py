import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as mask_util
from scipy import ndimage
from scipy.spatial.distance import cdist

from mmlevelset.evaluation import (
    boundary_f1,
    boundary_map,
    rle_boundary_f1,
    rle_boundary_iou,
)
from mmlevelset.evaluation.boundary import _decoded_crop


def square(x: int, y: int, side: int = 20, size: int = 60) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def encode(mask: np.ndarray) -> dict:
    return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))


def f1_by_distance(pred: np.ndarray, target: np.ndarray, tolerance: float) -> float:
    """Boundary F1 by its definition: pixel by pixel, with a distance matrix."""
    points = []
    for mask in (pred, target):
        padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        height, width = mask.shape
        found = []
        for y in range(height):
            for x in range(width):
                # The diagonal neighbour counts only inside the image.
                neighbours = [padded[y, x + 1], padded[y + 1, x]]
                if x + 1 < width and y + 1 < height:
                    neighbours.append(padded[y + 1, x + 1])
                if any(value != mask[y, x] for value in neighbours):
                    found.append((y, x))
        points.append(np.reshape(found, (-1, 2)))
    if not len(points[0]) or not len(points[1]):
        return float(len(points[0]) == len(points[1]))
    near = cdist(*points) <= tolerance
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / max(precision + recall, 1e-12)


def test_a_perfect_prediction_scores_one():
    mask = square(10, 10)
    assert boundary_f1(mask, mask).tolist() == [1, 1]


def test_boundary_of_a_square_is_one_pixel_wide():
    edge = boundary_map(square(10, 10))
    # A frame from row and column 9 (the last outside the square) to 29 (the last inside).
    assert edge.sum() == 4 * 21 - 4
    assert edge[9, 9:30].all() and edge[29, 9:30].all()
    assert not edge[10:29, 10:29].any()


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_shifted_square_by_hand(shift):
    # Each frame has 80 pixels: columns 9 and 29 with 21 pixels each, and 19 more pixels of each of
    # the rows 9 and 29. One frame is shifted in x by s. Pixels of the two rows count within the
    # tolerance t of the other frame's rows. The two columns count only if s <= t.
    scores = boundary_f1(square(10 + shift, 10), square(10, 10), (1, 2))
    for tolerance, score in zip((1, 2), scores, strict=True):
        if shift <= tolerance:
            expected = 80
        else:
            # The shifted frame's rows 9 and 29 have columns 9+s to 29+s. Of these, columns up to
            # 29+t are near the other frame's row: 21 - s + t pixels in each row. Column 9+s is
            # near the other frame's rows at its two ends, t pixels at each. Column 29+s is near
            # nothing.
            expected = 2 * (21 - shift + tolerance) + 2 * tolerance
        assert score == pytest.approx(expected / 80)


def test_far_apart_masks_score_zero():
    assert boundary_f1(square(0, 0), square(35, 35)).tolist() == [0, 0]


def test_masks_without_boundary():
    full, empty = np.ones((9, 9), bool), np.zeros((9, 9), bool)
    assert boundary_f1(full, full).tolist() == [1, 1]
    assert boundary_f1(empty, empty).tolist() == [1, 1]
    assert boundary_f1(square(2, 2, 4, 9), empty).tolist() == [0, 0]
    assert boundary_f1(empty, square(2, 2, 4, 9)).tolist() == [0, 0]
    assert rle_boundary_f1(encode(empty), encode(empty)).tolist() == [1, 1]
    assert rle_boundary_f1(encode(square(2, 2, 4, 9)), encode(empty)).tolist() == [0, 0]


def test_image_edge_is_no_boundary():
    left_half = np.zeros((8, 8), bool)
    left_half[:, :4] = True
    assert boundary_map(left_half).nonzero()[1].tolist() == [3] * 8


masks = arrays(np.bool_, (9, 12), elements=st.booleans())


@given(masks, masks, st.sampled_from([0, 1, 1.5, 2, 3]))
@settings(max_examples=100, deadline=None)
def test_equals_the_distance_definition(pred, target, tolerance):
    expected = f1_by_distance(pred, target, tolerance)
    assert boundary_f1(pred, target, [tolerance])[0] == pytest.approx(expected)
    assert rle_boundary_f1(encode(pred), encode(target), [tolerance])[0] == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_cropping_changes_nothing(seed):
    generator = np.random.default_rng(seed)
    pred, target = np.zeros((2, 70, 50), bool)
    for mask in (pred, target):
        x, y = generator.integers(0, 40, 2)
        blob = ndimage.gaussian_filter(generator.normal(size=(20, 20)), 2) > 0
        mask[y : y + 20, x : x + 20] = blob[: 70 - y, : 50 - x]
    whole = boundary_f1(pred, target, (1, 2, 5))
    assert rle_boundary_f1(encode(pred), encode(target), (1, 2, 5)) == pytest.approx(whole)
    assert boundary_f1(target, pred, (1, 2, 5)) == pytest.approx(whole)
    assert (np.diff(whole) >= 0).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_crops_are_decoded_as_pycocotools_decodes_the_whole(seed):
    """Runs are long and short, so that counts have one to four characters and both signs."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 400, 2)
    noise = ndimage.gaussian_filter(generator.normal(size=(height, width)), 20 * seed / 2**32)
    rle = encode(noise > np.quantile(noise, generator.random()))
    low = generator.integers((0, 0), (width, height))
    high = generator.integers(low + 1, (width + 1, height + 1))
    expected = mask_util.decode(rle)[low[1] : high[1], low[0] : high[0]]
    assert (_decoded_crop(rle, low, high).T == expected).all()


def boundary_iou_by_definition(pred: np.ndarray, target: np.ndarray, ratio: float) -> float:
    """Boundary IoU by its definition. A pixel of the mask is in the band if a pixel outside the
    mask or beyond the image is within the distance d."""
    distance = max(1, round(ratio * np.hypot(*pred.shape)))
    bands = []
    for mask in (pred, target):
        padded = np.pad(mask, distance)
        bands.append(np.zeros_like(mask))
        for y, x in np.argwhere(mask):
            around = padded[y : y + 2 * distance + 1, x : x + 2 * distance + 1]
            bands[-1][y, x] = not around.all()
    union = (bands[0] | bands[1]).sum()
    return (bands[0] & bands[1]).sum() / union if union else 0.0


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.02, 0.1, 1]))
@settings(max_examples=60, deadline=None)
def test_boundary_iou_equals_the_definition(seed, ratio):
    generator = np.random.default_rng(seed)
    size = generator.integers(1, 60, 2)
    pred, target = ndimage.gaussian_filter(generator.normal(size=(2, *size)), (0, 5, 5)) > 0
    expected = boundary_iou_by_definition(pred, target, ratio)
    assert rle_boundary_iou(encode(pred), encode(target), ratio) == pytest.approx(expected)


def test_boundary_iou_by_hand():
    """The diagonal of an image of 60 x 60 is 84.9, so the bands are 2 wide: a square's band has
    400 - 256 = 144 pixels. Squares shifted by 2 share 18 x 20 pixels, and 18 x 16 of these are
    inside one of the bands. So the bands share 72 of 144 + 144 - 72 = 216 pixels."""
    first, shifted = encode(square(10, 10)), encode(square(12, 10))
    assert rle_boundary_iou(first, first) == 1
    assert rle_boundary_iou(first, shifted) == pytest.approx(72 / 216)
    assert rle_boundary_iou(first, encode(square(35, 35))) == 0
    # The edge of the image is a boundary here. The bands have 3600 - 56 x 56 = 464 and 448 pixels.
    # They share their left and upper parts, 58 x 58 - 56 x 56 = 228 pixels.
    full, empty = encode(square(0, 0, 60)), encode(np.zeros((60, 60), bool))
    assert rle_boundary_iou(full, full) == 1
    assert rle_boundary_iou(full, encode(square(0, 0, 58))) == pytest.approx(228 / 684)
    assert rle_boundary_iou(full, empty) == rle_boundary_iou(empty, empty) == 0


def test_counts_as_text_are_accepted():
    rle = encode(square(5, 5))
    text = {**rle, "counts": rle["counts"].decode()}
    assert rle_boundary_f1(text, rle).tolist() == [1, 1]
    assert rle_boundary_iou(rle, text) == 1


def test_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(60, 60\) and \(61, 61\)"):
        boundary_f1(square(1, 1), square(1, 1, size=61))
    with pytest.raises(ValueError, match=r"\[60, 60\] and \[61, 61\]"):
        rle_boundary_f1(encode(square(1, 1)), encode(square(1, 1, size=61)))
