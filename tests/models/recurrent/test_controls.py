"""The controls of the refinement: plain convolutions in place of the recurrent level set."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.models.recurrent.test_refinement import KINDS, SIZE, Outer, inputs, make

CONTROLS = ("convolutions", "region_term")


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_is_its_definition(control):
    model = make(feature_channels=0, control=control, num_steps=3, hidden_channels=5, eps=0.2)
    masks, image, _ = inputs()
    image = F.interpolate(image, SIZE, mode="bilinear", align_corners=False)
    phi = 2 * masks.sigmoid() - 1
    maps = [image, phi[:, None]]
    if control == "region_term":
        inside = 0.5 + torch.atan(phi / 0.2) / math.pi
        for weight in (inside, 1 - inside):
            mean = (image * weight[:, None]).sum((2, 3)) / weight.sum((1, 2))[:, None]
            maps.append((image - mean[:, :, None, None]) ** 2)
    maps = torch.cat(maps, 1)
    layers = [*model.network.hidden, model.network.output]
    assert len(layers) == 4
    for number, layer in enumerate(layers):
        maps = F.conv2d(maps, layer.weight, layer.bias, padding=1)
        maps = maps.clamp(min=0) if number < 3 else maps
    torch.testing.assert_close(
        model(masks, image), masks + maps[:, 1] - maps[:, 0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_starts_without_a_correction_and_learns_in_all_parts(kind, control):
    model = make(kind, noise=0, control=control)
    Outer(model).init_weights()  # an outer module must not set its weights
    assert model.network.hidden[0].weight.std() > 0.03
    masks, image, features = inputs(kind)
    assert torch.equal(model(masks, image, features), masks)
    with torch.no_grad():
        model.network.output.weight.normal_()
    values = [value.requires_grad_() for value in inputs(kind)]
    with torch.autocast("cpu", torch.bfloat16):
        model(*values).square().sum().backward()
    for tensor in [*values, *model.parameters()]:
        assert tensor.grad.isfinite().all() and tensor.grad.any()
    assert model(*inputs(kind, count=0)).shape == (0, *SIZE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(control="plain"), "control must be one of convolutions, region_term, but is 'plain'"),
        (
            dict(control="region_term", tied=False),
            "tied must be True and reduction 'none' with a control, but are False and 'none'",
        ),
        (
            dict(control="convolutions", reduction="sum"),
            "tied must be True and reduction 'none' with a control, but are True and 'sum'",
        ),
        (dict(control="convolutions", num_steps=0), "num_steps must be a positive integer"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)
