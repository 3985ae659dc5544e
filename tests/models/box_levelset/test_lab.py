import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from mmlevelset.models.box_levelset.lab import LabImage, rgb_to_lab

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def normalised(image):
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (MEAN, STD))
    return (image - mean) / std


def photograph(height=12, width=17, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator).float()


def test_colours_are_those_of_scikit_image():
    ends = torch.tensor([0.0, 8, 11, 128, 255])
    image = torch.stack(torch.meshgrid(ends, ends, ends, indexing="ij")).flatten(2)
    want = rgb2lab(image.numpy() / 255, channel_axis=0)
    np.testing.assert_allclose(rgb_to_lab(image.double()).numpy(), want, atol=2e-2)
    np.testing.assert_allclose(rgb_to_lab(image).numpy(), want, atol=2e-2)
    torch.testing.assert_close(rgb_to_lab(image - 300), torch.zeros_like(image))


def test_channels_are_standardised_over_the_image_without_padding():
    image = photograph()
    padded = torch.zeros(3, 16, 20)
    padded[:, :12, :17] = normalised(image)
    found = LabImage(MEAN, STD)(padded, 12, 17)
    assert found.shape == padded.shape
    found = found[:, :12, :17]
    torch.testing.assert_close(found.mean((1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std((1, 2), correction=0), torch.ones(3))
    want = torch.from_numpy(rgb2lab(image.numpy() / 255, channel_axis=0)).float()
    for own, truth in zip(found.flatten(1), want.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack((own, truth)))[0, 1] > 1 - 1e-5


def test_grey_images_have_no_colours():
    grey = photograph()[:1].expand(3, -1, -1)
    found = LabImage(MEAN, STD)(normalised(grey), 12, 17)
    assert found[0].std() == pytest.approx(1, rel=1e-2)
    assert found[1:].abs().max() < 0.05
    flat = LabImage(MEAN, STD)(torch.zeros(3, 4, 5), 4, 5)
    torch.testing.assert_close(flat, torch.zeros(3, 4, 5), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (None, STD, r"image_mean must be three numbers for a loss of L\*a\*b\*, but is None"),
        (MEAN, (1.0,), r"image_std must be three numbers for a loss of L\*a\*b\*, but is \(1.0,\)"),
    ],
)
def test_missing_scales_are_named(mean, std, message):
    with pytest.raises(ValueError, match=message):
        LabImage(mean, std)
