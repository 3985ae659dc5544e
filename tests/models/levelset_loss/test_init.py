import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmlevelset.models.levelset_loss import DecimatedVGG, DeepLabVGG, LargeFOVHead, Pretrained
from tests.models.levelset_loss.builders import make_segmentor

WIDTH = 2


def vgg16(seed: int = 0, width: int = WIDTH, wide: int = 32) -> dict[str, torch.Tensor]:
    """A state dict of a small VGG-16 in torchvision's layout."""
    generator = torch.Generator().manual_seed(seed)
    shapes, before = {}, 3
    for number, index in enumerate([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]):
        after = width * [1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8][number]
        shapes[f"features.{index}"] = (after, before, 3, 3)
        before = after
    shapes |= {
        "classifier.0": (wide, before * 49),
        "classifier.3": (wide, wide),
        "classifier.6": (10, wide),
    }
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator)
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    return state


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "vgg16.pth"
    torch.save(vgg16(), path)
    return str(path)


def init(**options) -> dict:
    return dict(type="mmlevelset.Pretrained", **options)


def test_all_26_tensors_of_torchvisions_vgg16_are_used(checkpoint):
    backbone = DeepLabVGG(base_channels=WIDTH, init_cfg=init(checkpoint=checkpoint))
    backbone.init_weights()
    expected = vgg16()
    state = backbone.state_dict()
    assert len(state) == 26
    for name, value in state.items():
        assert torch.equal(value, expected[name]), name


def test_whole_models_checkpoint_by_prefix(tmp_path):
    source = make_segmentor(seed=3)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), tmp_path / "model.pth")
    for prefix in ("backbone", "backbone."):
        options = dict(checkpoint=str(tmp_path / "model.pth"), prefix=prefix)
        backbone = DeepLabVGG(base_channels=2, init_cfg=init(**options))
        backbone.init_weights()
        for name, value in source.backbone.state_dict().items():
            assert torch.equal(backbone.state_dict()[name], value), name


def test_what_is_loaded_is_not_overwritten_by_the_parts_own_start(tmp_path):
    source = make_segmentor(seed=3)
    torch.save(source.state_dict(), tmp_path / "model.pth")
    model = make_segmentor(seed=4, init_cfg=init(checkpoint=str(tmp_path / "model.pth")))
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_parts_without_a_counterpart_keep_their_own_start(tmp_path):
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def init_weights(self):
            nn.init.constant_(self.weight, self.weight[0].item() + 1)

    class Whole(BaseModule):
        def __init__(self, init_cfg):
            super().__init__(init_cfg)
            self.first, self.second = Part(), Part()

    torch.save({"first.weight": torch.full((2,), 7.0)}, tmp_path / "part.pth")
    whole = Whole(init(checkpoint=str(tmp_path / "part.pth")))
    whole.init_weights()
    assert whole.first.weight.tolist() == [7, 7]
    assert whole.second.weight.tolist() == [1, 1]


def test_missing_file_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "absent.pth"
    model_init = init(checkpoint=str(path))
    with pytest.raises(OSError) as caught:
        DeepLabVGG(base_channels=WIDTH, init_cfg=model_init).init_weights()
    message = str(caught.value)
    assert message.startswith(f"init_cfg.checkpoint {str(path)!r} of DeepLabVGG cannot be read")
    assert "--cfg-options model.backbone.init_cfg.checkpoint=FILE" in message


def test_unreachable_url_is_named_with_what_to_do():
    url = "http://invalid.invalid/x.pth"
    head = LargeFOVHead(2, in_channels=8, init_cfg=dict(type="mmlevelset.DecimatedVGG"))
    head.init_cfg["checkpoint"] = url
    with pytest.raises(OSError) as caught:
        head.init_weights()
    message = str(caught.value)
    assert message.startswith(f"init_cfg.checkpoint {url!r} of LargeFOVHead cannot be read")
    assert "--cfg-options model.decode_head.init_cfg.checkpoint=FILE" in message


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04broken"])
def test_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(OSError, match="broken.pth' of DeepLabVGG cannot be read"):
        Pretrained(str(path))(DeepLabVGG(base_channels=WIDTH))


def test_file_without_weights_is_an_error(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="list.pth' must be a state dict, but is a list"):
        Pretrained(str(tmp_path / "list.pth"))(DeepLabVGG(base_channels=WIDTH))


