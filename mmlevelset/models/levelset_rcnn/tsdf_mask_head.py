from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.utils import ConfigType, InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.models.common import (
    check_choice,
    check_initial_std,
    check_roi_features,
    map_of_class,
    mean_count,
    mean_iou,
    start_small,
)
from mmlevelset.models.levelset_rcnn.result import LevelSets
from mmlevelset.models.levelset_rcnn.targets import TARGETS
from mmlevelset.ops.boxes import level_set_polygons, paste_level_sets


class Stage(NamedTuple):
    """A level set (M, H, W) that has a loss, with its name in the log."""

    name: str
    phi: Tensor
    loss: nn.Module
    weight: float


class TSDFMaskHead(FCNMaskHead):
    """Base of mask heads that evolve a level set from a predicted truncated distance (TSDF).

    Mask R-CNN's mask head regresses the truncated signed distance of the object; upsampled, it is
    phi_0. The trunk is mmdet's ``FCNMaskHead``: its arguments (``num_convs``, ``in_channels``,
    ``conv_out_channels``, ``num_classes``, ``class_agnostic``, ``upsample_cfg``, ...) apply, and a
    Mask R-CNN checkpoint initialises it. Only ``loss_mask`` and ``test_cfg.rcnn.mask_thr_binary``
    have no meaning here.

    Args:
        *args: Arguments of :class:`mmdet.models.FCNMaskHead`.
        mask_size: Side of phi, in samples of the RoI's grid.
        num_steps: N, steps of the evolution.
        truncation: Truncation of the TSDF, in samples of the trunk's output (28 x 28).
        detach_initial: Stop the gradients from phi_N into phi_0.
        initial_weight: Weight of the loss of phi_0.
        final_weight: Weight of the loss of phi_N.
        normalize_rois: Give the RoI features of each region mean 0 and variance 1, so that the
            heads behind do not depend on the features' scale. Not in the paper.
        initial_std: Standard deviation of the last layer's initial weights. phi_0 then starts
            within (-1, 1) on features of unit variance, as ``normalize_rois`` makes them. None:
            mmdet's initialisation, which is made for logits.
        targets: The true phi. ``image``: the distance to the object's boundary, measured on the
            image's pixels. ``grid``: the distance to the mask that was cut to the RoI's grid.
        **kwargs: Arguments of :class:`mmdet.models.FCNMaskHead`.
    """

    image_features = False
    """Whether :meth:`forward` takes the RoI's crops of the image."""

    def __init__(
        self,
        *args,
        mask_size: int,
        num_steps: int,
        truncation: float,
        detach_initial: bool,
        initial_weight: float,
        final_weight: float,
        normalize_rois: bool = True,
        initial_std: float | None = 0.03,
        targets: str = "image",
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if num_steps < 0:
            raise ValueError(f"num_steps must not be negative, but is {num_steps}")
        if not truncation > 0:
            raise ValueError(f"truncation must be positive, but is {truncation}")
        check_initial_std(initial_std)
        check_choice("targets", targets, tuple(TARGETS))
        self.fine_projection: nn.Module | None = None
        self.normalize_rois = normalize_rois
        self.initial_std = initial_std
        self.targets = targets
        self.mask_size = mask_size
        self.num_steps = num_steps
        self.truncation = truncation
        self.detach_initial = detach_initial
        self.initial_weight = initial_weight
        self.final_weight = final_weight

    @property
    def samples_in_truncation(self) -> float:
        """The truncation range in samples of phi's grid."""
        grid = self.roi_feat_size[0] * (self.scale_factor or 1)
        return self.truncation * self.mask_size / grid

    def init_weights(self) -> None:
        super().init_weights()
        start_small(self.conv_logits, self.initial_std)

    def normalized(self, x: Tensor) -> Tensor:
        """RoI features (M, C, h, w) as the heads get them."""
        check_roi_features(x, self.roi_feat_size)
        return F.layer_norm(x, x.shape[1:]) if self.normalize_rois else x

    def initial_level_set(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return phi_0 (M, 1, mask_size, mask_size), float32, of normalised features."""
        tsdf = map_of_class(super().forward(x), labels, self.class_agnostic)
        size = (self.mask_size, self.mask_size)
        return F.interpolate(tsdf, size=size, mode="bilinear", align_corners=False)

    def start_of_evolution(self, initial: Tensor) -> Tensor:
        """phi_0 (M, mask_size, mask_size) for the evolution, of :meth:`initial_level_set`."""
        return initial[:, 0].detach() if self.detach_initial else initial[:, 0]

    @abstractmethod
    def stages(self, level_sets: LevelSets) -> Iterator[Stage]:
        """Yield the level sets that have a loss."""

    def loss_and_target(
        self,
        mask_preds: LevelSets,
        sampling_results: list,
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> dict:
        """Losses of the level sets, means over the RoIs of all processes; arguments are mmdet's.

        Returns:
            ``loss_mask``: a dict of the losses and, for the log, of the mean IoU of the initial,
            the final and the refined mask with the ground truth on the RoIs' grid, and of the
            means of the level sets' ``log``. They are 0 if there are no RoIs, and means over the
            RoIs of all processes if they are averaged over the processes. ``mask_rois`` is the
            number of RoIs.
            ``mask_targets``: the masks (M, mask_size, mask_size).
        """
        targets = self._targets(sampling_results, batch_gt_instances)
        losses = self._losses(mask_preds, *targets)
        count = len(targets[0])
        share = count / mean_count(mask_preds.trajectory.new_tensor(count))
        for name, values in (mask_preds.log or {}).items():
            losses[name] = values.mean() if count else values.sum()
        losses = {name: share * value for name, value in losses.items()}
        if mask_preds.log is not None:
            losses["mask_rois"] = mask_preds.trajectory.new_tensor(count)
        return dict(loss_mask=losses, mask_targets=targets[0])

    def _losses(self, level_sets: LevelSets, masks: Tensor, tsdfs: Tensor) -> dict[str, Tensor]:
        losses = {}
        for stage in self.stages(level_sets):
            loss = stage.loss(stage.phi, tsdfs, masks)
            losses[f"loss_tsdf_{stage.name}"] = stage.weight * loss
            with torch.no_grad():
                losses[f"iou_{stage.name}"] = mean_iou(stage.phi > 0, masks)
        return losses

    def _targets(
        self, sampling_results: list, batch_gt_instances: InstanceList
    ) -> tuple[Tensor, ...]:
        targets = []
        for sampled, truth in zip(sampling_results, batch_gt_instances, strict=True):
            boxes = sampled.pos_priors
            masks = truth.masks.to_tensor(dtype=torch.uint8, device=boxes.device)
            targets.append(self._targets_of_image(masks, boxes, sampled.pos_assigned_gt_inds))
        return tuple(torch.cat(parts) for parts in zip(*targets, strict=True))

    def _targets_of_image(
        self, masks: Tensor, boxes: Tensor, indices: Tensor
    ) -> tuple[Tensor, ...]:
        make = TARGETS[self.targets]
        tsdfs = make(masks, boxes, indices, self.mask_size, self.samples_in_truncation)
        return tsdfs > 0, tsdfs

    def predict_by_feat(
        self,
        mask_preds: Sequence[LevelSets],
        results_list: InstanceList,
        batch_img_metas: list[dict],
        rcnn_test_cfg: ConfigType,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> InstanceList:
        """Masks at the size of the image from the level sets of each image's detections.

        Args:
            mask_preds: For each image, the level sets of its n detections.
            results_list: Each image's detections, with boxes in pixels of the network's input.
            batch_img_metas: Each image's meta information.
            rcnn_test_cfg: ``initial_masks``, ``level_sets`` and ``polygons`` (all off by default)
                add fields to the results.
            rescale: Give boxes and masks in the original image instead of the network's input.
            activate_map: Unused.

        Returns:
            The results with ``masks``, bool (n, H, W), from the refined level set or phi_N. The
            settings add: ``initial_masks`` from phi_0; ``level_sets``, phi_0..phi_N (n, N+1, h, w)
            on the boxes' grids, with ``refined_level_sets`` (n, h, w) if there is a refinement;
            ``polygons``, for each detection a list of closed polygons (P, 2) of x, y.
        """
        for level_sets, results, meta in zip(
            mask_preds, results_list, batch_img_metas, strict=True
        ):
            self._predict_single(level_sets, results, meta, rcnn_test_cfg, rescale)
        return results_list

    def _predict_single(
        self,
        level_sets: LevelSets,
        results: InstanceData,
        meta: dict,
        test_cfg: ConfigType,
        rescale: bool,
    ) -> None:
        height, width = meta["ori_shape"][:2] if rescale else meta["img_shape"][:2]
        if rescale:
            results.bboxes = results.bboxes / results.bboxes.new_tensor(
                meta["scale_factor"]
            ).repeat(2)
        results.masks = paste_level_sets(level_sets.final, results.bboxes, height, width)
        if test_cfg.get("initial_masks", False):
            results.initial_masks = paste_level_sets(
                level_sets.initial, results.bboxes, height, width
            )
        if test_cfg.get("level_sets", False):
            results.level_sets = level_sets.trajectory
            if level_sets.refined is not None:
                results.refined_level_sets = level_sets.refined
        if test_cfg.get("polygons", False):
            results.polygons = level_set_polygons(level_sets.final, results.bboxes)
