import cv2
import numpy as np
import pytest
from scipy import ndimage

from mmlevelset.datasets import shape_rendering
from mmlevelset.datasets.shape_rendering import KINDS, render

PLAIN = {"noise": 0.0, "light": 0.0, "occlusion": 0.0, "camouflage": 0.0}


def _objects(kind, number=12, side=160):
    drawn = (
        shape_rendering._draw_object(np.random.default_rng([7, i]), kind, side, side)
        for i in range(1000)
    )
    # Whole objects only: nothing of them lies at the image's edge.
    whole = (o for o in drawn if o and 0 < o.top and 0 < o.left)
    whole = (o for o in whole if o.top + len(o.inside) < side and o.left + len(o.inside.T) < side)
    return [next(whole) for _ in range(number)]


def _hull(mask):
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    return cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), cv2.convexHull(points), 1) > 0


def _solidity(mask):
    return mask.sum() / _hull(mask).sum()


def _boundary_f1(mask, truth, pixels):
    edges = [m & ~ndimage.binary_erosion(m) for m in (np.pad(mask, 1), np.pad(truth, 1))]
    distances = [ndimage.distance_transform_edt(~edge) for edge in edges]
    precision = (distances[1][edges[0]] <= pixels).mean()
    recall = (distances[0][edges[1]] <= pixels).mean()
    return 2 * precision * recall / max(precision + recall, 1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_and_mask_are_the_same_outline(kind):
    for item in _objects(kind):
        assert np.array_equal(item.coverage > 0.5, item.inside)
        assert item.coverage.sum() == pytest.approx(item.inside.sum(), rel=0.06, abs=6)


def _in_image(raster, height=40, width=40):
    top, left, inside, coverage = raster
    image, shares = np.zeros((height, width), bool), np.zeros((height, width))
    window = slice(top, top + len(inside)), slice(left, left + len(inside.T))
    image[window], shares[window] = inside, coverage
    return image, shares


@pytest.mark.parametrize("centre", [(20.0, 17.0), (20.5, 17.5), (19.3, 21.9)])
def test_disk_holds_the_pixels_whose_centre_is_inside(centre):
    raster = shape_rendering._rasterise(lambda x, y: 1 - np.hypot(x, y), centre, 9.0)
    inside, shares = _in_image(raster)
    rows, columns = np.mgrid[:40, :40]
    distance = np.hypot(columns + 0.5 - centre[0], rows + 0.5 - centre[1])
    assert np.array_equal(inside, distance < 9)
    # The share of a pixel, counted on a grid of 16 x 16 points in it.
    fine = (np.arange(40 * 16) + 0.5) / 16
    points = np.hypot(fine - centre[0], fine[:, None] - centre[1]) < 9
    exact = points.reshape(40, 16, 40, 16).mean((1, 3))
    assert np.abs(shares - exact).max() < 0.12
    assert shares.sum() == pytest.approx(np.pi * 81, rel=0.01)


def test_rectangle_has_known_rows_and_columns():
    def rectangle(x, y):
        return np.minimum(0.8 - np.abs(x), 0.3 - np.abs(y))

    # Edges at x = 12 and 28, y = 17 and 23: 16 columns and 6 rows of whole pixels.
    inside, shares = _in_image(shape_rendering._rasterise(rectangle, (20.0, 20.0), 10.0))
    expected = np.zeros((40, 40), bool)
    expected[17:23, 12:28] = True
    assert np.array_equal(inside, expected)
    assert np.array_equal(shares > 0.5, expected)
    # A quarter turn changes the roles of rows and columns.
    turned, _ = _in_image(shape_rendering._rasterise(rectangle, (20.0, 20.0), 10.0, np.pi / 2))
    assert np.array_equal(turned, expected.T)


def test_angle_turns_from_x_towards_y():
    def right_arm(x, y):
        return np.minimum.reduce([x - 0.2, 1 - x, 0.2 - np.abs(y)])

    inside, _ = _in_image(shape_rendering._rasterise(right_arm, (20.0, 20.0), 10.0, np.pi / 2))
    rows, columns = np.nonzero(inside)
    assert rows.min() == 22 and rows.max() == 29
    assert columns.min() == 18 and columns.max() == 21


def test_kinds_have_the_outline_their_name_promises():
    for item in _objects("ring"):
        assert ndimage.label(~np.pad(item.inside, 1))[1] == 2
    for item in _objects("split"):
        assert ndimage.label(item.inside)[1] in (2, 3)
    for kind, low, high in (
        ("ellipse", 0.93, 1.0),
        ("polygon", 0.88, 1.0),
        ("star", 0.35, 0.85),
        ("spider", 0.2, 0.7),
    ):
        for item in _objects(kind):
            assert low < _solidity(item.inside) <= high, kind
            assert ndimage.label(item.inside, np.ones((3, 3)))[1] == 1
    for item in _objects("spider"):
        body = ndimage.binary_opening(item.inside, iterations=3)
        assert body.sum() < 0.85 * item.inside.sum()


def test_sizes_go_from_small_to_large():
    areas = [
        np.bincount(picture.ids.ravel())[1:]
        for i in range(60)
        for picture in [render(np.random.default_rng(i), (160, 160), KINDS, 3, **PLAIN)]
    ]
    areas = np.concatenate(areas)
    assert areas.min() < 150
    assert areas.max() > 5000
    assert areas.min() >= 40


def test_image_edges_lie_on_mask_boundaries():
    # Over all objects the colour changes most where the mask does, not one pixel beside it.
    strength = np.zeros((3, 3))
    for i in range(20):
        picture = render(np.random.default_rng([1, i]), (128, 96), KINDS, 3, **PLAIN)
        image = picture.image.astype(float)
        for axis in (0, 1):
            jump = np.abs(np.diff(image, axis=axis)).sum(2)
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    ids = np.roll(picture.ids, (dy, dx), (0, 1))
                    edge = np.diff(ids.astype(int), axis=axis) != 0
                    strength[dy + 1, dx + 1] += jump[edge].mean()
    assert np.argmax(strength) == 4
    assert strength[1, 1] > 1.2 * np.delete(strength, 4).max()


def test_occlusion_covers_and_keeps_enough_visible():
    covered = 0
    for i in range(40):
        rng = np.random.default_rng([2, i])
        objects, ids = shape_rendering._place_objects(rng, KINDS, 6, 96, 96, 1.0)
        for number, item in enumerate(objects, 1):
            visible, whole = (ids == number).sum(), item.inside.sum()
            assert visible >= max(40, 0.4 * whole)
            assert not (ids == number)[item.window][~item.inside].any()
            covered += visible < whole
        rng = np.random.default_rng([2, i])
        objects, ids = shape_rendering._place_objects(rng, KINDS, 6, 96, 96, 0.0)
        assert (ids > 0).sum() == sum(item.inside.sum() for item in objects)
    assert covered > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(32, 32), (50, 200)])
