"""Logits lie at their pixels, whatever the size of the images.

With ``align_corners`` a perfect network of stride s knows the image at the pixels s * i. Without,
it knows the mean of s pixels, which for a ramp is the value in their middle.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.registry import MODELS
from tests.models.levelset_loss.builders import (
    HEADS,
    make_images,
    make_samples,
    make_segmentor,
)
from tests.models.levelset_loss.test_heads import SizesLoss

MSC = dict(scales=(0.5, 0.75, 1.0), supervise_scales=True)
SIZES = [(33, 321), (17, 375), (25, 500), (40, 512), (41, 8), (1, 14)]


class MeanBackbone(BaseModule):
    """Feature maps of means of s x s pixels, for several strides s."""

    def __init__(self, strides: tuple[int, ...] = (8,), init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.strides = strides

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(F.avg_pool2d(x, stride, ceil_mode=True) for stride in self.strides)


class PickBackbone(MeanBackbone):
    """Feature maps of every s-th pixel, for several strides s."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(x[:, :, ::stride, ::stride] for stride in self.strides)


def make_perfect(strides=(8,), aligned=True, head=None, **changes):
    """A network whose logits are the image's channels, times the number of strides."""
    model = MODELS.build(
        dict(
            type="mmlevelset.SemanticSegmentor",
            data_preprocessor=dict(type="mmdet.DetDataPreprocessor"),
            stride=strides[-1],
            backbone=dict(type=PickBackbone if aligned else MeanBackbone, strides=strides),
            decode_head=dict(
                type="mmlevelset.FCNHead",
                num_classes=3,
                in_channels=(3,) * len(strides),
                skips=len(strides) - 1,
                align_corners=aligned,
                **(head or {}),
            ),
            **changes,
        )
    )
    for classifier in model.decode_head.classifiers:
        nn.init.dirac_(classifier.weight)
        nn.init.zeros_(classifier.bias)
    return model.eval()


def make_ramps(size: tuple[int, int]) -> Tensor:
    """An image of three positive ramps, which bilinear interpolation keeps."""
    y, x = torch.arange(size[0])[:, None] / 100, torch.arange(size[1]) / 100
    return torch.stack((1 + x + 0 * y, 2 + y + 0 * x, 9 + y - x))[None]


def logits_of(model, image: Tensor) -> Tensor:
    samples = make_samples(images=1, img_shape=image.shape[2:])
    return model.predict_logits(image, samples)[0]


