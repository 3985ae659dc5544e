"""Convert a checkpoint of the released BoxLevelSet (LiWentomng/boxlevelset, mmdet 2.10).

    python tools/model_converters/boxlevelset2mmlevelset.py RELEASED.pth OURS.pth

The backbone, the number of classes and the layers are read from the checkpoint. Weights that are
missing, unknown or of a wrong shape end the conversion, with a list of their names.

The labels of the released checkpoint for iSAID have another order than those of this package's
configs. --order-of configs/_base_/datasets/isaid_boxes.py puts them into the order of the config.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.converters.command_line import make_parser
from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.files import shipped_folder, write_whole

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "_base_/models/box-levelset_r50_fpn.py"
HEAD = (
    (r"feature_convs\.(.+)", r"mask_feature_head.convs_all_levels.\1"),
    (r"solo_mask\.(.+)", r"mask_feature_head.conv_pred.\1"),
    (r"cate_convs\.(.+)", r"cls_convs.\1"),
    (r"kernel_convs\.(.+)", r"kernel_convs.\1"),
    (r"solo_cate\.(.+)", r"conv_cls.\1"),
    (r"solo_kernel\.(.+)", r"conv_kernel.\1"),
    (r"levelset_bottom\.(.+)", r"loss_level_set.feature_conv.\1"),
)
BLOCKS = {6: 50, 23: 101, 36: 152}
"""Depth of a ResNet by the blocks of its third stage."""


def head_name(name: str) -> str | None:
    """Return our name of the released head's weight, without ``bbox_head.``, or None."""
    for pattern, ours in HEAD:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(ours)
    return None


