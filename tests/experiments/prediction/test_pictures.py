from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlevelset.experiments.prediction.detector import Detections
from mmlevelset.experiments.prediction.pictures import draw_contours, draw_evolutions
from tests.visualization.colors import drawn_box


def square(height: int, width: int) -> Detections:
    """An object on a black photograph: its box from a quarter to three quarters of each side."""
    box = np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]])
    x1, y1, x2, y2 = box[0]
    outline = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]])
    return Detections(
        np.zeros((height, width, 3), np.uint8),
        box,
        np.array([0.75]),
        np.array([0]),
        ["thing"],
        [{}],
        [[outline]],
    )


@pytest.mark.parametrize(
    "height, width, shape",
    [(64, 128, (320, 640)), (800, 1000, (800, 1000)), (3000, 2000, (1600, 1067))],
)
def test_contours_are_at_their_places_at_each_size(height, width, shape):
    found = replace(square(height, width), names=[""], scores=np.array([0.5]))
    picture = draw_contours(found)
    assert picture.shape == (*shape, 3)
    left, top, right, bottom = drawn_box(picture[shape[0] // 4 :], "#ff3b30")
    assert [left, right] == pytest.approx([shape[1] / 4, 3 * shape[1] / 4], abs=3)
    assert bottom == pytest.approx(shape[0] / 2, abs=3) and top <= 3


def test_rows_of_the_best_objects():
    found = square(64, 128)
    assert draw_evolutions(found) is None
    phi = torch.linspace(-1, 1, 14).expand(1, 3, 14, 14)
    steps = draw_evolutions(replace(found, level_sets=phi))
    # A panel is the box and a sixth of its longer side all around, 300 pixels wide.
    height = round(300 * (32 + 21) / (64 + 21))
    assert steps.shape[0] == pytest.approx(8 + 30 + height + 8, abs=4)
    assert steps.shape[1] == 8 + 3 * 308
    refined = draw_evolutions(replace(found, level_sets=phi, refined=phi[:, 0]))
    assert refined.shape[1] == 8 + 4 * 308
    masks = draw_evolutions(replace(found, initial=found.polygons))
    assert masks.shape[1] == 8 + 2 * 308
    # The contour is at the middle of the box, which is the middle of each panel.
    x1, _, x2, _ = drawn_box(steps[38:, 8:308], "#ff3b30")
    assert x1 == pytest.approx(150, abs=4)
    assert x2 == pytest.approx(300 - 300 * 10.5 / 85, abs=5)
