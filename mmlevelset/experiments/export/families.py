"""The function of an image that a model's kind is exported as."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import SOLOV2Head
from mmdet.models.detectors import MaskRCNN as PlainMaskRCNN
from mmdet.models.detectors import SOLOv2
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from torch import nn

from mmlevelset.errors import InputError
from mmlevelset.experiments.export.parts import traceable
from mmlevelset.experiments.export.rcnn import LevelSetRCNN, MaskRCNN
from mmlevelset.experiments.export.semantic import Semantic, SingleObject
from mmlevelset.experiments.export.solo import SOLO
from mmlevelset.models.crls import RLS
from mmlevelset.models.levelset_loss import SemanticSegmentor
from mmlevelset.models.levelset_rcnn import LevelSetMaskHead, LevelSetRoIHead
from mmlevelset.models.recurrent import RefinedFCNMaskHead

KNOWN = "LevelSet R-CNN, Mask R-CNN, SOLOv2, BoxLevelSet, the semantic networks and RLS"


def network_of(model: Any) -> tuple[nn.Module, str]:
    """Return a model as a network from image and size to named outputs, and its task.

    Returns:
        The network in evaluation mode, and ``instances``, ``semantic`` or ``object``.

    Raises:
        InputError: Models of this kind cannot be exported.
    """
    kind = type(model)
    for name, module in model.named_modules():
        if "DeformConv" in type(module).__name__:
            raise InputError(
                f"model.{name} cannot be exported: ONNX has no {type(module).__name__}"
            )
    if kind is RLS:
        return SingleObject(traceable(model)).eval(), "object"
    if kind is SemanticSegmentor:
        return Semantic(traceable(model)).eval(), "semantic"
    if isinstance(model, SOLOv2) and isinstance(model.mask_head, SOLOV2Head):
        return SOLO(traceable(model)).eval(), "instances"
    if isinstance(model, PlainMaskRCNN):
        head = model.roi_head
        mask_head = getattr(head, "mask_head", None)
        if type(head) is LevelSetRoIHead and isinstance(
            mask_head, LevelSetMaskHead | RefinedFCNMaskHead
        ):
            return LevelSetRCNN(traceable(model)).eval(), "instances"
        plain = isinstance(mask_head, FCNMaskHead) and not head.share_roi_extractor
        if type(head) is StandardRoIHead and plain:
            return MaskRCNN(traceable(model)).eval(), "instances"
        raise InputError(
            f"model.roi_head {type(head).__name__} with {type(mask_head).__name__} cannot be"
            f" exported; {KNOWN} can"
        )
    raise InputError(f"model {kind.__name__} cannot be exported; {KNOWN} can")
