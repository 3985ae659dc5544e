"""The stages of CRLS after the proposals: segmentation, then classification."""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.utils import ConfigType, InstanceList
from mmengine.config import ConfigDict
from mmengine.model import Sequential
from torch import Tensor, nn

from mmlevelset.models.common import check_choice, mean_count, mean_iou
from mmlevelset.models.recurrent.result import Segmentation
from mmlevelset.registry import MODELS

POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "max": F.adaptive_max_pool2d,
    "mean": F.adaptive_avg_pool2d,
}


@MODELS.register_module()
class CRLSMaskHead(FCNMaskHead):
    """Stage 2: a recurrent level set in each RoI (Le et al. 2019, section 3.2).

    One fully connected layer with a ReLU turns the warped features into the image I. The masks
    have no class.

    Args:
        in_channels: Channels of the RoI features.
        roi_feat_size: Side of the RoI features and of the masks.
        num_convs: 0: I comes from the fully connected layer, as in the paper. Otherwise this number
            of 3 x 3 convolutions, each with a ReLU, and a 1 x 1 convolution take its place (our
            choice): they see the same at every pixel, and have a thousandth of the weights.
        conv_out_channels: Channels of these convolutions.
        network: ``dict(type="mmlevelset.RecurrentLevelSet", ...)``, or any network that
            :class:`RLS` takes. Its ``in_channels`` are the channels of I.
        standardise: Give I zero mean and unit variance in each RoI, so that its scale does not
            depend on the scale of the features (our choice).
        loss_weight: Factor on the cross-entropy.

    Raises:
        ValueError: An argument is out of its range.
    """

    PREDICTS_CLASSES: ClassVar[bool] = False
    """Its masks have no classes: ``num_classes`` has no influence."""

    def __init__(
        self,
        in_channels: int = 512,
        roi_feat_size: int = 21,
        num_convs: int = 0,
        conv_out_channels: int = 256,
        network: ConfigType = dict(
            type="mmlevelset.RecurrentLevelSet", size=(21, 21), in_channels=1
        ),
        standardise: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(
            num_convs=num_convs,
            roi_feat_size=roi_feat_size,
            in_channels=in_channels,
            conv_out_channels=conv_out_channels,
            class_agnostic=True,
            upsample_cfg=dict(type=None),
        )
        # mmdet's targets and pasting are used; its last layer and its loss are not.
        self.conv_logits = None
        del self.loss_mask
        if not loss_weight > 0:
            raise ValueError(f"loss_weight must be positive, but is {loss_weight!r}")
        self.network = MODELS.build(network)
        if self.network.size not in (None, self.roi_feat_size):
            raise ValueError(
                f"network.size must be roi_feat_size, {self.roi_feat_size}, but is"
                f" {self.network.size}"
            )
        self.standardise = standardise
        self.loss_weight = loss_weight
        channels = self.network.in_channels
        if num_convs:
            self.conv_image = nn.Conv2d(conv_out_channels, channels, 1)
        else:
            pixels = self.roi_feat_size[0] * self.roi_feat_size[1]
            self.fc = nn.Linear(in_channels * pixels, channels * pixels)

    def init_weights(self) -> None:
        """Set the initial weights; the network sets its own."""
        super().init_weights()
        last = self.conv_image if self.num_convs else self.fc
        nn.init.kaiming_normal_(last.weight, nonlinearity="relu")
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Segmentation:
        """Return logits (R, 2, m, m) and level sets of RoI features (R, in_channels, m, m)."""
        if self.num_convs:
            for conv in self.convs:
                x = conv(x)
            image = self.conv_image(x)
        else:
            shape = (self.network.in_channels, *self.roi_feat_size)
            image = F.relu(self.fc(x.flatten(1))).unflatten(1, shape)
        if self.standardise:
            image = F.layer_norm(image, self.roi_feat_size)
        return self.network(image)

    def get_targets(
        self,
        sampling_results: list,
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> Tensor:
        """True masks (P, m, m) of the positive RoIs, 0 or 1."""
        settings = ConfigDict({**rcnn_train_cfg, "mask_size": self.roi_feat_size})
        return super().get_targets(sampling_results, batch_gt_instances, settings)

    def loss_and_target(
        self,
        mask_preds: Segmentation,
        sampling_results: list,
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> dict:
        """Return ``loss_mask``, the mean over the positive RoIs of all processes.

        Arguments are mmdet's; ``mask_preds`` is the :class:`Segmentation` of the positive RoIs.

        Returns:
            ``loss_mask``: a dict of the loss and, for the log, of the masks' mean IoU with the
            ground truth on the RoIs' grid. ``mask_targets``: :meth:`get_targets`.
        """
        targets = self.get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg).long()
        share = len(targets) / mean_count(mask_preds.logits.new_tensor(len(targets)))
        loss = self.loss_weight * share * self.network.loss(mask_preds, targets)
        with torch.no_grad():
            iou = mean_iou(mask_preds.logits.argmax(1) > 0, targets > 0)
        return dict(loss_mask=dict(loss_mask=loss, iou_mask=iou), mask_targets=targets)


@MODELS.register_module()
class CRLSBBoxHead(BBoxHead):
    """Stage 3: class and box from the RoI features and from the features under the mask.

    Le et al. 2019, section 3.3. Both kinds of features are pooled (our choice: the paper has no
    sizes, and VGG's fully connected layers take 7 x 7) and go through two fully connected layers of
    their own. Class scores and box come from both results together.

    Args:
        in_channels: Channels of the RoI features.
        pool_size: Side to which features are pooled.
        pool: ``max``, for features behind a ReLU, as VGG's; ``mean``, for features of both signs,
            as those of a feature pyramid.
        fc_out_channels: Width of the fully connected layers.
        dropout_ratio: Ratio of the dropout after each of these layers.
        fc_init_cfg: Initial weights of each pair of layers. The layers have the names of
            torchvision's ``classifier`` of VGG, so that ``dict(type="mmlevelset.Pretrained",
            prefix="classifier", checkpoint=...,
            option="model.roi_head.bbox_head.fc_init_cfg.checkpoint")`` loads it. Default: Xavier.
        **kwargs: Arguments of mmdet's :class:`BBoxHead`.
    """

    def __init__(
        self,
        in_channels: int = 512,
        pool_size: int = 7,
        pool: str = "max",
        fc_out_channels: int = 4096,
        dropout_ratio: float = 0.0,
        fc_init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(in_channels=2 * fc_out_channels, roi_feat_size=1, **kwargs)
        check_choice("pool", pool, tuple(POOLS))
        self.pool_size, self.pool = pool_size, pool
        self.box_fcs, self.mask_fcs = (
            Sequential(
                nn.Linear(in_channels * pool_size**2, fc_out_channels),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout_ratio),
                nn.Linear(fc_out_channels, fc_out_channels),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout_ratio),
                init_cfg=fc_init_cfg or dict(type="Xavier", layer="Linear", distribution="uniform"),
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (R, num_classes + 1) and box deltas.

        Args:
            x: RoI features (R, in_channels, m, m).
            mask: Probability of the foreground (R, m, m).
        """
        box, masked = (
            POOLS[self.pool](features, self.pool_size).flatten(1)
            for features in (x, x * mask[:, None])
        )
        return super().forward(torch.cat([self.box_fcs(box), self.mask_fcs(masked)], 1))