def known(size: tuple[int, int], stride: int, aligned: bool = True) -> tuple[slice, slice]:
    """The pixels between the centres of the first and the last logit inside of the image."""
    if aligned:
        rows, columns = (slice(0, (side - 1) // stride * stride + 1) for side in size)
    else:
        half = stride // 2
        rows, columns = (slice(half, max(side // stride * stride - half, half)) for side in size)
    return rows, columns


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("strides", [(8,), (32,), (16, 32), (8, 16, 32)])
def test_ramps_come_back(strides, aligned, size):
    image = make_ramps(size)
    rows, columns = known(size, strides[-1], aligned)
    logits = logits_of(make_perfect(strides, aligned), image)
    torch.testing.assert_close(
        logits[:, rows, columns], len(strides) * image[0, :, rows, columns], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("size", [(33, 321), (17, 375), (40, 500)])
@pytest.mark.parametrize("scales", [(0.5, 0.75, 1.0), (1.0, 1.25), (0.7, 1.0)])
@pytest.mark.parametrize("slide", [False, True])
def test_ramps_come_back_at_several_scales_and_in_windows(size, scales, slide):
    """The result is the maximum over the scales; padding of zeros lowers what it reaches."""
    image = make_ramps(size)
    windows = dict(mode="slide", crop_size=(16, 100), stride=(11, 70))
    model = make_perfect(multi_scale=dict(scales=scales), test_cfg=windows if slide else None)
    if slide:  # the logits of a window may end up to 7 pixels before the image
        rows, columns = (slice(side - 8) for side in size)
    else:
        rows, columns = known(size, 8)
    torch.testing.assert_close(
        logits_of(model, image)[:, rows, columns],
        image[0, :, rows, columns],
        rtol=1e-5,
        atol=1e-5,
    )


def test_each_scale_has_its_logits_at_their_pixels():
    image = make_ramps((40, 500))
    model = make_perfect(multi_scale=MSC)
    padded = model._pad(image)
    _, scales = model._classify(padded, model.extract_feat(padded))
    for scale, scores in scales.items():
        x = torch.arange(0, 490, 8 / scale)
        torch.testing.assert_close(scores[0, 0, 1, : len(x)], 1 + x / 100)


@pytest.mark.parametrize("crop_size", [(16, 100), (17, 97), (64, 512)])
def test_windows_are_padded_only_where_the_image_ends(crop_size):
    image = make_ramps((40, 500))
    model = make_perfect(test_cfg=dict(mode="slide", crop_size=crop_size, stride=(13, 61)))
    windows = []
    model.backbone.register_forward_pre_hook(lambda _, images: windows.append(images[0][0, 0]))
    logits = logits_of(model, image)
    rows, columns = known((40, 500), 8)
    torch.testing.assert_close(logits[:, rows, columns], image[0, :, rows, columns])
    for window in windows:
        assert [side % 8 for side in window.shape] == [1, 1]
        empty_rows, empty_columns = (int((window == 0).all(axis).sum()) for axis in (1, 0))
        assert empty_rows in (0, 1) and empty_columns in (0, 5)  # the padding of 40 and 500


@pytest.mark.parametrize("width", [321, 375, 500, 512])
def test_label_maps_come_back_as_well_as_any_interpolation_between_the_logits(width):
    """The oracle places the known pixels 8 * i by NumPy's interpolation, row by row."""
    generator = torch.Generator().manual_seed(width)
    blocks = torch.randint(3, (5, 40), generator=generator)
    labels = blocks.repeat_interleave(11, 0).repeat_interleave(13, 1)[:49, :width]
    image = F.one_hot(labels, 3).permute(2, 0, 1)[None].float()
    places = np.arange(0, width + 8, 8)
    known_columns = np.pad(image[0].numpy(), ((0, 0), (0, 0), (0, 8)))[:, ::8, places]
    wide = np.stack(
        [[np.interp(np.arange(width), places, row) for row in rows] for rows in known_columns]
    )
    best = np.stack(
        [[np.interp(np.arange(49), np.arange(0, 49, 8), c) for c in rows.T] for rows in wide]
    ).swapaxes(1, 2)
    logits = logits_of(make_perfect(), image).detach()
    np.testing.assert_allclose(logits.numpy(), best, atol=1e-5)
    found, want = logits.argmax(0), torch.from_numpy(best).argmax(0)
    sure = torch.from_numpy(np.diff(np.sort(best, 0), axis=0)[-1] > 1e-4)
    assert torch.equal(found[sure], want[sure])


@pytest.mark.parametrize("ratio", [2, 3])
def test_predictions_are_resized_to_the_original_as_pipelines_resize_images(ratio):
    image = make_ramps((33, 65))
    (sample,) = make_samples(images=1, img_shape=(33, 65), ori_shape=(33 * ratio, 65 * ratio))
    logits = make_perfect().predict_logits(image, [sample])[0]
    x = (torch.arange(ratio, 64 * ratio) + 0.5) / ratio - 0.5
    torch.testing.assert_close(logits[0, 9, ratio : 64 * ratio], 1 + x / 100)


# Training


@pytest.mark.parametrize("size", [(33, 321), (40, 512), (20, 500)])
@pytest.mark.parametrize("multi_scale", [None, MSC])
def test_losses_at_the_size_of_the_logits_see_the_labels_of_their_pixels(size, multi_scale):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (1, *size), generator=generator)
    head = dict(loss_size="logits", loss_decode=dict(type=SizesLoss))
    model = make_perfect(head=head, multi_scale=multi_scale)
    seen = []
    model.decode_head.losses[0].register_forward_hook(
        lambda loss, inputs, _: seen.append((inputs[0], inputs[1]))
    )
    image = make_ramps(size)
    model.loss(image, make_samples(labels))
    steps = (8, 16, 32 / 3, 8) if multi_scale else (8,)
    for (logits, shrunk), step in zip(seen, steps, strict=True):
        rows, columns = (torch.arange(0, side, step).add(0.5).int() for side in size)
        inner = (..., slice(len(rows)), slice(len(columns)))
        assert torch.equal(shrunk[inner], labels[:, rows[:, None], columns])
        assert (shrunk[:, len(rows) :] == 255).all()
        assert (shrunk[..., len(columns) :] == 255).all()
        if step != 32 / 3:  # logits between pixels
            torch.testing.assert_close(logits[inner], image[..., rows[:, None], columns])


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("strides", [(8,), (8, 16, 32)])
def test_losses_at_full_size_see_each_logit_at_its_pixel(strides, aligned):
    image = make_ramps((40, 500))
    model = make_perfect(strides, aligned, head=dict(loss_decode=dict(type=SizesLoss)))
    seen = []
    model.decode_head.losses[0].register_forward_hook(lambda loss, inputs, _: seen.extend(inputs))
    labels = torch.ones(1, 40, 500, dtype=torch.uint8)
    model.loss(image, make_samples(labels))
    rows, columns = known((40, 500), strides[-1], aligned)
    torch.testing.assert_close(
        seen[0][..., rows, columns], len(strides) * image[..., rows, columns]
    )
    assert (seen[1][:, 40:] == 255).all() and (seen[1][..., 500:] == 255).all()
    assert (seen[1][:, :40, :500] == 1).all()


# Networks


@pytest.mark.parametrize("name", HEADS)
def test_the_networks_have_their_logits_at_the_pixels_of_aligned_corners(name):
    """With kernels that are symmetric, a mirrored image has mirrored logits."""
    model = make_segmentor(name).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            with torch.no_grad():
                layer.weight.add_(layer.weight.flip(3)).div_(2)
    images = make_images(size=(33, 97))
    with torch.no_grad():
        logits, mirrored = model(images), model(images.flip(3))
    assert logits.shape[3] in (4, 13) and not torch.allclose(logits, logits.flip(3))
    torch.testing.assert_close(mirrored, logits.flip(3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fcn-32s", "fcn-8s"])
def test_a_stride_below_the_networks_is_named(name):
    model = make_segmentor(name, stride=8)
    with pytest.raises(
        ValueError,
        match=r"stride must be a multiple .* is 8: images \(41, 41\) have feature maps \(2, 2\)",
    ):
        model(make_images(size=(41, 41)))
