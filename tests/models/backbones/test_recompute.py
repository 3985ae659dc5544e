import pytest
import torch
from torch import nn

from mmlevelset.models.backbones.efficientnet_lite import EfficientNetLite
from mmlevelset.models.backbones.wide_resnet import WideResNet38


def light(with_cp):
    return EfficientNetLite(with_cp=with_cp, norm_eval=False, init_cfg=None)


def wide(with_cp):
    return WideResNet38(
        structure=(1, 1, 1, 1, 1, 1), base_channels=4, with_cp=with_cp, norm_eval=False
    )


@pytest.mark.parametrize("make", [light, wide])
def test_statistics_are_updated_once(make):
    found = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = make(with_cp).train()
        images = torch.randn(2, 3, 64, 64)
        for _ in range(2):
            model(images)[-1].square().mean().backward()
        buffers = dict(model.named_buffers())
        found.append({**buffers, **{name: p.grad for name, p in model.named_parameters()}})
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        assert {int(norm.num_batches_tracked) for norm in norms} == {2}
        assert all(norm.momentum > 0 for norm in norms)
    plain, saving = found
    assert plain.keys() == saving.keys()
    for name, value in plain.items():
        torch.testing.assert_close(saving[name], value)
