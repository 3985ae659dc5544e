"""Turn a checkpoint of the released BoxLevelSet (LiWentomng/boxlevelset, mmdet 2.10) into ours.

    python tools/model_converters/boxlevelset2mmlevelset.py RELEASED.pth OURS.pth

The backbone, the number of classes and the layers are read off the checkpoint; weights that are
missing, unknown or of another shape than the model has end the conversion and are listed.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = Path(__file__).parents[2] / "configs/_base_/models/box-levelset_r50_fpn.py"
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


class ConversionError(Exception):
    """The checkpoint is not what the released code writes."""


def head_name(name: str) -> str | None:
    """Our name of a weight of the released head, without ``bbox_head.``; None if unknown."""
    for pattern, ours in HEAD:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(ours)
    return None


def rename(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under our names, unknown ones under theirs."""
    renamed = {}
    for name, weight in weights.items():
        own = head_name(name.removeprefix("bbox_head.")) if name.startswith("bbox_head.") else None
        renamed[f"mask_head.{own}" if own else name] = weight
    return renamed


def settings(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Changes to the base config that give the model of a checkpoint, under the released names.

    Raises:
        ConversionError: The weights that tell are missing.
    """
    told = ["bbox_head.solo_cate.weight", "bbox_head.levelset_bottom.weight"]
    told += ["bbox_head.feature_convs.0.conv0.conv.weight", "backbone.layer3.0.conv1.weight"]
    missing = [name for name in told if name not in weights]
    if missing:
        raise ConversionError(_listing("missing weights", missing))
    blocks = _count(weights, r"backbone\.layer3\.(\d+)\.")
    if blocks not in BLOCKS:
        raise ConversionError(f"a third stage of {blocks} blocks is no known ResNet")
    backbone: dict[str, Any] = dict(depth=BLOCKS[blocks])
    stages = [_deformable(weights, f"backbone.layer{stage}.0.conv2") for stage in range(1, 5)]
    if any(stages):
        version = next(stage for stage in stages if stage)
        backbone["dcn"] = dict(type=version, deform_groups=1, fallback_on_stride=False)
        backbone["stage_with_dcn"] = tuple(stage is not None for stage in stages)
    width, channels = weights[told[2]].shape[:2]
    features: dict[str, Any] = dict(feat_channels=width, out_channels=width)
    if kind := _deformable(weights, "bbox_head.feature_convs.0.conv0.conv"):
        features["conv_cfg"] = dict(type=kind)
    tower = _deformable(weights, "bbox_head.kernel_convs.0.conv")
    head = dict(
        num_classes=weights[told[0]].shape[0],
        in_channels=channels,
        feat_channels=width,
        stacked_convs=_count(weights, r"bbox_head\.cate_convs\.(\d+)\."),
        dcn_cfg=tower and dict(type=tower),
        mask_feature_head=features,
        loss_level_set=dict(feature_channels=weights[told[1]].shape[0]),
    )
    return dict(backbone=backbone, mask_head=head)


def _deformable(weights: dict[str, Tensor], convolution: str) -> str | None:
    """Type of a deformable convolution, which has 18 offsets, and a mask of 9 in version 2."""
    offsets = weights.get(f"{convolution}.conv_offset.weight")
    if offsets is None:
        return None
    return "DCN" if offsets.shape[0] == 18 else "DCNv2"


def _count(weights: dict[str, Tensor], pattern: str) -> int:
    found = (re.match(pattern, name) for name in weights)
    return max((int(match[1]) for match in found if match), default=-1) + 1


def convert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of our model for that of a released one, every weight in its place.

    Raises:
        ConversionError: Weights are unknown, missing or of a wrong shape; all of them are listed.
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
        raise ConversionError("; ".join(complaints))
    return {name: renamed[name] for name in wanted}


def _model(changes: dict[str, Any]) -> Any:
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(dict(model=changes))
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)


def _listing(what: str, names: list[str]) -> str:
    return f"{len(names)} {what}: " + ", ".join(sorted(names))


def load(path: Path) -> dict[str, Any]:
    """What torch has saved in a file, read without running code from it.

    Raises:
        ConversionError: It is no dict that torch has saved.
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[:1]
        raise ConversionError(f"torch cannot read it: {' '.join(reason)}") from error
    if not isinstance(loaded, dict):
        raise ConversionError(f"it must hold a dict, but holds {type(loaded).__name__}")
    return loaded


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("released", type=Path, help="checkpoint of the released code")
    parser.add_argument("ours", type=Path, help="where the converted checkpoint goes")
    arguments = parser.parse_args()
    if not arguments.released.is_file():
        sys.exit(f"boxlevelset2mmlevelset.py: error: {arguments.released} does not exist")
    import torch

    if not arguments.ours.parent.is_dir():
        sys.exit(f"boxlevelset2mmlevelset.py: error: {arguments.ours.parent} is no folder")
    try:
        loaded = load(arguments.released)
        weights = loaded.get("state_dict", loaded)
        converted = convert(weights)
    except ConversionError as error:
        sys.exit(f"boxlevelset2mmlevelset.py: error: {arguments.released}: {error}")
    classes = loaded.get("meta", {}).get("CLASSES")
    meta = dict(dataset_meta=dict(classes=tuple(classes))) if classes else {}
    temporary = arguments.ours.with_name(arguments.ours.name + ".part")
    torch.save(dict(state_dict=converted, meta=meta), temporary)
    os.replace(temporary, arguments.ours)
    found = settings(weights)
    depth, count = found["backbone"]["depth"], found["mask_head"]["num_classes"]
    print(f"{arguments.ours}: {len(converted)} weights, ResNet-{depth}, {count} classes")


if __name__ == "__main__":
    main()
