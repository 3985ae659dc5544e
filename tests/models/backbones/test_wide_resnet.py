import math

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlevelset.models import WideResNet38


def small(**options):
    torch.manual_seed(0)
    backbone = WideResNet38(**dict(structure=(1, 2, 1, 1, 1, 1), base_channels=4) | options)
    backbone.init_weights()
    return backbone


def published_sizes():
    """(in, out, kernel) of the blocks' convolutions and of the shortcuts, from the paper."""
    blocks, shortcuts = [], []
    for first, width, count in ((64, 128, 3), (128, 256, 3), (256, 512, 6)):
        blocks += [(first, width, 3)] + [(width, width, 3)] * (2 * count - 1)
        shortcuts += [(first, width, 1)]
    blocks += [(512, 512, 3), (512, 1024, 3)] + 2 * [(1024, 512, 3), (512, 1024, 3)]
    blocks += [(1024, 512, 1), (512, 1024, 3), (1024, 2048, 1)]
    blocks += [(2048, 1024, 1), (1024, 2048, 3), (2048, 4096, 1)]
    shortcuts += [(512, 1024, 1), (1024, 2048, 1), (2048, 4096, 1)]
    return blocks, shortcuts


def test_published_network():
    with torch.device("meta"):
        backbone = WideResNet38()
    blocks, shortcuts = published_sizes()
    assert len(blocks) == 36  # with the first convolution and the classifier: 38
    expected = 3 * 64 * 9
    expected += sum(a * b * kernel**2 for a, b, kernel in blocks + shortcuts)
    expected += sum(2 * a for a, _, _ in blocks) + 2 * 4096
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == expected == 105_070_912


