from typing import Any

from mmdet.models.detectors import SOLOv2
from mmdet.utils import ConfigType, OptConfigType
from torch import Tensor

from mmlevelset.models.common import ImageFeatures
from mmlevelset.registry import MODELS


@MODELS.register_module()
class BoxLevelSet(SOLOv2):
    """mmdet's SOLOv2; its mask head gets the normalised images with the features.

    Args:
        *args: Arguments of mmdet's ``SOLOv2``.
        mask_head: Config of :class:`BoxSOLOv2Head`. It also gets ``image_mean`` and ``image_std``,
            the data preprocessor's ``mean`` and ``std``.
        data_preprocessor: Config of mmdet's ``DetDataPreprocessor``; its images are RGB.
        **kwargs: Arguments of mmdet's ``SOLOv2``.
    """

    def __init__(
        self,
        *args: Any,
        mask_head: ConfigType,
        data_preprocessor: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        scale = {f"image_{name}": (data_preprocessor or {}).get(name) for name in ("mean", "std")}
        super().__init__(
            *args,
            mask_head=type(mask_head)({**scale, **mask_head}),
            data_preprocessor=data_preprocessor,
            **kwargs,
        )

    def extract_feat(self, batch_inputs: Tensor) -> ImageFeatures:
        """Features of the images (B, C, H, W), one map a level, and the images."""
        return ImageFeatures(super().extract_feat(batch_inputs), batch_inputs)
