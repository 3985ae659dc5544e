"""Small detectors with random weights that predict some detections."""

from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from tests.models.box_levelset.builders import make_detector

ROOT = Path(__file__).parents[3]


def quickstart(name: str) -> nn.Module:
    """The two-stage model of a quickstart config, with at most 12 detections."""
    config = Config.fromfile(ROOT / f"configs/quickstart/{name}_shapes.py")
    config.model.test_cfg.rcnn.max_per_img = 12
    with DefaultScope.overwrite_default_scope("mmdet"):
        torch.manual_seed(0)
        model = MODELS.build(config.model)
        model.init_weights()
    return model.eval()


def real_detectors() -> dict[str, nn.Module]:
    """Names and detectors, one of each kind."""
    with DefaultScope.overwrite_default_scope("mmdet"):
        box_level_set = make_detector().eval()
    with torch.no_grad():
        for parameter in box_level_set.mask_head.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    level_set_rcnn = quickstart("levelset-rcnn_image")
    level_set_rcnn.roi_head.test_cfg.initial_masks = True
    return dict(
        mask_rcnn=quickstart("mask-rcnn"),
        levelset_rcnn=level_set_rcnn,
        box_levelset=box_level_set,
    )
