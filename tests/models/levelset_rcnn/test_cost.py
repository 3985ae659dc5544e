"""The cost of the mask branch beside Mask R-CNN's."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from mmlevelset.registry import MODELS

CONFIGS = Path(__file__).parents[3] / "configs"


PHOTOGRAPHS = "photographs/levelset-rcnn_image_lite0_pennfudan.py"
PHOTOGRAPHS_BASELINE = "photographs/mask-rcnn_lite0_pennfudan.py"
WIDE = {
    "hyperparameter_head.conv_channels": 64,
    "feature_head.num_convs": 1,
    "feature_head.upsample_channels": (32, 16, 8),
}
FINE = {"feature_head": None, "fine_channels": 8}


def multiplications(config: str, *inputs: torch.Tensor, options: dict | None = None) -> float:
    """Multiplications of a mask head's matrices and convolutions, for one RoI."""
    whole = Config.fromfile(CONFIGS / config)
    place = "model.roi_head.mask_head"
    whole.merge_from_dict({f"{place}.{key}": value for key, value in (options or {}).items()})
    settings = whole.model.roi_head.mask_head
    with torch.device("meta"):
        head = MODELS.build(settings).eval()
        features = torch.empty(1, head.in_channels, 14, 14)
        arguments = [value.to("meta") for value in inputs]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        head(features, *arguments)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "level_set, baseline, expected, options",
    [
        (PHOTOGRAPHS, PHOTOGRAPHS_BASELINE, 1.92, {}),
        (PHOTOGRAPHS, PHOTOGRAPHS_BASELINE, 4.27, WIDE),
        (PHOTOGRAPHS, PHOTOGRAPHS_BASELINE, 1.10, FINE),
        (
            "levelset_rcnn/levelset-rcnn_light_r50_fpn_90k_coco.py",
            "levelset_rcnn/mask-rcnn_r50_fpn_90k_coco.py",
            1.49,
            {},
        ),
        (
            "levelset_rcnn/levelset-rcnn_r50_fpn_90k_coco.py",
            "levelset_rcnn/mask-rcnn_r50_fpn_90k_coco.py",
            4.49,
            {},
        ),
    ],
)
def test_the_mask_branch_has_the_documented_multiplications(level_set, baseline, expected, options):
    label, image = torch.zeros(1, dtype=torch.long), torch.zeros(1, 3, 112, 112)
    fine = [torch.zeros(1, 8, 112, 112)] if "fine_channels" in options else []
    ours = multiplications(level_set, label, image, *fine, options=options)
    ratio = ours / multiplications(baseline)
    assert ratio == pytest.approx(expected, abs=0.01)