def rename(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under our names; unknown weights keep their names."""
    renamed = {}
    for name, weight in weights.items():
        own = head_name(name.removeprefix("bbox_head.")) if name.startswith("bbox_head.") else None
        renamed[f"mask_head.{own}" if own else name] = weight
    return renamed


def settings(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return the changes that turn the base config into the config of a released checkpoint.

    Args:
        weights: The checkpoint's weights, under the released names.

    Raises:
        InputError: A weight that the settings are read from is missing.
    """
    sources = ["bbox_head.solo_cate.weight", "bbox_head.levelset_bottom.weight"]
    sources += ["bbox_head.feature_convs.0.conv0.conv.weight", "backbone.layer3.0.conv1.weight"]
    missing = [name for name in sources if name not in weights]
    if missing:
        raise InputError(_listing("missing weights", missing))
    blocks = _count(weights, r"backbone\.layer3\.(\d+)\.")
    if blocks not in BLOCKS:
        raise InputError(f"a third stage of {blocks} blocks is no known ResNet")
    backbone: dict[str, Any] = dict(depth=BLOCKS[blocks])
    stages = [_deformable(weights, f"backbone.layer{stage}.0.conv2") for stage in range(1, 5)]
    if any(stages):
        version = next(stage for stage in stages if stage)
        backbone["dcn"] = dict(type=version, deform_groups=1, fallback_on_stride=False)
        backbone["stage_with_dcn"] = tuple(stage is not None for stage in stages)
    width, channels = weights[sources[2]].shape[:2]
    features: dict[str, Any] = dict(feat_channels=width, out_channels=width)
    if kind := _deformable(weights, "bbox_head.feature_convs.0.conv0.conv"):
        features["conv_cfg"] = dict(type=kind)
    tower = _deformable(weights, "bbox_head.kernel_convs.0.conv")
    head = dict(
        num_classes=weights[sources[0]].shape[0],
        in_channels=channels,
        feat_channels=width,
        stacked_convs=_count(weights, r"bbox_head\.cate_convs\.(\d+)\."),
        dcn_cfg=tower and dict(type=tower),
        mask_feature_head=features,
        loss_level_set=dict(feature_channels=weights[sources[1]].shape[0]),
    )
    return dict(backbone=backbone, mask_head=head)


def _deformable(weights: dict[str, Tensor], convolution: str) -> str | None:
    """Return the type of a deformable convolution; None for an ordinary convolution.

    Version 1 has 18 offsets; version 2 has a mask of 9 more.
    """
    offsets = weights.get(f"{convolution}.conv_offset.weight")
    if offsets is None:
        return None
    return "DCN" if offsets.shape[0] == 18 else "DCNv2"


def _count(weights: dict[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, name) for name in weights)
    return max((int(match[1]) for match in found if match), default=-1) + 1


def convert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of our model, made from the released weights.

    Raises:
        InputError: Weights are unknown, missing or of a wrong shape; all of them are listed.
    """
    renamed = rename(weights)
    wanted = _model(settings(weights)).state_dict()
    complaints = []
    missing = [name for name in wanted if name not in renamed]
    unknown = [name for name in renamed if name not in wanted]
    if missing:
        complaints.append(_listing("missing weights", missing))
    if unknown:
        complaints.append(_listing("unknown weights", unknown))
    shapes = [
        f"{name} has {tuple(renamed[name].shape)}, not {tuple(weight.shape)}"
        for name, weight in wanted.items()
        if name in renamed and renamed[name].shape != weight.shape
    ]
    if shapes:
        complaints.append(_listing("wrong shapes", shapes))
    if complaints:
        raise InputError("; ".join(complaints))
    return {name: renamed[name] for name in wanted}


def _model(changes: dict[str, Any]) -> Any:
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    config = Config.fromfile(shipped_folder("configs") / CONFIG)
    config.merge_from_dict(dict(model=changes))
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)


def reorder(
    converted: dict[str, Tensor], classes: Sequence[str], wanted: Sequence[str]
) -> dict[str, Tensor]:
    """Return the converted weights with the labels in another order.

    Args:
        converted: The result of :func:`convert`.
        classes: Names of the classes in the order of the labels.
        wanted: The same names in the order that the labels get.

    Raises:
        InputError: The names are not the same.
    """
    if sorted(classes) != sorted(wanted):
        raise InputError(
            f"the checkpoint's classes ({', '.join(classes)}) must be those of --order-of"
            f" ({', '.join(wanted)})"
        )
    order = [list(classes).index(name) for name in wanted]
    layers = {f"mask_head.conv_cls.{part}" for part in ("weight", "bias")}
    return {name: value[order] if name in layers else value for name, value in converted.items()}


def classes_of(config: Path) -> tuple[str, ...]:
    """Return the class names of a config's test data.

    Raises:
        InputError: The config does not exist, or names no classes for its test data.
    """
    if not config.is_file():
        raise InputError(f"--order-of: {config} does not exist")
    from mmengine.config import Config

    dataset = Config.fromfile(config).get("test_dataloader", {}).get("dataset", {})
    classes = (dataset.get("metainfo") or {}).get("classes")
    if not classes:
        raise InputError(f"--order-of: {config} has no test_dataloader.dataset.metainfo.classes")
    return tuple(classes)


def _listing(what: str, names: list[str]) -> str:
    return f"{len(names)} {what}: " + ", ".join(sorted(names))


def load(path: Path) -> dict[str, Any]:
    """Return the dict that torch has saved in a file, without running code from the file.

    Raises:
        InputError: The file does not exist or does not hold a dict; the message names the file.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise InputError(f"{path}: torch cannot read it: {' '.join(reason)}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path} must hold a dict, but holds {type(loaded).__name__}")
    return loaded


@exit_on_input_error("boxlevelset2mmlevelset.py")
def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("released", type=Path, help="checkpoint of the released code")
    parser.add_argument("ours", type=Path, help="where the converted checkpoint goes")
    parser.add_argument(
        "--order-of",
        type=Path,
        metavar="CONFIG",
        help="give the labels the order of the classes in this config's test data",
    )
    arguments = parser.parse_args(words)
    if not arguments.ours.parent.is_dir():
        raise InputError(f"{arguments.ours.parent} is no folder")
    wanted = classes_of(arguments.order_of) if arguments.order_of else None
    loaded = load(arguments.released)
    weights = loaded.get("state_dict", loaded)
    classes = loaded.get("meta", {}).get("CLASSES")
    try:
        converted = convert(weights)
        if wanted:
            if not classes:
                raise InputError("--order-of needs a checkpoint that names its classes")
            converted = reorder(converted, classes, wanted)
            classes = wanted
    except InputError as error:
        raise InputError(f"{arguments.released}: {error}") from error
    meta = dict(dataset_meta=dict(classes=tuple(classes))) if classes else {}
    import torch

    write_whole(arguments.ours, partial(torch.save, dict(state_dict=converted, meta=meta)))
    found = settings(weights)
    depth, count = found["backbone"]["depth"], found["mask_head"]["num_classes"]
    print(f"{arguments.ours}: {len(converted)} weights, ResNet-{depth}, {count} classes")
