import pytest
import torch

from mmlevelset.models import FConNet, Segmentation, segmentation_loss

SIZE = (5, 4)


def test_fconnet_is_two_layers():
    torch.manual_seed(0)
    model = FConNet(size=SIZE, in_channels=2, hidden=7).double()
    image = torch.randn(2, 2, *SIZE, dtype=torch.float64)
    result = model(image)
    first, _, second = model.layers
    hidden = (image.reshape(2, -1) @ first.weight.T + first.bias).clamp(min=0)
    expected = (hidden @ second.weight.T + second.bias).view(2, 2, *SIZE)
    torch.testing.assert_close(result.logits, expected)
    assert isinstance(result, Segmentation) and result.trajectory.shape == (0, 2, *SIZE)
    target = torch.randint(2, (2, *SIZE))
    assert torch.equal(model.loss(result, target), segmentation_loss(expected, target))
    assert FConNet(size=SIZE).layers[0].out_features == 20
    assert FConNet(size=SIZE)(torch.zeros(0, 3, *SIZE)).logits.shape == (0, 2, *SIZE)


def test_wrong_settings_of_fconnet_are_named():
    with pytest.raises(ValueError, match="size must be a height and a width"):
        FConNet(size=4)
    with pytest.raises(ValueError, match="hidden must be a positive integer, but is 0"):
        FConNet(size=SIZE, hidden=0)