def test_names_and_widths():
    with torch.device("meta"):
        weights = WideResNet38().state_dict()
    assert weights["mod1.conv1.weight"].shape == (64, 3, 3, 3)
    assert weights["mod2.block1.proj_conv.weight"].shape == (128, 64, 1, 1)
    assert weights["mod5.block3.convs.conv1.weight"].shape == (512, 1024, 3, 3)
    assert weights["mod7.block1.convs.bn3.weight"].shape == (2048,)
    assert weights["mod7.block1.convs.conv3.weight"].shape == (4096, 2048, 1, 1)
    assert weights["bn_out.running_mean"].shape == (4096,)
    assert "mod4.block2.proj_conv.weight" not in weights
    layers = {".".join(name.split(".")[:-1]).rsplit(".", 1)[-1] for name in weights}
    assert layers == {"conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "proj_conv", "bn_out"}


@pytest.mark.parametrize("size", [(64, 96), (67, 45), (1, 33)])
def test_outputs_at_their_strides(size):
    outputs = small(out_indices=tuple(range(7)))(torch.randn(2, 3, *size))
    for output, width, stride in zip(
        outputs, (4, 8, 16, 32, 64, 128, 256), (1, 2, 4, 8, 16, 32, 32), strict=True
    ):
        assert output.shape == (2, width, *(math.ceil(side / stride) for side in size))
    backbone = small()
    assert [len(output[0]) for output in backbone(torch.randn(1, 3, 64, 64))] == [16, 32, 64, 256]


def naive_block(x, weights, name, kernels):
    """A block in evaluation, written out. With initial statistics, norm divides by
    sqrt(1 + eps)."""

    def activated(values):
        values = values / math.sqrt(1 + 1e-5)
        return torch.where(values > 0, values, 0.01 * values)

    first = y = activated(x)
    for number, kernel in enumerate(kernels, start=1):
        y = y if number == 1 else activated(y)
        weight = weights[f"{name}.convs.conv{number}.weight"]
        y = torch.nn.functional.conv2d(y, weight, padding=kernel // 2)
    projection = weights.get(f"{name}.proj_conv.weight")
    if projection is not None:
        x = torch.einsum("bchw,dc->bdhw", first, projection[:, :, 0, 0])
    return x + y


def test_blocks_are_pre_activated():
    backbone = small().double().eval()
    weights = backbone.state_dict()
    x = torch.randn(1, 64, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(backbone.mod6(x), naive_block(x, weights, "mod6.block1", (1, 3, 1)))
    x = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    y = naive_block(x, weights, "mod3.block1", (3, 3))
    torch.testing.assert_close(backbone.mod3(x), naive_block(y, weights, "mod3.block2", (3, 3)))


def test_the_last_output_is_activated_and_the_others_are_sums():
    backbone = small(act_cfg=dict(type="ReLU")).eval()
    *sums, last = backbone(torch.randn(1, 3, 64, 64))
    assert last.min() == 0
    assert all(output.min() < 0 for output in sums)


def test_gradients_reach_every_parameter_with_and_without_checkpoints():
    gradients = []
    for with_cp in (False, True):
        backbone = small(with_cp=with_cp, norm_cfg=dict(type="GN", num_groups=4)).double()
        torch.manual_seed(1)
        outputs = backbone(torch.randn(2, 3, 33, 47, dtype=torch.float64))
        sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
        gradients.append({name: value.grad for name, value in backbone.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradient.any(), name
        torch.testing.assert_close(gradients[1][name], gradient)


def test_modules_behind_the_last_output_are_not_built():
    backbone = small(out_indices=(2, 4))
    names = {name.split(".")[0] for name, _ in backbone.named_parameters()}
    assert names == {"mod1", "mod2", "mod3", "mod4", "mod5"}
    outputs = backbone(torch.randn(1, 3, 32, 32))
    assert [tuple(output.shape[1:]) for output in outputs] == [(16, 8, 8), (64, 2, 2)]


@pytest.mark.parametrize("frozen", [0, 1, 3, 7])
def test_frozen_stages(frozen):
    backbone = small(frozen_stages=frozen)
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone.train()
    outputs = backbone(torch.randn(2, 3, 64, 64))
    sum(output.square().sum() for output in outputs).backward()
    for name, parameter in backbone.named_parameters():
        learns = name.startswith("bn_out") or int(name[3]) > frozen
        assert (parameter.grad is not None) == learns, name
    for name, value in backbone.named_buffers():
        if name.endswith("running_mean"):
            learns = name.startswith("bn_out") or int(name[3]) > frozen
            assert torch.equal(value, before[name]) != learns, name


def test_norm_eval_keeps_the_statistics_and_learns_the_scales():
    backbone = small(norm_eval=True).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())
    assert backbone.mod4.block1.bn1.weight.grad.any()


@pytest.mark.parametrize("kind", ["DCN", "DCNv2"])
def test_deformable_convolutions_start_as_plain_ones(kind):
    dcn = dict(type=kind, deform_groups=1)
    backbone = small(dcn=dcn, stage_with_dcn=(False, False, False, True, False, True))
    offsets = [name for name, _ in backbone.named_parameters() if "conv_offset.weight" in name]
    assert offsets == [
        f"{block}.convs.conv2.conv_offset.weight" for block in ("mod5.block1", "mod7.block1")
    ]
    plain = small().eval()
    missing = plain.load_state_dict(backbone.state_dict(), strict=False).missing_keys
    assert missing == []
    images = torch.randn(2, 3, 99, 70)
    expected, outputs = plain(images), backbone.eval()(images)
    torch.testing.assert_close(outputs[:2], expected[:2])
    if kind == "DCN":  # DCNv2 multiplies by its mask, 1/2 at the start
        torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-3)
    sum(output.square().sum() for output in outputs).backward()
    for name in offsets:
        assert backbone.get_parameter(name).grad.any(), name


def test_pretrained_weights_and_zero_offsets(tmp_path):
    source = small()
    weights = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / "weights.pth")
    init_cfg = dict(type="mmlevelset.Pretrained", checkpoint=str(tmp_path / "weights.pth"))
    with DefaultScope.overwrite_default_scope("mmdet"):
        backbone = small(dcn=dict(type="DCN"), init_cfg=init_cfg)
    loaded = backbone.state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(loaded[name], value), name
    assert not loaded["mod7.block1.convs.conv2.conv_offset.weight"].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(structure=(1, 1)), "structure must be 6 positive numbers"),
        (dict(structure=(1, 1, 0, 1, 1, 1)), "structure must be 6 positive numbers"),
        (dict(base_channels=0), "base_channels must be positive, but is 0"),
        (dict(out_indices=()), "out_indices must be ascending"),
        (dict(out_indices=(2, 7)), "out_indices must be ascending"),
        (dict(out_indices=(3, 2)), "out_indices must be ascending"),
        (dict(stage_with_dcn=(True,)), "stage_with_dcn must have 6 values"),
        (dict(frozen_stages=8), "frozen_stages must be a number from 0 to 7, but is 8"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize("name", ["mask-rcnn_wide_shapes", "levelset-rcnn_wide_shapes"])
def test_a_training_step_of_the_small_models(name):
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    config = Config.fromfile(f"configs/quickstart/{name}.py")
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
        model.init_weights()
        inputs = demo_mm_inputs(
            2, image_shapes=[(3, 64, 96)] * 2, num_items=[2, 2], num_classes=4, with_mask=True
        )
        losses = model(**model.data_preprocessor(inputs, True), mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
