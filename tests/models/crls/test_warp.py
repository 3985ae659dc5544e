import math

import pytest
import torch
from mmcv.ops import roi_align
from mmdet.registry import MODELS

from mmlevelset.models.crls.warp import GridWarp

STRIDE = 4


def maps_and_rois(dtype=torch.float64, inside=True):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 9, 12, generator=generator, dtype=dtype)
    rois = torch.tensor(
        [[2, 5, 6, 31, 29], [0, 3, 4, 20, 31], [2, 7, 3, 8, 4], [0, 10, 10, 40.5, 17]], dtype=dtype
    )  # of images in no order, and none of image 1
    if not inside:
        rois[:, 1:] += torch.tensor([-9.0, 6.0, 12.0, 8.0], dtype=dtype)
    return maps, rois


def bilinear(image, x, y):
    """Image (H, W) at a position in samples; centres are at + 0.5, edges are continued."""
    height, width = image.shape
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    column, row = min(math.floor(x), width - 2), min(math.floor(y), height - 2)
    u, v = x - column, y - row
    return (
        (1 - u) * (1 - v) * image[row, column]
        + u * (1 - v) * image[row, column + 1]
        + (1 - u) * v * image[row + 1, column]
        + u * v * image[row + 1, column + 1]
    )


def test_rois_of_one_image_are_not_copied_again():
    maps, rois = maps_and_rois()
    rois.requires_grad_()
    warped = {len(some): GridWarp(5, 1 / STRIDE)(maps, some) for some in (rois, rois[1::2])}
    assert ["Cat" in found.grad_fn.name() for found in warped.values()] == [False, True]
    torch.testing.assert_close(warped[2], warped[4][1::2])


@pytest.mark.parametrize("inside", [True, False])
def test_values_are_the_definition(inside):
    maps, rois = maps_and_rois(inside=inside)
    found = GridWarp(5, 1 / STRIDE)(maps, rois)
    for r, (number, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (edge / STRIDE for edge in box)
        for c in range(2):
            for i in range(5):
                for j in range(5):
                    x, y = x1 + (j + 0.5) / 5 * (x2 - x1), y1 + (i + 0.5) / 5 * (y2 - y1)
                    expected = bilinear(maps[int(number), c], x, y)
                    torch.testing.assert_close(found[r, c, i, j], expected)


def test_within_the_map_it_is_roi_align_with_one_sample():
    maps, rois = maps_and_rois(torch.float32)
    expected = roi_align(maps, rois, (7, 7), 1 / STRIDE, 1, "avg", True)
    torch.testing.assert_close(GridWarp(7, 1 / STRIDE)(maps, rois), expected)


def test_gradients_to_maps_and_boxes():
    maps, rois = maps_and_rois()
    warp = GridWarp(3, 1 / STRIDE)
    numbers, boxes = rois[:, :1], (rois[:, 1:] + 0.3).requires_grad_()
    maps.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda maps, boxes: warp(maps, torch.cat([numbers, boxes], 1)), (maps, boxes)
    )


def test_a_ramp_gives_the_slope_to_the_edges():
    ramp = torch.arange(20.0)[None, None, None].expand(1, 1, 20, 20)
    box = torch.tensor([[0.0, 12.0, 12.0, 60.0, 60.0]], requires_grad=True)
    warped = GridWarp(4, 1 / STRIDE)(ramp, box)
    (gradient,) = torch.autograd.grad(warped.mean(), box)
    # The mean is the ramp in the middle of the box.
    expected = torch.tensor([[0, 0.5 / STRIDE, 0, 0.5 / STRIDE, 0]])
    torch.testing.assert_close(gradient, expected)


def extractor(**changes):
    settings = dict(out_channels=2, featmap_strides=[4, 8], output_size=5, finest_scale=10)
    return MODELS.build(dict(type="mmlevelset.RoIWarp", **{**settings, **changes}))


@pytest.mark.parametrize("warp", ["grid_sample", "roi_align"])
def test_levels_of_a_pyramid(warp):
    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(2, 2, side, side, generator=generator) for side in (20, 10))
    rois = torch.tensor([[1, 2, 2, 70, 60], [0, 4, 5, 14, 15.0], [1, 8, 9, 20, 21]])
    rois.requires_grad_()
    factor = 1.0 if warp == "grid_sample" else 0.0
    module = extractor(warp=warp, sampling_ratio=1, box_gradient=factor)
    found = module(maps, rois)
    expected = [
        roi_align(maps[level], rois[r : r + 1].detach(), (5, 5), 1 / stride, 1, "avg", True)
        for r, (level, stride) in enumerate([(1, 8), (0, 4), (0, 4)])
    ]
    torch.testing.assert_close(found, torch.cat(expected))
    if warp == "grid_sample":
        (gradient,) = torch.autograd.grad(found.square().sum(), rois)
        assert gradient.isfinite().all() and gradient[:, 1:].any(1).all()
    half = module(tuple(each.half() for each in maps), rois)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, found, atol=1e-2, rtol=1e-2)
    assert module(maps, rois[:0]).shape == (0, 2, 5, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(warp="crop"), "warp must be one of grid_sample, roi_align, but is 'crop'"),
        (dict(output_size=0), "output_size must be a positive integer, but is 0"),
        (dict(box_gradient=-0.5), "box_gradient must be at least 0, but is -0.5"),
        (
            dict(warp="roi_align", box_gradient=1.0),
            "box_gradient must be 0 with warp 'roi_align', which has no gradients to the boxes",
        ),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        extractor(**changes)
