import math

import numpy as np
import pytest
import torch

from mmlevelset.models.levelset_rcnn.polygons import level_set_polygons


def area_and_centroid(polygon: np.ndarray) -> tuple[float, np.ndarray]:
    cross = polygon[:-1, 0] * polygon[1:, 1] - polygon[1:, 0] * polygon[:-1, 1]
    area = cross.sum() / 2
    return area, ((polygon[:-1] + polygon[1:]) * cross[:, None]).sum(0) / (6 * area)


@pytest.mark.parametrize("height, width", [(112, 112), (29, 57)])
def test_disk_in_a_box_of_odd_size(height, width):
    """A disk known in image pixels, sampled on the grid of an off-grid box, comes back."""
    box = torch.tensor([10.3, 20.7, 61.8, 73.2])
    centre, radius = (37.1, 45.4), 18.6
    x = box[0] + (torch.arange(width) + 0.5) * (box[2] - box[0]) / width
    y = box[1] + (torch.arange(height) + 0.5) * (box[3] - box[1]) / height
    phi = radius - torch.hypot(x[None] - centre[0], y[:, None] - centre[1])
    ((polygon,),) = level_set_polygons(phi[None], box[None])
    area, centroid = area_and_centroid(polygon)
    assert area == pytest.approx(math.pi * radius**2, rel=5e-3)
    assert centroid == pytest.approx(centre, abs=0.02)
    assert np.hypot(*(polygon - centre).T) == pytest.approx(np.full(len(polygon), radius), abs=0.05)


def test_full_grid_is_the_box():
    box = torch.tensor([[3.25, 4.5, 17.75, 11.0]])
    ((polygon,),) = level_set_polygons(torch.rand(1, 7, 5) + 0.1, box)
    assert polygon.min(0) == pytest.approx([3.25, 4.5], abs=1e-12)
    assert polygon.max(0) == pytest.approx([17.75, 11.0], abs=1e-12)
    assert area_and_centroid(polygon)[0] == pytest.approx(14.5 * 6.5)


def test_empty_level_set_and_no_objects():
    assert level_set_polygons(-torch.ones(1, 4, 4), torch.tensor([[0.0, 0, 4, 4]])) == [[]]
    assert level_set_polygons(torch.zeros(0, 4, 4), torch.zeros(0, 4)) == []


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"boxes must have shape \(2, 4\).*\(1, 4\)"):
        level_set_polygons(torch.zeros(2, 4, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="boxes must be finite"):
        level_set_polygons(torch.zeros(1, 4, 4), torch.full((1, 4), float("nan")))
