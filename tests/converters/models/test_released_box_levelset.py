"""Conversion of released BoxLevelSet checkpoints, and the comparison with the released head."""

import copy
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

from mmlevelset.converters.models import boxlevelset2mmlevelset as converter
from mmlevelset.converters.models import check_released as checker
from mmlevelset.errors import InputError
from mmlevelset.registry import MODELS
from tests.models.box_levelset.released import head_shapes, make_file


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def norm(name, channels):
    shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias")}
    shapes |= {f"{name}.running_{part}": (channels,) for part in ("mean", "var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def resnet_shapes(depth=50, offsets=None, stages=(2, 3, 4)):
    """Return shapes by torchvision's names; ``offsets``: channels of deformable offsets."""
    blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inputs = 64
    for stage, count in enumerate(blocks, 1):
        width = 32 * 2**stage
        for number in range(count):
            block = f"layer{stage}.{number}"
            layers = ((width, inputs, 1), (width, width, 3), (4 * width, width, 1))
            for layer, (outputs, own, side) in enumerate(layers, 1):
                shapes[f"{block}.conv{layer}.weight"] = (outputs, own, side, side)
                shapes |= norm(f"{block}.bn{layer}", outputs)
            if offsets and stage in stages:
                shapes[f"{block}.conv2.conv_offset.weight"] = (offsets, width, 3, 3)
                shapes[f"{block}.conv2.conv_offset.bias"] = (offsets,)
            if number == 0:
                shapes[f"{block}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                shapes |= norm(f"{block}.downsample.1", 4 * width)
            inputs = 4 * width
    return shapes


def released_weights(classes=80, head=None, **backbone):
    """Return weights of different values; each value is stored once."""
    shapes = {f"backbone.{name}": shape for name, shape in resnet_shapes(**backbone).items()}
    for level, channels in enumerate((256, 512, 1024, 2048)):
        shapes[f"neck.lateral_convs.{level}.conv.weight"] = (256, channels, 1, 1)
        shapes[f"neck.fpn_convs.{level}.conv.weight"] = (256, 256, 3, 3)
        for kind in ("lateral", "fpn"):
            shapes[f"neck.{kind}_convs.{level}.conv.bias"] = (256,)
    own = head_shapes(classes=classes, channels=256, width=256, stacked=4) | (head or {})
    shapes |= {f"bbox_head.{name}": shape for name, shape in own.items()}
    return {
        name: torch.tensor(float(number)).expand(shape)
        if not name.endswith("tracked")
        else torch.tensor(number)
        for number, (name, shape) in enumerate(shapes.items(), 1)
    }


# The names that differ between the released head and ours, one by one.
OURS = {
    "bbox_head.feature_convs.0.conv0.conv.weight": "convs_all_levels.0.conv0.conv.weight",
    "bbox_head.feature_convs.1.conv0.conv.weight": "convs_all_levels.1.conv0.conv.weight",
    "bbox_head.feature_convs.2.conv0.conv.weight": "convs_all_levels.2.conv0.conv.weight",
    "bbox_head.feature_convs.2.conv1.conv.weight": "convs_all_levels.2.conv1.conv.weight",
    "bbox_head.feature_convs.3.conv0.conv.weight": "convs_all_levels.3.conv0.conv.weight",
    "bbox_head.feature_convs.3.conv1.conv.weight": "convs_all_levels.3.conv1.conv.weight",
    "bbox_head.feature_convs.3.conv2.conv.weight": "convs_all_levels.3.conv2.conv.weight",
    "bbox_head.solo_mask.weight": "conv_pred.weight",
    "bbox_head.solo_mask.bias": "conv_pred.bias",
}
OURS = {name: f"mask_head.mask_feature_head.{ours}" for name, ours in OURS.items()}
OURS |= {
    "bbox_head.solo_cate.weight": "mask_head.conv_cls.weight",
    "bbox_head.solo_cate.bias": "mask_head.conv_cls.bias",
    "bbox_head.solo_kernel.weight": "mask_head.conv_kernel.weight",
    "bbox_head.solo_kernel.bias": "mask_head.conv_kernel.bias",
    "bbox_head.levelset_bottom.weight": "mask_head.loss_level_set.feature_conv.weight",
    "bbox_head.levelset_bottom.bias": "mask_head.loss_level_set.feature_conv.bias",
}
for number in range(4):
    for part in ("conv.weight", "gn.weight", "gn.bias"):
        OURS |= {
            f"bbox_head.cate_convs.{number}.{part}": f"mask_head.cls_convs.{number}.{part}",
            f"bbox_head.kernel_convs.{number}.{part}": f"mask_head.kernel_convs.{number}.{part}",
        }


def test_every_weight_gets_its_name():
    weights = released_weights()
    converted = converter.convert(weights)
    assert len(converted) == len(weights)
    renamed = [name for name in weights if name.startswith("bbox_head.")]
    assert set(renamed) == set(OURS)
    for name, weight in weights.items():
        assert converted[OURS.get(name, name)] is weight


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (dict(depth=50), dict(depth=50)),
        (dict(depth=101), dict(depth=101)),
        (
            dict(depth=101, offsets=18),
            dict(depth=101, type="DCN", stage_with_dcn=(False, True, True, True)),
        ),
        (
            dict(depth=50, offsets=27, stages=(3, 4)),
            dict(depth=50, type="DCNv2", stage_with_dcn=(False, False, True, True)),
        ),
    ],
    ids=["R-50", "R-101", "R-101-DCN", "R-50-DCNv2"],
)
def test_backbones_are_recognised(backbone, expected):
    weights = released_weights(classes=20, **backbone)
    found = converter.settings(weights)
    assert found["backbone"]["depth"] == expected["depth"]
    assert found["backbone"].get("stage_with_dcn") == expected.get("stage_with_dcn")
    assert found["backbone"].get("dcn", {}).get("type") == expected.get("type")
    assert found["mask_head"]["num_classes"] == 20
    assert len(converter.convert(weights)) == len(weights)


def test_deformable_layers_of_the_head_are_recognised():
    offsets = {}
    for name, shape in head_shapes(channels=256, width=256, stacked=4).items():
        if name.endswith(".conv.weight"):
            layer = name.removesuffix("weight")
            offsets[f"{layer}conv_offset.weight"] = (27, shape[1], 3, 3)
            offsets[f"{layer}conv_offset.bias"] = (27,)
    head = {name: shape for name, shape in offsets.items() if "feature_convs" not in name}
    weights = released_weights(head=head)
    found = converter.settings(weights)["mask_head"]
    assert found["dcn_cfg"]["type"] == "DCNv2"
    assert len(converter.convert(weights)) == len(weights)
    converted = converter.convert(released_weights(head=offsets))
    name = "mask_head.mask_feature_head.convs_all_levels.3.conv2.conv.conv_offset.bias"
    assert converted[name].shape == (27,)


def test_what_does_not_fit_is_listed():
    weights = released_weights()
    del weights["backbone.layer2.3.bn1.running_var"], weights["bbox_head.kernel_convs.2.gn.bias"]
    weights["bbox_head.solo_other.weight"] = torch.zeros(3)
    weights["neck.fpn_convs.4.conv.bias"] = torch.zeros(256)
    weights["optimizer"] = torch.zeros(1)
    weights["bbox_head.solo_kernel.weight"] = torch.zeros(256, 256, 3, 3)
    with pytest.raises(InputError) as caught:
        converter.convert(weights)
    missing, unknown, shapes = str(caught.value).split("; ")
    assert missing == (
        "2 missing weights: backbone.layer2.3.bn1.running_var, mask_head.kernel_convs.2.gn.bias"
    )
    assert unknown == (
        "3 unknown weights: bbox_head.solo_other.weight, neck.fpn_convs.4.conv.bias, optimizer"
    )
    assert shapes == (
        "1 wrong shapes: mask_head.conv_kernel.weight has (256, 256, 3, 3), not (256, 256, 1, 1)"
    )


@pytest.mark.parametrize(
    "name",
    [
        "bbox_head.solo_cate.weight",
        "bbox_head.levelset_bottom.weight",
        "bbox_head.feature_convs.0.conv0.conv.weight",
        "backbone.layer3.0.conv1.weight",
    ],
)
def test_missing_weights_that_tell_the_settings_are_listed(name):
    weights = released_weights()
    del weights[name]
    with pytest.raises(InputError, match=f"1 missing weights: {name}$"):
        converter.convert(weights)
    with pytest.raises(InputError, match="4 missing weights: backbone.layer3.0"):
        converter.convert({})


def test_unknown_backbone():
    weights = released_weights()
    weights = {name: w for name, w in weights.items() if not name.startswith("backbone.layer3.5")}
    with pytest.raises(InputError, match="a third stage of 5 blocks"):
        converter.convert(weights)


def test_file_loads_strictly(checkout, tmp_path, capsys):
    classes = tuple(f"class {number}" for number in range(20))
    weights = released_weights(classes=20)
    meta = dict(mmdet_version="2.10.0", CLASSES=classes, epoch=36)
    torch.save(dict(meta=meta, state_dict=weights, optimizer={}), tmp_path / "released.pth")
    words = tmp_path / "released.pth", tmp_path / "ours.pth"
    converter.main([*map(str, words)])
    assert "20 classes" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.pth", "released.pth"]

    config = Config.fromfile(checkout / "configs/_base_/models/box-levelset_r50_fpn.py")
    config.model.mask_head.num_classes = 20
    config.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
    loaded = load_checkpoint(model, str(words[1]), map_location="cpu", strict=True)
    assert loaded["meta"]["dataset_meta"]["classes"] == classes
    parameters = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, weight in weights.items():
        assert (parameters[OURS.get(name, name)] == weight).all()


def test_bare_weights_without_classes(tmp_path):
    torch.save(released_weights(), tmp_path / "released.pth")
    words = tmp_path / "released.pth", tmp_path / "ours.pth"
    converter.main([*map(str, words)])
    assert torch.load(words[1], weights_only=True)["meta"] == {}


def test_conversion_errors_name_the_file_and_write_nothing(refused, tmp_path):
    words = tmp_path / "released.pth", tmp_path / "ours.pth"
    message = refused(converter.main, [*map(str, words)])
    assert message == f"boxlevelset2mmlevelset.py: error: {words[0]} does not exist"
    weights = released_weights()
    del weights["bbox_head.solo_mask.bias"]
    for content, complaint in (
        (weights, ": 1 missing weights: mask_head.mask_feature_head.conv_pred.bias"),
        ([1, 2], " must hold a dict, but holds list"),
        (None, ": torch cannot read it"),
    ):
        if content is None:
            words[0].write_text("no checkpoint")
        else:
            torch.save(content, words[0])
        message = refused(converter.main, [*map(str, words)])
        assert message.startswith(f"boxlevelset2mmlevelset.py: error: {words[0]}{complaint}")
        assert "\n" not in message and not words[1].exists()
    elsewhere = tmp_path / "none" / "ours.pth"
    message = refused(converter.main, [str(words[0]), str(elsewhere)])
    assert message == f"boxlevelset2mmlevelset.py: error: {elsewhere.parent} is no folder"


@pytest.fixture(scope="module")
def released_file():
    torch.set_num_threads(1)
    return make_file()


def saved(tmp_path, released):
    path = tmp_path / "released.pt"
    torch.save(released, path)
    return [str(path)]


def failed(words):
    with pytest.raises(SystemExit) as stop:
        checker.main(words)
    return stop.value.code


def test_a_naive_released_head_is_matched(tmp_path, released_file, capsys):
    checker.main(saved(tmp_path, released_file))
    lines = capsys.readouterr().out.splitlines()
    assert all(line.endswith("ok") for line in lines)
    names = {line.split()[0] for line in lines}
    assert len(names) == len(lines) == 4 * 5 + 1 + 3 + len(released_file["grads"])
    assert {f"grads.{name}" for name in released_file["grads"]} < names


@pytest.mark.parametrize(
    "path",
    [
        ("ins_preds", 2),
        ("cate_preds", 0),
        ("eval_ins", 4),
        ("eval_cate", 1),
        ("levelset_feats",),
        ("losses", "loss_boxpro"),
        ("losses", "loss_levelset"),
        ("losses", "loss_cate"),
        ("grads", "levelset_bottom.weight"),
        ("grads", "solo_kernel.bias"),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_one_wrong_quantity_is_named(tmp_path, released_file, capsys, path):
    released = copy.deepcopy(released_file)
    part = released
    for key in path[:-1]:
        part = part[key]
    value = part[path[-1]]
    factor = {"losses": 1 + 3e-4, "grads": 1 + 3e-3}.get(path[0])
    if factor:
        part[path[-1]] = factor * value
    else:
        value[tuple(side // 2 for side in value.shape)] += 3e-5
    message = failed(saved(tmp_path, released))
    assert message == "check_released.py: 1 quantities past their tolerance"
    lines = capsys.readouterr().out.splitlines()
    (bad,) = (line for line in lines if not line.endswith("ok"))
    assert bad.split()[0] == ".".join(map(str, path)) and "PAST" in bad


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r.pop("feats"), "'feats' is missing"),
        (lambda r: r["losses"].clear(), "'loss_boxpro' is missing"),
        (lambda r: r["grads"].pop("solo_mask.bias"), "grads lacks mask_feature_head.conv_pred.bi"),
        (lambda r: r["grads"].update(other=torch.zeros(1)), "grads has the unknown weight other"),
        (lambda r: r["state_dict"].pop("bbox_head.solo_cate.bias"), "missing or unknown weights: "),
    ],
)
def test_incomplete_files_are_named(refused, tmp_path, released_file, change, complaint):
    released = copy.deepcopy(released_file)
    change(released)
    message = refused(checker.main, saved(tmp_path, released))
    start = f"check_released.py: error: {tmp_path / 'released.pt'}: "
    assert message.startswith(start + complaint) and "\n" not in message


def test_a_value_that_is_not_a_number_fails(tmp_path, released_file, capsys):
    released = copy.deepcopy(released_file)
    released["losses"]["loss_cate"] = torch.tensor(float("nan"))
    released["levelset_feats"] = released["levelset_feats"][:, :4]
    message = failed(saved(tmp_path, released))
    assert message == "check_released.py: 2 quantities past their tolerance"
    lines = capsys.readouterr().out.splitlines()
    bad = [line.split()[0] for line in lines if "PAST" in line]
    assert bad == ["levelset_feats", "losses.loss_cate"]


@pytest.mark.parametrize("tool", ["boxlevelset2mmlevelset.py", "check_released.py"])
def test_a_missing_file_ends_the_command(checkout, tool, tmp_path):
    words = [tmp_path / "none.pth"] + [tmp_path / "ours.pth"] * (tool[0] == "b")
    done = subprocess.run(
        [sys.executable, checkout / "tools/model_converters" / tool, *words],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.strip() == f"{tool}: error: {words[0]} does not exist"