def test_every_kind_finds_a_place_in_small_images(kind, size):
    for i in range(10):
        picture = render(np.random.default_rng(i), size, [kind], 3, **PLAIN)
        assert picture.kinds[0] == kind
        assert picture.ids.shape == picture.image.shape[:2] == size[::-1]
        assert picture.ids.max() == len(picture.kinds)


def test_blobs_score_badly_on_boundaries():
    hulls, near = [], []
    for i in range(40):
        rng = np.random.default_rng([3, i])
        ids = shape_rendering._place_objects(rng, KINDS, 4, 160, 160, 0.5)[1]
        for number in range(1, ids.max() + 1):
            truth = ids == number
            hulls.append(_boundary_f1(_hull(truth), truth, 1))
            near.append(_boundary_f1(np.roll(truth, 1, 1), truth, 1))
    assert np.mean(hulls) < 0.7
    assert np.mean(near) > 0.95


def test_knobs_change_what_they_name():
    def variation(**knobs):
        spread = []
        for i in range(10):
            knobs = {**PLAIN, **knobs}
            picture = render(np.random.default_rng([4, i]), (64, 64), KINDS, 1, **knobs)
            fine = picture.image.astype(float)
            fine -= cv2.GaussianBlur(fine, (0, 0), 1)
            spread.append(np.median(np.abs(fine)))
        return np.mean(spread)

    assert variation(noise=2.0) > 1.5 * variation()
    plain = render(np.random.default_rng(5), (64, 64), KINDS, 2, **PLAIN)
    lit = render(np.random.default_rng(5), (64, 64), KINDS, 2, **{**PLAIN, "light": 1.0})
    assert np.array_equal(plain.ids, lit.ids)
    assert not np.array_equal(plain.image, lit.image)
