import copy
from types import SimpleNamespace

import torch
from mmcv.ops import ModulatedDeformConv2dPack, RoIAlign
from torch import nn

from mmlevelset.engine import ChannelsLastHook


class Model(nn.Module):
    """Convolutions, one of them deformable, and RoIs of their map."""

    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            ModulatedDeformConv2dPack(8, 6, 3, padding=1),
            nn.Conv2d(6, 8, 3, padding=1),
        )
        self.pool = RoIAlign((4, 5), aligned=True)
        nn.init.normal_(self.convs[1].conv_offset.weight, std=0.3)

    def forward(self, images, rois):
        maps = self.convs(images)
        return maps, self.pool(maps, rois)


def test_outputs_and_gradients_stay():
    torch.manual_seed(0)
    model = Model()
    converted = copy.deepcopy(model)
    ChannelsLastHook().before_run(SimpleNamespace(model=converted))
    images = torch.randn(2, 3, 24, 20)
    rois = torch.tensor([[0, 1.5, 2.0, 15.0, 18.5], [1, 0.0, 3.0, 12.0, 9.0]])

    maps, regions = model(images, rois)
    maps_2, regions_2 = converted(images, rois)
    assert maps_2.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(maps_2, maps)
    torch.testing.assert_close(regions_2, regions)

    for out in (regions, regions_2):
        (torch.randn(out.shape, generator=torch.Generator().manual_seed(0)) * out).sum().backward()
    for parameter, other in zip(model.parameters(), converted.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-5)


def test_a_state_dict_stays_as_it_is():
    model = Model()
    before = copy.deepcopy(model.state_dict())
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    assert list(model.state_dict()) == list(before)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    model.load_state_dict(before)
    assert model.convs[0].weight.is_contiguous(memory_format=torch.channels_last)
