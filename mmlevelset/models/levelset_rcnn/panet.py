"""PANet's changes to the heads of Mask R-CNN (Liu et al., CVPR 2018).

mmdet has PANet's bottom-up path augmentation as ``PAFPN``; the other two parts are here.
"""

from functools import reduce

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.utils import ConfigType
from mmengine.model import ModuleList
from torch import Tensor

from mmlevelset.models.common import check_roi_features, start_small
from mmlevelset.models.levelset_rcnn.mask_head import LevelSetMaskHead
from mmlevelset.registry import MODELS


@MODELS.register_module()
class AdaptiveFeaturePooling(BaseRoIExtractor):
    """RoI features from all levels (PANet, section 3.2): a layer for each, then the maximum.

    The layer is the first 3x3 convolution of PANet's heads, so a head behind this extractor has one
    convolution less. For a box head of fully connected layers, PANet takes the first of them
    instead. mmdet's ``GenericRoIExtractor`` sums or concatenates, with one layer for all levels.

    Args:
        roi_layer: Config of the RoI layer, e.g. RoIAlign.
        out_channels: Channels of the levels and of the output.
        featmap_strides: Stride of each level.
        norm_cfg: Normalisation of the convolutions; default none.
    """

    def __init__(
        self,
        roi_layer: ConfigType,
        out_channels: int,
        featmap_strides: list[int],
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides, init_cfg)
        self.convs = ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg)
            for _ in featmap_strides
        )

    def forward(
        self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Features of RoIs.

        Args:
            feats: One map (B, out_channels, H, W) for each level.
            rois: (M, 5): index of the image, x1, y1, x2, y2 in pixels of the input.
            roi_scale_factor: Factor on the RoIs' sides.

        Returns:
            (M, out_channels, h, w), not negative.
        """
        rois = rois.type_as(feats[0])
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        levels = zip(self.convs, self.roi_layers, feats, strict=True)
        return reduce(torch.maximum, (conv(pool(feat, rois)) for conv, pool, feat in levels))


@MODELS.register_module()
class PANetMaskHead(FCNMaskHead):
    """mmdet's mask head with PANet's fully-connected fusion (section 3.3).

    A branch starts at the input of the trunk's last convolution: two 3x3 convolutions, the second
    half as wide, and one fully connected layer. Its map is added to the maps of all classes. The
    arguments are as in ``FCNMaskHead``; the new layers' names start with ``fusion``.

    Raises:
        ValueError: ``num_convs`` is 0.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.num_convs < 1:
            raise ValueError(f"num_convs must be positive, but is {self.num_convs}")
        channels = self.conv_out_channels
        widths = [
            self.in_channels if self.num_convs == 1 else channels,
            channels,
            channels // 2,
        ]
        settings = dict(padding=1, conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg)
        self.fusion_convs = nn.Sequential(
            ConvModule(widths[0], widths[1], 3, **settings),
            ConvModule(widths[1], widths[2], 3, **settings),
        )
        height, width = self.roi_feat_size
        scale = self.scale_factor or 1
        self.fusion_size = (height * scale, width * scale)
        self.fusion_fc = nn.Linear(widths[2] * height * width, height * width * scale**2)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of each class (M, K, scale h, scale w) from RoI features (M, C, h, w).

        Raises:
            ValueError: The features' size is not ``roi_feat_size``.
        """
        check_roi_features(x, self.roi_feat_size)
        *convs, last = self.convs
        for conv in convs:
            x = conv(x)
        shared = self.fusion_fc(self.fusion_convs(x).flatten(1))
        x = last(x)
        if self.upsample is not None:
            x = self.upsample(x)
            if self.upsample_method == "deconv":
                x = self.relu(x)
        return self.conv_logits(x) + shared.unflatten(1, (1, *self.fusion_size))


@MODELS.register_module()
class PANetLevelSetMaskHead(LevelSetMaskHead, PANetMaskHead):  # type: ignore[misc]
    """``LevelSetMaskHead``, with its arguments, on the trunk of :class:`PANetMaskHead`."""

    def init_weights(self) -> None:
        super().init_weights()
        if self.initial_std is not None:
            pixels = self.roi_feat_size[0] * self.roi_feat_size[1]
            start_small(self.fusion_fc, self.initial_std / pixels**0.5)
