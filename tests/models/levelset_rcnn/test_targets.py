"""Alignment, with shapes of known answers: samples of a RoI's grid are cell centres."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmlevelset.models.levelset_rcnn import targets
from mmlevelset.models.levelset_rcnn.targets import grid_tsdf, image_tsdf
from mmlevelset.ops.boxes import paste_level_sets


@pytest.fixture(params=[image_tsdf, grid_tsdf], ids=["image", "grid"])
def make(request):
    """Both kinds of targets agree where the boundary lies between samples."""
    return request.param


def one_target(make, mask, box, size, truncation):
    indices = torch.zeros(1, dtype=torch.long)
    return make(torch.as_tensor(mask)[None], torch.tensor([box]), indices, size, truncation)[0]


def half_plane(height, width, edge):
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, edge:] = 1
    return mask


def test_edge_between_two_samples(make):
    tsdf = one_target(make, half_plane(40, 40, 17), [9.0, 5, 25, 21], 16, 4.0)
    expected = (torch.arange(16) - 7.5).div(4).clamp(-1, 1)  # the edge is 8 pixels into the box
    torch.testing.assert_close(tsdf, expected.expand(16, 16))


def test_a_coarser_grid_measures_in_its_own_samples(make):
    tsdf = one_target(make, half_plane(64, 64, 32), [16.0, 16, 48, 48], 8, 2.0)
    torch.testing.assert_close(tsdf[4], torch.tensor([-1, -1, -0.75, -0.25, 0.25, 0.75, 1, 1]))


def test_the_boundary_outside_the_box_counts(make):
    mask = np.zeros((40, 40), dtype=np.uint8)
    mask[10:30, 10:30] = 1
    tight = one_target(make, mask, [10.0, 10, 30, 30], 20, 4.0)
    assert tight[0, 10] == 0.125 and tight[10, -1] == 0.125 and tight[10, 10] == 1
    inner = one_target(make, mask, [12.0, 12, 28, 28], 16, 4.0)
    assert inner[8, 0] == pytest.approx(2.5 / 4)


@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 1)])
def test_outside_the_image_is_background(make, flip):
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[:20, :20] = 1
    box = [0.0, 0, 20, 20]
    if 0 in flip:
        mask, box[1], box[3] = mask[::-1].copy(), 10.0, 30
    if 1 in flip:
        mask, box[0], box[2] = mask[:, ::-1].copy(), 10.0, 30
    tsdf = one_target(make, mask, box, 20, 4.0)
    distance = (torch.arange(20) + 0.5).minimum(19.5 - torch.arange(20))
    expected = distance.minimum(distance[:, None]).div(4).clamp(max=1)
    torch.testing.assert_close(tsdf, expected)


def test_each_roi_has_its_object(make):
    masks = torch.stack(
        [torch.from_numpy(half_plane(20, 20, 10)), torch.from_numpy(1 - half_plane(20, 20, 10))]
    )
    boxes = torch.tensor([[2.0, 2, 18, 18]]).repeat(3, 1)
    inside = make(masks, boxes, torch.tensor([0, 1, 0]), 16, 4.0) > 0
    assert torch.equal(inside[0], ~inside[1]) and torch.equal(inside[0], inside[2])


def test_no_rois(make):
    masks = torch.zeros(0, 20, 20, dtype=torch.uint8)
    tsdf = make(masks, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 16, 4.0)
    assert tsdf.shape == (0, 16, 16)


@pytest.mark.parametrize("scale", [1, 2])
def test_target_and_paste_are_inverse(make, scale):
    rng = np.random.default_rng(0)
    mask = np.zeros((48, 48), dtype=np.uint8)
    mask[8:40, 8:40] = np.kron(rng.random((8, 8)) < 0.5, np.ones((4, 4)))
    box = [8.0, 8, 40, 40]
    tsdf = one_target(make, mask, box, 32 * scale, 4.0)
    pasted = paste_level_sets(tsdf[None], torch.tensor([box]), 48, 48)[0]
    if scale == 1:
        assert np.array_equal(pasted.numpy(), mask.astype(bool))
    else:
        assert (pasted.numpy() != mask.astype(bool)).sum() < 0.04 * mask.sum()


def polygon_distance(mask, points):
    """Signed distance of points (P, 2) to the edges between pixels of unlike masks, and inside."""
    padded = np.pad(mask.astype(bool), 1)
    edges = []
    for y, x in np.argwhere(padded[:, 1:] != padded[:, :-1]):
        edges.append((x, y - 1, x, y))
    for y, x in np.argwhere(padded[1:] != padded[:-1]):
        edges.append((x - 1, y, x, y))
    start, end = np.split(np.array(edges, dtype=float), 2, axis=1)
    along = end - start
    t = ((points[:, None] - start) * along).sum(2).clip(0, 1)
    distance = np.linalg.norm(points[:, None] - start - t[..., None] * along, axis=2).min(1)
    column, row = np.floor(points).astype(int).T
    inside = padded[(row + 1).clip(0, len(padded) - 1), (column + 1).clip(0, padded.shape[1] - 1)]
    return np.where(inside, distance, -distance)


@pytest.mark.parametrize("size", [7, 28, 56])
def test_targets_are_distances_to_the_objects_boundary(size):
    """Against the distance to the polygon of the pixels' edges, in boxes at fractions of pixels."""
    y, x = np.mgrid[:60, :70] + 0.5
    mask = (np.hypot((x - 30) / 1.5, y - 28) < 15) & ~(np.hypot(x - 36, y - 25) < 5)
    mask |= (abs(x - 55) < 1.6) & (abs(y - 30) < 20)  # thin
    box = [5.3, 8.7, 61.9, 50.2]
    tsdf = one_target(image_tsdf, mask.astype(np.uint8), box, size, 4.0).numpy()
    width, height = (box[2] - box[0]) / size, (box[3] - box[1]) / size
    at_x, at_y = (box[k] + (np.arange(size) + 0.5) * step for k, step in ((0, width), (1, height)))
    points = np.stack(np.broadcast_arrays(at_x, at_y[:, None]), -1).reshape(-1, 2)
    unit = 4.0 * np.sqrt(width * height)
    expected = (polygon_distance(mask, points).reshape(size, size) / unit).clip(-1, 1)
    error = abs(tsdf - expected) * unit  # in pixels
    assert error.max() < 0.75 and error.mean() < 0.15


