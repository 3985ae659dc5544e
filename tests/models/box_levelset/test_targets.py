import mmcv
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmlevelset.datasets.box_masks import box_bitmaps
from mmlevelset.models.box_levelset.targets import Boxes, assign_cells, box_masks
from tests.models.box_levelset.naive import axis_cells, box_array, solo_cells

GRIDS = [9, 7, 5, 4, 3]
SCALES = ((1, 24), (12, 40), (24, 64), (48, 100), (60, 500))
SIZE = (96, 160)


def instances(boxes, size=SIZE):
    corners = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = box_bitmaps(corners.numpy(), *size)
    return InstanceData(bboxes=corners, labels=torch.arange(len(corners)), masks=masks)


def random_boxes(generator, count, kind):
    height, width = SIZE
    extent = generator.uniform(1, [width, height], (count, 2)) ** generator.uniform(
        0.3, 1, (count, 1)
    )
    low = generator.uniform(0, 1, (count, 2)) * ([width, height] - extent)
    boxes = np.concatenate((low, low + extent), 1)
    if kind == "halves":  # halves are rounded to even, and lie on the cells' edges
        boxes = np.round(boxes * 2) / 2
    if kind == "whole":
        boxes = np.round(boxes)
    if kind == "border":
        boxes[::2, :2] = 0
        boxes[1::2, 2:] = (width, height)
    if kind == "tiny":
        boxes[:, 2:] = np.minimum(
            boxes[:, :2] + generator.uniform(0.5, 5, (count, 2)), (width, height)
        )
    return boxes.astype(np.float32)


def assigned(images, inclusive, pos_scale=0.2, size=SIZE, grids=GRIDS, scales=SCALES):
    boxes = Boxes.of([instances(own, size) for own in images], inclusive)
    return boxes, assign_cells(boxes, len(images), size, grids, scales, pos_scale)


def as_cells(found, first_box, per_image, grids=GRIDS):
    """{(image, level, row, column): box of the image}."""
    offsets = np.cumsum([0] + [grid * grid for grid in grids])
    cells = {}
    for cell, level, box in zip(*(part.tolist() for part in found), strict=True):
        image, rest = divmod(cell, per_image)
        row, column = divmod(rest - offsets[level], grids[level])
        assert 0 <= row < grids[level]
        cells[image, level, int(row), int(column)] = box - first_box[image]
    return cells


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("kind", ["any", "halves", "whole", "border", "tiny"])
@pytest.mark.parametrize("pos_scale", [0.2, 0.6])
def test_cells_are_those_of_solo(kind, inclusive, pos_scale):
    generator = np.random.default_rng(0)
    total = 0
    for count in (1, 3, 12, 30):  # the last overlap
        images = [random_boxes(generator, count, kind), [], random_boxes(generator, 4, kind)]
        _, found = assigned(images, inclusive, pos_scale)
        want = {}
        for number, own in enumerate(images):
            cells = solo_cells(own, inclusive, SIZE, GRIDS, SCALES, pos_scale)
            want |= {(number, *cell): box for cell, box in cells.items()}
        per_image = sum(grid * grid for grid in GRIDS)
        assert as_cells(found, [0, count, count], per_image) == want
        assert found.cell.tolist() == sorted(found.cell.tolist())
        total += len(want)
    assert total > (20 if kind == "tiny" else 100)


