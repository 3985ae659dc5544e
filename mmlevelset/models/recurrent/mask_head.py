"""Mask R-CNN's mask head with a recurrent refinement."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.utils import ConfigType, InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.models.common import (
    check_initial_std,
    check_roi_features,
    map_of_class,
    mean_count,
    mean_iou,
    start_small,
)
from mmlevelset.registry import MODELS


class RefinedMasks(NamedTuple):
    """Logits of the masks of M RoIs.

    Attributes:
        initial: The mask head's own logits (M, mask_size, mask_size), float32.
        refined: The logits after the refinement.
    """

    initial: Tensor
    refined: Tensor


@MODELS.register_module()
class RefinedFCNMaskHead(FCNMaskHead):
    """mmdet's mask head of Mask R-CNN with a recurrent refinement of its masks.

    Checkpoints of mmdet's head fit. The RoI head must be ``mmlevelset.LevelSetRoIHead``, which
    hands over each RoI's class and crop of the image, and the detector ``mmlevelset.LevelSetRCNN``.

    Args:
        *args: Arguments of :class:`mmdet.models.FCNMaskHead`.
        refinement: Config of :class:`RecurrentRefinement`; ``in_channels`` is set from this head's.
        mask_size: Side of the grid on which masks are refined, trained and pasted. The head's
            logits are resampled to it. None: the head's own side. ``train_cfg.rcnn.mask_size`` has
            no meaning here.
        refined_weight: Factor on ``loss_mask`` of the refined masks; the head's own has 1.
        initial_std: Standard deviation of the initial weights of the head's last layer. With
            mmdet's initialisation, None, most logits of a head with one class start so large that
            phi_0 of the refinement is -1 or 1.
        **kwargs: Arguments of :class:`mmdet.models.FCNMaskHead`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        *args,
        refinement: ConfigType = dict(type="mmlevelset.RecurrentRefinement"),
        mask_size: int | None = None,
        refined_weight: float = 1.0,
        initial_std: float | None = 0.03,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if mask_size is not None and (not isinstance(mask_size, int) or mask_size < 1):
            raise ValueError(f"mask_size must be a positive integer or None, but is {mask_size!r}")
        if not refined_weight > 0:
            raise ValueError(f"refined_weight must be positive, but is {refined_weight!r}")
        check_initial_std(initial_std)
        self.initial_std = initial_std
        self.mask_size = mask_size or self.roi_feat_size[0] * (self.scale_factor or 1)
        self.refined_weight = refined_weight
        self.refinement = MODELS.build({"in_channels": self.in_channels, **refinement})
        self.image_features = self.refinement.image_channels > 0

    def init_weights(self) -> None:
        super().init_weights()
        start_small(self.conv_logits, self.initial_std)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, image: Tensor | None = None
    ) -> RefinedMasks:
        """Logits of M RoIs.

        Args:
            x: RoI features (M, in_channels, h, w).
            labels: Class of each RoI (M,): this class's mask is refined. Not used if
                ``class_agnostic``.
            image: The RoI's crops of the normalised image (M, image_channels, H, W).

        Raises:
            ValueError: A shape does not fit, or the labels are missing.
        """
        check_roi_features(x, self.roi_feat_size)
        logits = map_of_class(super().forward(x), labels, self.class_agnostic)
        size = (self.mask_size, self.mask_size)
        if logits.shape[2:] != size:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        # Two views: the order in which gradients are added decides their last digit.
        return RefinedMasks(logits[:, 0], self.refinement(logits[:, 0], image, x))

    def get_targets(
        self,
        sampling_results: list,
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> Tensor:
        """True masks (M, mask_size, mask_size) of the positive RoIs, 0 or 1."""
        settings = ConfigDict({**rcnn_train_cfg, "mask_size": self.mask_size})
        return super().get_targets(sampling_results, batch_gt_instances, settings)

    def loss_and_target(
        self,
        mask_preds: RefinedMasks,
        sampling_results: list,
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> dict:
        """Losses of both masks, means over the RoIs of all processes; arguments are mmdet's.

        Returns:
            ``loss_mask``: a dict of the losses and, for the log, of both masks' mean IoU with the
            ground truth on the RoIs' grid. ``mask_targets``: :meth:`get_targets`.
        """
        targets = self.get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg)
        classes = targets.new_zeros(len(targets), dtype=torch.long)
        share = len(targets) / mean_count(mask_preds.initial.new_tensor(len(targets)))
        losses = {}
        for name, logits, weight in (
            ("loss_mask", mask_preds.initial, 1.0),
            ("loss_mask_refined", mask_preds.refined, self.refined_weight),
        ):
            logits = logits[:, None]
            loss = self.loss_mask(logits, targets, classes) if len(targets) else logits.sum()
            losses[name] = weight * share * loss
        with torch.no_grad():
            for name, logits in mask_preds._asdict().items():
                losses[f"iou_{name}"] = mean_iou(logits > 0, targets > 0.5)
        return dict(loss_mask=losses, mask_targets=targets)

    def predict_by_feat(
        self,
        mask_preds: Sequence[RefinedMasks],
        results_list: InstanceList,
        batch_img_metas: list[dict],
        rcnn_test_cfg: ConfigType,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> InstanceList:
        """Return mmdet's results from the logits of each image's detections.

        With ``initial_masks`` (off by default) in ``rcnn_test_cfg``, the results also have the
        head's own masks as ``initial_masks``.
        """
        settings = (batch_img_metas, rcnn_test_cfg, rescale, activate_map)
        initial = []
        if rcnn_test_cfg.get("initial_masks", False):
            own = [masks.initial[:, None] for masks in mask_preds]
            # Copies, since mmdet rescales boxes in place.
            copies = [
                InstanceData(bboxes=results.bboxes.clone(), labels=results.labels)
                for results in results_list
            ]
            initial = [found.masks for found in super().predict_by_feat(own, copies, *settings)]
        refined = [masks.refined[:, None] for masks in mask_preds]
        results_list = super().predict_by_feat(refined, results_list, *settings)
        for results, masks in zip(results_list, initial, strict=bool(initial)):
            results.initial_masks = masks
        return results_list

    def _predict_by_feat_single(
        self, mask_preds: Tensor, bboxes: Tensor, labels: Tensor, *args, **kwargs
    ) -> Tensor:
        # The class was chosen before: there is one channel.
        labels = torch.zeros_like(labels)
        return super()._predict_by_feat_single(mask_preds, bboxes, labels, *args, **kwargs)
