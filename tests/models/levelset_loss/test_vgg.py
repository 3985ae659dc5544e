import pytest
import torch
from torch import nn

from mmlevelset.models.levelset_loss import DeepLabVGG

CONVOLUTIONS_OF_VGG16 = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]


@pytest.mark.parametrize("size", [(321, 321), (40, 48), (17, 31), (1, 9)])
def test_sizes_and_channels_of_the_stages(size):
    backbone = DeepLabVGG(base_channels=2)
    shapes = [tuple(stage.shape) for stage in backbone(torch.randn(1, 3, *size))]
    assert shapes == [
        (1, 2 * factor, *(-(-side // stride) for side in size))
        for factor, stride in ((1, 2), (2, 4), (4, 8), (8, 8), (8, 8))
    ]


def test_parameters_are_named_and_shaped_as_torchvision_has_them():
    with torch.device("meta"):
        state = DeepLabVGG().state_dict()
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    expected = {}
    for number, index in enumerate(CONVOLUTIONS_OF_VGG16):
        before, after = channels[number : number + 2]
        expected[f"features.{index}.weight"] = (after, before, 3, 3)
        expected[f"features.{index}.bias"] = (after,)
    assert {name: tuple(value.shape) for name, value in state.items()} == expected


def test_layers_with_batch_norm_lie_where_torchvision_has_them():
    backbone = DeepLabVGG(base_channels=2, norm_cfg=dict(type="BN"))
    found = [i for i, layer in enumerate(backbone.features) if isinstance(layer, nn.Conv2d)]
    assert found == [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    assert all(isinstance(backbone.features[i + 1], nn.BatchNorm2d) for i in found)


def test_only_the_last_convolutions_are_dilated():
    layers = DeepLabVGG(base_channels=2).features
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.dilation for layer in convolutions] == [(1, 1)] * 10 + [(2, 2)] * 3
    pools = [layer for layer in layers if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride, pool.padding) for pool in pools] == [
        (3, stride, 1) for stride in (2, 2, 2, 1, 1)
    ]


def test_an_average_pooling_without_weights_follows_the_last_pooling():
    torch.manual_seed(0)
    pooled = DeepLabVGG(base_channels=2)
    plain = DeepLabVGG(base_channels=2, average_pool=False)
    plain.load_state_dict(pooled.state_dict())
    image = torch.randn(1, 3, 33, 49)
    *before, want = plain(image)
    want = nn.functional.conv2d(want, torch.full((16, 1, 3, 3), 1 / 9), padding=1, groups=16)
    for stage, expected in zip(pooled(image), (*before, want), strict=True):
        torch.testing.assert_close(stage, expected)


def test_output_pixels_are_centred_on_every_eighth_input_pixel():
    backbone = DeepLabVGG(base_channels=1, in_channels=1)
    for parameter in backbone.parameters():
        nn.init.zeros_(parameter)
    for layer in backbone.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.dirac_(layer.weight)
    image = torch.zeros(1, 1, 65, 81)
    image[0, 0, 24, 40] = 1
    scores = nn.functional.conv2d(backbone(image)[2][:, :1], torch.ones(1, 1, 1, 1))[0, 0]
    assert scores.nonzero().tolist() == [[3, 5]]


def test_starts_with_outputs_of_the_images_scale():
    torch.manual_seed(0)
    backbone = DeepLabVGG(base_channels=8)
    backbone.init_weights()
    deviation = backbone(torch.randn(1, 3, 33, 33))[-1].std()
    assert 0.1 < deviation < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(depth=50), r"depth must be one of \[11, 13, 16, 19\], but is 50"),
        (dict(base_channels=0), "base_channels must be a whole number of at least 1, but is 0"),
        (dict(in_channels=1.5), "in_channels must be a whole number of at least 1, but is 1.5"),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        DeepLabVGG(**changes)
