"""The cost of the mask branch beside Mask R-CNN's."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from mmlevelset.registry import MODELS

CONFIGS = Path(__file__).parents[3] / "configs"


def multiplications(config: str, *inputs: torch.Tensor) -> float:
    """Multiplications of a mask head's matrices and convolutions, for one RoI."""
    settings = Config.fromfile(CONFIGS / config).model.roi_head.mask_head
    with torch.device("meta"):
        head = MODELS.build(settings).eval()
        features = torch.empty(1, head.in_channels, 14, 14)
        arguments = [value.to("meta") for value in inputs]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head(features, *arguments)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "level_set, baseline, expected",
    [
        (
            "photographs/levelset-rcnn_image_lite0_pennfudan.py",
            "photographs/mask-rcnn_lite0_pennfudan.py",
            1.92,
        ),
        (
            "levelset_rcnn/levelset-rcnn_light_r50_fpn_90k_coco.py",
            "levelset_rcnn/mask-rcnn_r50_fpn_90k_coco.py",
            1.49,
        ),
        (
            "levelset_rcnn/levelset-rcnn_r50_fpn_90k_coco.py",
            "levelset_rcnn/mask-rcnn_r50_fpn_90k_coco.py",
            4.49,
        ),
    ],
)
def test_the_mask_branch_has_the_documented_multiplications(level_set, baseline, expected):
    label, image = torch.zeros(1, dtype=torch.long), torch.zeros(1, 3, 112, 112)
    ratio = multiplications(level_set, label, image) / multiplications(baseline)
    assert ratio == pytest.approx(expected, abs=0.01)
