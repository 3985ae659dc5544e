import cv2
import numpy as np
import pytest
import torch

from mmlevelset.visualization import Panel, draw_panels, mask_polygons
from mmlevelset.visualization.panels import instance_colors
from tests.visualization.colors import drawn_box


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def test_outline_is_drawn_where_it_belongs():
    square = np.array([[10, 20], [40, 20], [40, 45], [10, 45], [10, 20]], float)
    image = np.zeros((50, 50, 3), np.uint8)
    picture = draw_panels([[Panel(image, outlines=[[square]], colors=["#ffffff"])]], size=500)
    assert picture.shape == (516, 516, 3)
    # Ten times as large, after a margin of 8; the line is about 2 pixels wide.
    assert drawn_box(picture[8:-8, 8:-8], "#ffffff") == pytest.approx([100, 200, 400, 450], abs=2)


def test_image_keeps_its_colors_and_place():
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :20], image[:, 20:] = (200, 30, 10), (10, 30, 200)
    picture = draw_panels([[Panel(image), Panel(image[:, ::-1].copy())]], size=400)
    assert picture.shape == (8 + 300 + 8, 8 + 400 + 8 + 400 + 8, 3)
    assert picture[100, 50].tolist() == [200, 30, 10]
    assert picture[100, 350].tolist() == [10, 30, 200]
    assert picture[100, 460].tolist() == [10, 30, 200]
    assert (picture[:6] == 255).all()


def test_rows_of_different_images():
    wide, tall = np.zeros((20, 40, 3), np.uint8), np.zeros((40, 20, 3), np.uint8)
    picture = draw_panels([[Panel(wide, "wide")], [Panel(tall, "tall")]], size=200)
    assert picture.shape == (8 + 30 + 100 + 8 + 30 + 200 + 8, 8 + 200 + 8, 3)
    # Titles are written above the images.
    assert (picture[8:36, 8:208] < 100).any()


def test_large_images_are_reduced():
    image = np.full((600, 1200, 3), 77, np.uint8)
    picture = draw_panels([[Panel(image)]], size=300)
    assert picture.shape == (166, 316, 3)
    assert (picture[20:140, 20:290] == 77).all()


def test_mask_polygons_follow_pixel_edges():
    masks = np.zeros((3, 30, 40), bool)
    masks[0, 5:15, 8:28] = True
    masks[1, :, :] = True
    outlines = mask_polygons(torch.from_numpy(masks))
    assert [len(polygons) for polygons in outlines] == [1, 1, 0]
    (square,) = outlines[0]
    assert square.min(0).tolist() == [8, 5]
    assert square.max(0).tolist() == [28, 15]
    (full,) = outlines[1]
    assert area(full) == pytest.approx(30 * 40)


def test_mask_polygons_with_hole_and_parts():
    mask = np.zeros((1, 60, 60), np.uint8)
    cv2.circle(mask[0], (20, 20), 15, 1, -1)
    cv2.circle(mask[0], (20, 20), 6, 0, -1)
    mask[0, 50:55, 50:55] = 1
    (polygons,) = mask_polygons(mask)
    assert len(polygons) == 3
    assert sum(area(polygon) < 0 for polygon in polygons) == 1
    assert sum(map(area, polygons)) == pytest.approx(mask.sum(), rel=0.02)


def test_neighbouring_colors_differ():
    colors = instance_colors(25)
    assert len(colors) == 25
    assert len(set(colors[:10])) == 10


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"image must be a uint8 array.*float64 \(5, 5, 3\)"):
        Panel(np.zeros((5, 5, 3)))
    with pytest.raises(ValueError, match="colors must hold one colour for each of 2 objects"):
        Panel(np.zeros((5, 5, 3), np.uint8), outlines=[[], []], colors=["red"])
    with pytest.raises(ValueError, match="at least one panel"):
        draw_panels([[]])


def test_labels_stand_above_the_outlines_and_within_the_image():
    def square(x: float, y: float) -> np.ndarray:
        return np.array([[x, y], [x + 10, y], [x + 10, y + 10], [x, y + 10], [x, y]])

    image = np.zeros((50, 100, 3), np.uint8)
    outlines = [[square(45, 30)], [square(0, 0)], [], [square(89, 25)]]
    colors = ["#ff0000", "#00ff00", "#ffff00", "#0000ff"]
    labels = ["middle", "corner", "empty", "right side"]
    picture = draw_panels([[Panel(image, "", outlines, colors, labels)]], size=500, gap=0)
    assert picture.shape == (250, 500, 3)
    plain = draw_panels([[Panel(image, "", outlines, colors)]], size=500, gap=0)
    changed = (picture != plain).any(-1)
    # Above the first square, from its middle to both sides.
    rows, columns = changed[:, 200:300].nonzero()
    assert 100 < rows.min() and rows.max() < 150
    assert columns.min() + columns.max() == pytest.approx(100, abs=3)
    # No label is cut off by the image's edges.
    assert not changed[:, :2].any() and not changed[:, -2:].any() and not changed[:2].any()
    assert changed[:40, 2:100].any() and changed[60:140, 400:].any()
