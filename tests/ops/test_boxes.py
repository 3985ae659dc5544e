import math

import numpy as np
import pytest
import torch

from mmlevelset.ops.boxes import level_set_polygons, mask_boxes, paste_crops, paste_level_sets

# Pasting


@pytest.mark.parametrize("value", [0.3, 1.0, 50.0])
@pytest.mark.parametrize("box", [[3.0, 4, 11, 10], [0.0, 0, 16, 14], [2.5, 3.5, 9.5, 12.5]])
def test_a_full_box_pastes_as_that_box(box, value):
    pasted = paste_level_sets(torch.full((1, 28, 28), value), torch.tensor([box]), 14, 16)[0]
    y, x = torch.meshgrid(torch.arange(14) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    inside = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
    assert torch.equal(pasted, inside)


def test_the_zero_level_is_pasted_where_it_lies():
    column = (torch.arange(8) + 0.5 - 3.0) / 8  # zero at 3/8 of the width
    phi = column.expand(1, 8, 8)
    pasted = paste_level_sets(phi, torch.tensor([[10.0, 0, 50, 40]]), 40, 60)[0]
    assert (pasted.float().argmax(1) == 25).all() and pasted[:, 25:50].all()
    assert not pasted[:, 50:].any()


def test_many_boxes_and_none():
    boxes = torch.tensor([[1.0, 1, 5, 5], [3.0, 2, 9, 8]])
    pasted = paste_level_sets(torch.ones(2, 4, 4), boxes, 10, 10)
    assert pasted.sum((1, 2)).tolist() == [16, 36]
    assert paste_level_sets(torch.zeros(0, 4, 4), torch.zeros(0, 4), 10, 12).shape == (0, 10, 12)


def sampled(phi: torch.Tensor, box: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """phi at the centres of all pixels of the image, by torch's grid_sample; -1 outside."""
    x = (torch.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (torch.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None].to(phi)
    values = torch.nn.functional.grid_sample(
        phi[None, None], grid, padding_mode="border", align_corners=False
    )[0, 0]
    within = (x.abs() <= 1)[None] & (y.abs() <= 1)[:, None]
    return torch.where(within, values, -1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_is_bilinear_interpolation_in_each_box(dtype):
    generator = torch.Generator().manual_seed(0)
    phi = torch.randn(40, 9, 13, generator=generator).to(dtype)
    corners = torch.rand(40, 4, generator=generator) * torch.tensor([70.0, 50, 70, 50]) - 5
    boxes = torch.cat([corners[:, :2].minimum(corners[:, 2:]), corners.view(-1, 2, 2).amax(1)], 1)
    boxes[0, 2] = boxes[0, 0]  # a box without width
    pasted = paste_level_sets(phi, boxes, 48, 64)
    assert not pasted[0].any()
    for mask, one, box in zip(pasted[1:], phi[1:], boxes[1:], strict=True):
        want = sampled(one.double(), box.double(), 48, 64)
        certain = want.abs() > 1e-4
        assert torch.equal(mask[certain], want[certain] > 0)


# Polygons


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


# Boxes of masks, and crops within boxes


def test_boxes_of_masks():
    inside = torch.zeros(4, 20, 30, dtype=torch.bool)
    inside[0, 5:15, 10:20] = True
    inside[1, 0, 29] = True
    inside[3, 7:9, 3] = inside[3, 8, 3:23] = True
    assert mask_boxes(inside, 0.2).tolist() == [
        [8, 3, 22, 17],
        [28, 0, 30, 2],
        [0, 0, 30, 20],  # none
        [0, 6, 27, 10],
    ]
    assert mask_boxes(inside[:1], 0.0).tolist() == [[9, 4, 21, 16]]


def test_paste_is_zero_outside_of_the_box():
    boxes = torch.tensor([[2.0, 1.0, 7.0, 4.0], [0.0, 0.0, 8.0, 6.0]])
    pasted = paste_crops(torch.ones(2, 3, 3), boxes, (6, 8))
    expected = torch.zeros(6, 8)
    expected[1:4, 2:7] = 1
    assert torch.equal(pasted[0] != 0, expected != 0)
    torch.testing.assert_close(pasted, torch.stack([expected, torch.ones(6, 8)]))
