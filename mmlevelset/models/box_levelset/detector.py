"""mmdet's detectors whose mask heads get the normalised images with the features."""

from typing import Any

from mmdet.models.detectors import CondInst, Mask2Former, RTMDet, SOLOv2
from mmdet.utils import OptConfigType
from torch import Tensor

from mmlevelset.models.box_levelset.condinst_head import BoxCondInstBboxHead
from mmlevelset.models.common import ImageFeatures
from mmlevelset.registry import MODELS


class BoxDetector:
    """Gives a detector's head the images, and says how they are normalised.

    Args:
        *args: Arguments of mmdet's detector.
        data_preprocessor: Config of mmdet's ``DetDataPreprocessor``. The head gets its ``mean`` and
            ``std`` as ``image_mean`` and ``image_std``; and ``image_bgr``: the images, which mmdet
            loads as B, G, R, stay so without ``bgr_to_rgb``.
        **kwargs: Arguments of mmdet's detector.

    Raises:
        ValueError: The config of the head is missing.
    """

    _head: str
    """The argument that has the config of the head with box supervision."""

    _nested = True
    """The settings stand in ``box_supervision`` of the head, not in the head itself."""

    def __init__(self, *args: Any, data_preprocessor: OptConfigType = None, **kwargs: Any) -> None:
        given = data_preprocessor or {}
        scale = {f"image_{name}": given.get(name) for name in ("mean", "std")}
        scale["image_bgr"] = not given.get("bgr_to_rgb", False)
        head = kwargs.get(self._head)
        if head is None:
            raise ValueError(f"{self._head} must be the config of the head, but is missing")
        if self._nested:
            given = {**scale, **(head.get("box_supervision") or {})}
            kwargs[self._head] = type(head)({**head, "box_supervision": given})
        else:
            kwargs[self._head] = type(head)({**scale, **head})
        super().__init__(*args, data_preprocessor=data_preprocessor, **kwargs)  # type: ignore[call-arg]

    def extract_feat(self, batch_inputs: Tensor) -> ImageFeatures:
        """Features of the images (B, C, H, W), one map a level, and the images."""
        return ImageFeatures(super().extract_feat(batch_inputs), batch_inputs)  # type: ignore[misc]


@MODELS.register_module()
class BoxLevelSet(BoxDetector, SOLOv2):
    """mmdet's SOLOv2 with a :class:`BoxSOLOv2Head`; its arguments are mmdet's."""

    _head = "mask_head"
    _nested = False


@MODELS.register_module()
class BoxRTMDet(BoxDetector, RTMDet):
    """mmdet's RTMDet with a :class:`BoxRTMDetInsHead`; its arguments are mmdet's."""

    _head = "bbox_head"


@MODELS.register_module()
class BoxCondInst(BoxDetector, CondInst):
    """mmdet's CondInst with a :class:`BoxCondInstHead`; its arguments are mmdet's.

    Raises:
        ValueError: The supervision is ``mixed``, and ``bbox_head`` is no
            :class:`BoxCondInstBboxHead`. mmdet's finds no point for an object without a mask.
    """

    _head = "mask_head"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mixed = self.mask_head.box_supervision.supervision == "mixed"
        if mixed and not isinstance(self.bbox_head, BoxCondInstBboxHead):
            raise ValueError(
                "bbox_head must be a mmlevelset.BoxCondInstBboxHead with supervision='mixed', but"
                f" is a {type(self.bbox_head).__name__}"
            )


@MODELS.register_module()
class BoxMask2Former(BoxDetector, Mask2Former):
    """mmdet's Mask2Former with a :class:`BoxMask2FormerHead`; its arguments are mmdet's."""

    _head = "panoptic_head"