def test_image_targets_place_the_boundary_between_samples():
    """A slanted edge pasted from a coarse grid, to within half of the grid's own error."""
    y, x = np.mgrid[:64, :64] + 0.5
    mask = (y + 0.4 * x < 45).astype(np.uint8)
    box = [2.0, 3.0, 62.0, 61.0]
    errors = []
    for make in (image_tsdf, grid_tsdf):
        tsdf = one_target(make, mask, box, 14, 4.0)
        pasted = paste_level_sets(tsdf[None], torch.tensor([box]), 64, 64)[0].numpy()
        errors.append((pasted != mask)[3:61, 2:62].sum())
    assert errors[0] < 0.5 * errors[1]


def test_a_box_without_its_object_and_beyond_the_image():
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:8, 5:8] = 1
    assert (one_target(image_tsdf, mask, [14.0, 14, 19, 19], 8, 1.0) == -1).all()
    assert (one_target(image_tsdf, mask, [30.0, 30, 42, 50], 8, 1.0) == -1).all()
    assert one_target(image_tsdf, mask, [5.0, 5, 5, 5], 8, 1.0).isfinite().all()
    large = one_target(image_tsdf, mask, [-3e3, -3e3, 3e3, 3e3], 8, 1.0)  # in little time
    assert (large < 0).all()


def test_rois_of_several_objects_in_any_order_and_all_windows_at_once(monkeypatch):
    """As on a GPU, where the windows of all objects are transformed together."""
    torch.manual_seed(0)
    masks = (torch.rand(3, 40, 50) < 0.5).kron(torch.ones(1, 4, 4)).to(torch.uint8)
    corner = torch.rand(6, 2) * 60
    boxes = torch.cat([corner, corner + 20 + torch.rand(6, 2) * 60], 1)
    indices = torch.tensor([2, 0, 2, 1, 0, 2])
    found = image_tsdf(masks, boxes, indices, 14, 2.0, margin=2)
    for tsdf, box, index in zip(found, boxes, indices, strict=True):
        pad = (box[2:] - box[:2]) * 2 / 14
        wide = torch.cat([box[:2] - pad, box[2:] + pad]).tolist()
        alone = one_target(image_tsdf, masks[index].numpy(), wide, 18, 2.0)
        torch.testing.assert_close(tsdf, alone, rtol=0, atol=1e-4)
    own = targets._distances
    together = SimpleNamespace(type="cuda")

    def distances(masks, objects):
        on_gpu = type("Masks", (), dict(device=together, __getitem__=lambda _, k: masks[k]))
        return own(on_gpu(), objects)

    monkeypatch.setattr(targets, "_distances", distances)
    torch.testing.assert_close(image_tsdf(masks, boxes, indices, 14, 2.0, margin=2), found)