def test_a_bound_on_an_edge_may_fall_to_the_cell_before():
    """The shrunk box begins at row 96 of 128, the edge between the cells 8 and 9 of 12."""
    settings = dict(size=(128, 128), grids=[12], scales=[(1, 2048)])
    _, found = assigned([[(5, 80, 30, 120)]], True, **settings)
    assert {cell // 12 for cell in found.cell.tolist()} == {8, 9}


@pytest.mark.parametrize(
    ("size", "grid", "pos_scale"),
    [(96, 12, 0.2), (96, 10, 0.4), (128, 40, 0.2), (800, 24, 0.2), (1344, 36, 0.2), (640, 40, 0.2)],
)
def test_bounds_of_whole_boxes_are_those_of_the_released_code(size, grid, pos_scale):
    """Boxes whose shrunk box begins on the edge of a cell, and other boxes, one in each image."""
    low, high = np.triu_indices(size, 5)
    bound = ((low + high) / 2 - (high - low) * pos_scale / 2) * grid / size
    on_edge = np.abs(bound - bound.round()) < 1e-9
    on_edge[:: len(low) // 500] = True
    low, high = low[on_edge], high[on_edge]
    corners = torch.from_numpy(np.stack((low, low, high, high), 1)).float()
    count = len(low)
    edges = corners + torch.tensor([0, 0, 1, 1])
    boxes = Boxes(corners, torch.zeros(count).long(), torch.arange(count), edges)
    found = assign_cells(boxes, count, (size, size), [grid], [(1, 1e5)], pos_scale)
    half = np.float32(0.5) * (high - low).astype(np.float32) * np.float32(pos_scale)
    first, last = axis_cells((low + high) / 2, half, size, grid)
    assert (last >= first).all()
    row, column = found.cell % grid**2 // grid, found.cell % grid
    for cells in (row, column):
        own = torch.full((count,), grid).scatter_reduce(0, found.box, cells, "amin")
        assert own.tolist() == first.tolist()
        own = torch.zeros(count).long().scatter_reduce(0, found.box, cells, "amax")
        assert own.tolist() == last.tolist()
    assert found.box.bincount().tolist() == ((last - first + 1) ** 2).tolist()
    # In float64 throughout, bounds on an edge have other cells: the boxes hold ties.
    middle, reach = (low + high) / 2, (high - low) * pos_scale / 2
    least, bound = (np.floor_divide(at / size, 1 / grid) for at in (middle, middle - reach))
    assert (np.maximum(bound, least - 1) != first).any()


def test_later_box_takes_the_cell():
    box = (40, 30, 70, 60)
    _, first = assigned([[box, (41, 31, 69, 59), (0, 0, 150, 90)]], False)
    assert 0 not in first.box and {1, 2} <= set(first.box.tolist())
    _, alone = assigned([[box]], False)
    assert (alone.box == 0).all() and len(alone.box) > 0


def test_a_box_belongs_to_each_level_whose_range_holds_its_scale():
    scales = ((1, 20), (20, 40), (40, 60))
    for side, levels in ((19, {0}), (20, {0, 1}), (30, {1}), (40, {1, 2}), (61, set())):
        _, found = assigned([[(10, 10, 10 + side, 10 + side)]], False, 0.2, SIZE, [4, 4, 4], scales)
        assert set(found.level.tolist()) == levels


def test_smallest_box():
    for inclusive, box, positive in (
        (False, (50, 50, 55, 52), True),
        (False, (50, 50, 54.9, 52), False),
        (True, (50, 50, 54, 51), True),  # 5 by 2 pixels
        (True, (50, 50, 53, 51), False),
    ):
        _, found = assigned([[box]], inclusive)
        assert (len(found.cell) > 0) == positive


def test_no_boxes():
    boxes, found = assigned([[], []], True)
    assert boxes.corners.shape == (0, 4)
    assert all(part.shape == (0,) and part.dtype == torch.int64 for part in found)


def test_inclusive_boxes_need_their_masks():
    sample = instances([(0, 0, 8, 8)])
    del sample.masks
    with pytest.raises(ValueError, match="inclusive_boxes needs .* mmlevelset.LoadBoxMasks"):
        Boxes.of([sample], True)


def test_edges_of_both_kinds_of_boxes():
    own = [[(1.5, 2.5, 10.4, 20.6)], [(0, 0, 8, 8)]]
    boxes = Boxes.of([instances(one) for one in own], False)
    assert torch.equal(boxes.edges, boxes.corners)
    boxes = Boxes.of([instances(one) for one in own], True)
    assert boxes.edges.tolist() == [[2, 2, 11, 22], [0, 0, 9, 9]]
    assert boxes.image.tolist() == [0, 1]
    torch.testing.assert_close(boxes.corners[0], torch.tensor([1.5, 2.5, 10.4, 20.6]))


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_box_masks_are_rescaled_full_masks(stride):
    generator = np.random.default_rng(stride)
    boxes = [random_boxes(generator, 400, kind) for kind in ("any", "border", "tiny")]
    half = stride // 2  # edges on the cells' centres
    at_centres = generator.integers(0, (9, 5), (300, 2))
    extent = generator.integers(1, 5, (300, 2))
    low, high = at_centres * stride + half, (at_centres + extent) * stride + half - 1
    for nudge in (0, 1, -1):
        boxes.append(np.concatenate((low + nudge, high), 1))
        boxes.append(np.concatenate((low, high + nudge), 1))
    boxes = np.concatenate(boxes).round()
    boxes[:, 2:] = np.minimum(boxes[:, 2:], (SIZE[1] - 1, SIZE[0] - 1))
    edges = Boxes.of([instances(boxes)], True).edges
    size = (SIZE[0] // stride, SIZE[1] // stride)
    masks = box_masks(edges, size, SIZE)
    compared = 0
    for box, mask in zip(boxes, masks.numpy(), strict=True):
        want = mmcv.imrescale(box_array(box, SIZE), scale=1 / stride)
        if want.any():  # else the box lies between the cells' centres
            np.testing.assert_array_equal(mask, want)
            compared += 1
        assert mask.any()
    assert compared > 1000


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((8, 4, 24, 12), (1, 3), (2, 6)),  # on the cells' edges
        ((9.9, 4, 22.1, 12), (1, 3), (2, 6)),  # just around the outer centres
        ((10.1, 4, 21.9, 12), (1, 3), (3, 5)),  # just within them
        ((8, 7, 24, 9), (2, 3), (2, 6)),  # between two rows of centres, its middle on an edge
        ((8, 6.6, 24, 8.4), (1, 2), (2, 6)),
        ((12.6, 7, 13.4, 7.4), (1, 2), (3, 4)),  # smaller than a cell, holds no centre
        ((0, 0, 0.5, 0.5), (0, 1), (0, 1)),
        ((39.8, 19.8, 40, 20), (4, 5), (9, 10)),
        ((1.9, 5.9, 5.8, 9.8), (1, 2), (0, 1)),  # one centre, near the corner
        ((2, 6, 6, 10), (1, 3), (0, 2)),  # four corners on four centres: all alike
    ],
)
def test_known_box_masks(box, rows, columns):
    want = torch.zeros(5, 10, dtype=torch.bool)
    want[slice(*rows), slice(*columns)] = True
    assert torch.equal(box_masks(torch.tensor([box]), (5, 10), (20, 40))[0], want)


def test_every_box_covers_a_cell():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(20000, 2, generator=generator) * 30
    extent = torch.rand(20000, 2, generator=generator) * 7 + 0.01
    masks = box_masks(torch.cat((low, low + extent), 1), (10, 10), (40, 40))
    assert masks.flatten(1).any(1).all()


def test_a_cell_may_be_longer_than_wide():
    mask = box_masks(torch.tensor([[16.0, 24, 48, 36]]), (4, 16), (48, 64))[0]
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    assert rows.tolist() == [2] and columns.tolist() == list(range(4, 12))


def test_no_box_masks():
    assert box_masks(torch.zeros(0, 4), (3, 4), (12, 16)).shape == (0, 3, 4)
