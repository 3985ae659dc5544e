"""Alignment, with shapes of known answers: samples of a RoI's grid are cell centres."""

import numpy as np
import pytest
import torch

from mmlevelset.models.levelset_rcnn.targets import tsdf_targets
from mmlevelset.ops.boxes import paste_level_sets


def one_target(mask, box, size, truncation):
    masks, tsdfs = tsdf_targets(
        torch.as_tensor(mask)[None], torch.tensor([box]), torch.zeros(1, dtype=torch.long), size,
        truncation,
    )  # fmt: skip
    return masks[0], tsdfs[0]


def half_plane(height, width, edge):
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, edge:] = 1
    return mask


def test_edge_between_two_samples():
    mask, tsdf = one_target(half_plane(40, 40, 17), [9.0, 5, 25, 21], 16, 4.0)
    expected = (torch.arange(16) - 7.5).div(4).clamp(-1, 1)  # the edge is 8 pixels into the box
    torch.testing.assert_close(tsdf, expected.expand(16, 16))
    assert torch.equal(mask, tsdf > 0)


def test_a_coarser_grid_measures_in_its_own_samples():
    _, tsdf = one_target(half_plane(64, 64, 32), [16.0, 16, 48, 48], 8, 2.0)
    torch.testing.assert_close(tsdf[4], torch.tensor([-1, -1, -0.75, -0.25, 0.25, 0.75, 1, 1]))


def test_the_boundary_outside_the_box_counts():
    mask = np.zeros((40, 40), dtype=np.uint8)
    mask[10:30, 10:30] = 1
    _, tight = one_target(mask, [10.0, 10, 30, 30], 20, 4.0)
    assert tight[0, 10] == 0.125 and tight[10, -1] == 0.125 and tight[10, 10] == 1
    _, inner = one_target(mask, [12.0, 12, 28, 28], 16, 4.0)
    assert inner[8, 0] == pytest.approx(2.5 / 4)


@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 1)])
def test_outside_the_image_is_background(flip):
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[:20, :20] = 1
    box = [0.0, 0, 20, 20]
    if 0 in flip:
        mask, box[1], box[3] = mask[::-1].copy(), 10.0, 30
    if 1 in flip:
        mask, box[0], box[2] = mask[:, ::-1].copy(), 10.0, 30
    _, tsdf = one_target(mask, box, 20, 4.0)
    distance = (torch.arange(20) + 0.5).minimum(19.5 - torch.arange(20))
    expected = distance.minimum(distance[:, None]).div(4).clamp(max=1)
    torch.testing.assert_close(tsdf, expected)


def test_each_roi_has_its_object():
    masks = torch.stack(
        [torch.from_numpy(half_plane(20, 20, 10)), torch.from_numpy(1 - half_plane(20, 20, 10))]
    )
    boxes = torch.tensor([[2.0, 2, 18, 18]]).repeat(3, 1)
    inside, _ = tsdf_targets(masks, boxes, torch.tensor([0, 1, 0]), 16, 4.0)
    assert torch.equal(inside[0], ~inside[1]) and torch.equal(inside[0], inside[2])


def test_no_rois():
    inside, tsdf = tsdf_targets(
        torch.zeros(0, 20, 20, dtype=torch.uint8), torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long), 16, 4.0,
    )  # fmt: skip
    assert inside.shape == tsdf.shape == (0, 16, 16)


@pytest.mark.parametrize("scale", [1, 2])
def test_target_and_paste_are_inverse(scale):
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 48), dtype=np.uint8)
    mask[8:40, 8:40] = np.kron(rng.random((8, 8)) < 0.5, np.ones((4, 4)))
    box = [8.0, 8, 40, 40]
    _, tsdf = one_target(mask, box, 32 * scale, 4.0)
    pasted = paste_level_sets(tsdf[None], torch.tensor([box]), 48, 48)[0]
    if scale == 1:
        assert np.array_equal(pasted.numpy(), mask.astype(bool))
    else:
        assert (pasted.numpy() != mask.astype(bool)).sum() < 0.04 * mask.sum()