def test_error_where_no_weight_fits(checkpoint, tmp_path):
    with pytest.raises(ValueError) as caught:
        Pretrained(checkpoint)(DeepLabVGG(base_channels=WIDTH + 1))
    message = str(caught.value)
    assert f"{checkpoint!r} has no weight that fits DeepLabVGG" in message
    assert "the module needs features.0.weight (3, 3, 3, 3)" in message
    assert "the checkpoint has features.0.weight (2, 3, 3, 3)" in message
    with pytest.raises(ValueError, match="with prefix 'backbone' has no .* checkpoint has none"):
        Pretrained(checkpoint, prefix="backbone")(DeepLabVGG(base_channels=WIDTH))
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="has no weight that fits"):
        Pretrained(str(tmp_path / "empty.pth"))(DeepLabVGG(base_channels=WIDTH))


def decimated(checkpoint: str, **changes) -> LargeFOVHead:
    options = dict(in_channels=8 * WIDTH, fc_channels=8) | changes
    config = dict(type="mmlevelset.DecimatedVGG", checkpoint=checkpoint)
    head = LargeFOVHead(5, init_cfg=config, **options)
    head.init_weights()
    return head


def test_decimated_layers_have_every_third_tap_and_every_fourth_channel(checkpoint):
    head, full = decimated(checkpoint), vgg16()
    assert head.fc6.weight.shape == (8, 16, 3, 3)
    for out in (0, 3, 7):
        for channel in (0, 5, 15):
            for row in range(3):
                for column in range(3):
                    position = channel * 49 + 3 * row * 7 + 3 * column
                    expected = full["classifier.0.weight"][4 * out, position]
                    assert head.fc6.weight[out, channel, row, column] == expected
        for channel in (0, 2, 7):
            expected = full["classifier.3.weight"][4 * out, 4 * channel]
            assert head.fc7.weight[out, channel, 0, 0] == expected
        assert head.fc6.bias[out] == full["classifier.0.bias"][4 * out]
        assert head.fc7.bias[out] == full["classifier.3.bias"][4 * out]


def test_decimated_head_keeps_a_new_classifier(checkpoint):
    torch.manual_seed(0)
    classifier = decimated(checkpoint).classifier
    assert 0.002 < classifier.weight.std() < 0.03
    assert not classifier.bias.any()


@pytest.mark.parametrize(("size", "taps"), [(1, [3]), (7, range(7)), (5, [0, 2, 3, 4, 6])])
def test_taps_of_other_kernels_are_spread_evenly(checkpoint, size, taps):
    kernel = decimated(checkpoint, kernel_size=size, fc_channels=32).fc6.weight
    full = vgg16()["classifier.0.weight"].reshape(32, 16, 7, 7)
    assert torch.equal(kernel, full[:, :, list(taps)][..., list(taps)])


def test_the_undecimated_head_scores_as_the_classifier_does(checkpoint):
    head = decimated(checkpoint, kernel_size=7, fc_channels=32, dilation=1).eval()
    full = vgg16()
    pooled = torch.randn(1, 16, 7, 7)
    hidden = torch.relu(full["classifier.0.weight"] @ pooled.flatten() + full["classifier.0.bias"])
    hidden = torch.relu(full["classifier.3.weight"] @ hidden + full["classifier.3.bias"])
    expected = head.classifier.weight[:, :, 0, 0] @ hidden + head.classifier.bias
    torch.testing.assert_close(head([pooled])[0, :, 3, 3], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(in_channels=7), "have 16 input channels, and a divisor of 32 .* has 7 and 8"),
        (dict(fc_channels=12), "have 16 input channels, and a divisor of 32 .* has 16 and 12"),
    ],
)
def test_decimation_says_what_does_not_fit(checkpoint, changes, message):
    with pytest.raises(ValueError, match=message):
        decimated(checkpoint, **changes)


def test_decimation_needs_fully_connected_layers_and_a_head_for_them(tmp_path, checkpoint):
    state = {name: value for name, value in vgg16().items() if name != "classifier.3.bias"}
    torch.save(state, tmp_path / "partial.pth")
    with pytest.raises(ValueError, match=r"partial.pth' must have .* has no classifier.3.bias"):
        decimated(str(tmp_path / "partial.pth"))
    with pytest.raises(TypeError, match="but DeepLabVGG has no fc6"):
        DecimatedVGG(checkpoint)(DeepLabVGG(base_channels=WIDTH))
