import torch
import torch.nn as nn
import torch.nn.functional as F
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.models.levelset_rcnn.paste import paste_level_sets
from mmlevelset.models.levelset_rcnn.polygons import level_set_polygons
from mmlevelset.models.levelset_rcnn.targets import tsdf_targets
from mmlevelset.models.losses import check_roi_features, map_of_class, mean_iou
from mmlevelset.ops import evolve_chan_vese
from mmlevelset.registry import MODELS


@MODELS.register_module()
class LevelSetMaskHead(FCNMaskHead):
    """Mask head of LevelSet R-CNN (Homayounfar et al., ECCV 2020).

    Mask R-CNN's mask head regresses the truncated signed distance (TSDF) of the object, which is
    upsampled to phi_0; a second head predicts the hyperparameters and a third one the features of
    a Chan-Vese evolution that is unrolled from phi_0 to phi_N. The mask is ``phi_N > 0``.

    The trunk is mmdet's ``FCNMaskHead``, so its arguments (``num_convs``, ``in_channels``,
    ``conv_out_channels``, ``num_classes``, ``class_agnostic``, ``upsample_cfg``, ...) apply and a
    Mask R-CNN checkpoint initialises it; only ``loss_mask`` and ``test_cfg.rcnn.mask_thr_binary``
    have no meaning here.

    Args:
        mask_size: Side of phi and of the features, in samples of the RoI's grid.
        num_steps: N, steps of the evolution; 0 leaves the TSDF head alone.
        truncation: Truncation of the TSDF, in samples of the trunk's output (28 x 28).
        detach_initial: Stop the gradients from phi_N into phi_0.
        image_features: Give the evolution the RoI's crop of the normalised image as additional
            feature channels. Not in the paper.
        image_channels: Channels of the image.
        data_scale: If given, a learned positive factor on lambda1 and lambda2 that starts at this
            value. Not in the paper.
        reduction: Of the squared feature distances over channels, ``mean`` or ``sum``.
        eta: See :func:`mmlevelset.ops.curvature`.
        delta: See :func:`mmlevelset.ops.evolve_chan_vese`.
        hyperparameter_head: Config of the hyperparameter head; ``in_channels`` and ``num_steps``
            are set from this head's.
        feature_head: Config of the feature head; ``in_channels`` is set from this head's.
        loss_tsdf: Loss of a level set.
        initial_weight: Weight of the loss of phi_0.
        final_weight: Weight of the loss of phi_N, and of its refinement.
        refinement: Config of ``mmlevelset.RecurrentRefinement``, which is applied to phi_N;
            ``in_channels`` and ``slope`` are set for this head. Not in the paper.
    """

    def __init__(
        self,
        *args,
        mask_size: int = 112,
        num_steps: int = 3,
        truncation: float = 4.0,
        detach_initial: bool = False,
        image_features: bool = False,
        image_channels: int = 3,
        data_scale: float | None = None,
        reduction: str = "mean",
        eta: float = 1e-4,
        delta: str = "printed",
        hyperparameter_head: ConfigType = dict(type="mmlevelset.HyperparameterHead"),
        feature_head: OptConfigType = dict(type="mmlevelset.ChanVeseFeatureHead"),
        loss_tsdf: ConfigType = dict(type="mmlevelset.TSDFLoss"),
        initial_weight: float = 1.0,
        final_weight: float = 5.0,
        refinement: OptConfigType = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if num_steps < 0:
            raise ValueError(f"num_steps must not be negative, but is {num_steps}")
        if not truncation > 0:
            raise ValueError(f"truncation must be positive, but is {truncation}")
        if data_scale is not None and not data_scale > 0:
            raise ValueError(f"data_scale must be positive, but is {data_scale}")
        if num_steps and feature_head is None and not image_features:
            raise ValueError("feature_head is None and image_features is off: nothing to evolve on")
        self.mask_size = mask_size
        self.num_steps = num_steps
        self.truncation = truncation
        self.detach_initial = detach_initial
        self.evolves_on_image = self.image_features = image_features and num_steps > 0
        self.reduction = reduction
        self.eta = eta
        self.delta = delta
        self.loss_tsdf = MODELS.build(loss_tsdf)
        self.initial_weight = initial_weight
        self.final_weight = final_weight
        self.log_data_scale: nn.Parameter | None = None
        self.feature_head = None
        if num_steps:
            self.hyperparameter_head = MODELS.build(
                dict(hyperparameter_head, in_channels=self.in_channels, num_steps=num_steps)
            )
            if feature_head is not None:
                self.feature_head = MODELS.build(dict(feature_head, in_channels=self.in_channels))
            if data_scale is not None:
                self.log_data_scale = nn.Parameter(torch.tensor(data_scale).log())
        self.refinement: nn.Module | None = None
        if refinement is not None:
            # Level sets are measured in truncation ranges: at 1, phi_0 is tanh(2).
            settings = dict(in_channels=self.in_channels, slope=2.0)
            module = MODELS.build({**settings, **refinement})
            self.image_features = self.image_features or module.image_channels > 0
            self.refinement = module

    def forward(
        self, x: Tensor, labels: Tensor | None = None, image: Tensor | None = None
    ) -> Tensor:
        """Level sets of M RoIs.

        Args:
            x: RoI features (M, in_channels, h, w).
            labels: Class of each RoI (M,), whose channel of the TSDF is taken; not used if
                ``class_agnostic``.
            image: With ``image_features`` or a refinement, the RoI's crops of the image (M,
                image_channels, mask_size, mask_size).

        Returns:
            phi_0..phi_N (M, N+1, mask_size, mask_size), float32, positive inside; about 1 is the
            truncation range. With a refinement, the refined phi_N follows.

        Raises:
            ValueError: A shape does not fit, or the labels or the image are missing.
        """
        check_roi_features(x, self.roi_feat_size)
        tsdf = map_of_class(super().forward(x), labels, self.class_agnostic)
        size = (self.mask_size, self.mask_size)
        initial = F.interpolate(tsdf, size=size, mode="bilinear", align_corners=False)
        level_sets = self._evolved(x, initial, image) if self.num_steps else initial
        if self.refinement is None:
            return level_sets
        return torch.cat([level_sets, self.refinement(level_sets[:, -1], image, x)[:, None]], 1)

    def _evolved(self, x: Tensor, initial: Tensor, image: Tensor | None) -> Tensor:
        start = initial[:, 0].detach() if self.detach_initial else initial[:, 0]
        settings = self.hyperparameter_head(x)
        scale = 1.0 if self.log_data_scale is None else self.log_data_scale.exp()
        level_sets = evolve_chan_vese(
            start,
            self._features(x, image),
            settings.lambda1 * scale,
            settings.lambda2 * scale,
            settings.mu,
            settings.eps,
            settings.dt,
            reduction=self.reduction,
            eta=self.eta,
            delta=self.delta,
            return_trajectory=True,
        )
        return torch.cat([initial, level_sets[:, 1:]], 1)

    def _features(self, x: Tensor, image: Tensor | None) -> Tensor:
        features = []
        if self.feature_head is not None:
            features.append(self.feature_head(x, self.mask_size))
        if self.evolves_on_image:
            if image is None:
                raise ValueError("image must be given when image_features is on, but is None")
            features.append(image.to(features[0].dtype if features else image.dtype))
        return torch.cat(features, 1)

    def loss_and_target(
        self,
        mask_preds: Tensor,
        sampling_results: list,
        batch_gt_instances: InstanceList,
        rcnn_train_cfg: ConfigType,
    ) -> dict:
        """Losses of phi_0, phi_N and its refinement.

        Arguments are mmdet's, ``mask_preds`` as :meth:`forward` gives.

        Returns:
            ``loss_mask``: a dict of the losses and, for the log, of the mean IoU of the initial,
            the final and the refined mask with the ground truth on the RoIs' grid.
            ``mask_targets``: the masks (M, mask_size, mask_size).
        """
        masks, tsdfs = self._targets(sampling_results, batch_gt_instances)
        stages = [("initial", 0, self.initial_weight)]
        if self.num_steps:
            stages.append(("final", self.num_steps, self.final_weight))
        if self.refinement is not None:
            stages.append(("refined", self.num_steps + 1, self.final_weight))
        losses = {}
        for name, index, weight in stages:
            phi = mask_preds[:, index]
            losses[f"loss_tsdf_{name}"] = weight * self.loss_tsdf(phi, tsdfs, masks)
            with torch.no_grad():
                losses[f"iou_{name}"] = mean_iou(phi > 0, masks)
        return dict(loss_mask=losses, mask_targets=masks)

    def _targets(
        self, sampling_results: list, batch_gt_instances: InstanceList
    ) -> tuple[Tensor, Tensor]:
        grid = self.roi_feat_size[0] * (self.scale_factor or 1)
        truncation = self.truncation * self.mask_size / grid
        targets = []
        for sampled, truth in zip(sampling_results, batch_gt_instances, strict=True):
            boxes = sampled.pos_priors
            masks = truth.masks.to_tensor(dtype=torch.uint8, device=boxes.device)
            indices = sampled.pos_assigned_gt_inds
            targets.append(tsdf_targets(masks, boxes, indices, self.mask_size, truncation))
        masks, tsdfs = zip(*targets, strict=True)
        return torch.cat(masks), torch.cat(tsdfs)

    def predict_by_feat(
        self,
        mask_preds: tuple[Tensor, ...],
        results_list: InstanceList,
        batch_img_metas: list[dict],
        rcnn_test_cfg: ConfigType,
        rescale: bool = False,
        activate_map: bool = False,
    ) -> InstanceList:
        """Masks at the size of the image from the level sets of each image's detections.

        Args:
            mask_preds: For each image, the level sets of its n detections, as :meth:`forward`
                gives: (n, N+1, h, w), or (n, N+2, h, w) with a refinement.
            results_list: Its detections, with boxes in pixels of the network's input.
            batch_img_metas: Its meta information.
            rcnn_test_cfg: ``initial_masks``, ``level_sets`` and ``polygons`` (all off by default)
                say what each result carries besides the masks.
            rescale: Give boxes and masks in the original image rather than the input.
            activate_map: Unused.

        Returns:
            The results with ``masks``, bool (n, H, W), from the last level set; as asked for,
            ``initial_masks`` from phi_0, ``level_sets`` as in ``mask_preds`` on the grid of the
            box, and ``polygons``: for each detection a list of closed polygons (P, 2) of x, y.
        """
        for level_sets, results, meta in zip(
            mask_preds, results_list, batch_img_metas, strict=True
        ):
            self._predict_single(level_sets, results, meta, rcnn_test_cfg, rescale)
        return results_list

    def _predict_single(
        self,
        level_sets: Tensor,
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
        final = level_sets[:, -1]
        results.masks = paste_level_sets(final, results.bboxes, height, width)
        if test_cfg.get("initial_masks", False):
            results.initial_masks = paste_level_sets(
                level_sets[:, 0], results.bboxes, height, width
            )
        if test_cfg.get("level_sets", False):
            results.level_sets = level_sets
        if test_cfg.get("polygons", False):
            results.polygons = level_set_polygons(final, results.bboxes)
