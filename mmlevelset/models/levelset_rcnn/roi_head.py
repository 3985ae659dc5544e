import torch
from mmcv.ops import roi_align
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import InstanceList
from torch import Tensor

from mmlevelset.models.common import images_of, split_rois
from mmlevelset.registry import MODELS


@MODELS.register_module()
class LevelSetRoIHead(StandardRoIHead):
    """mmdet's RoI head; it also gives the mask head each RoI's class and crops.

    If the mask head uses the image, the features ``x`` must be
    :class:`~mmlevelset.models.common.ImageFeatures`; :class:`LevelSetRCNN` returns them.
    """

    def _mask_forward(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor | None = None,
        pos_inds: Tensor | None = None,
        bbox_feats: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict:
        """``mask_preds``, the mask head's result for RoIs (M, 5), and ``mask_feats``, its input.

        mmdet's :meth:`forward` gives no labels; then the masks are the masks of class 0.
        """
        if rois is None or self.share_roi_extractor:
            raise ValueError("mask_roi_extractor must be given: the level sets need their own RoIs")
        mask_feats = self.mask_roi_extractor(x[: self.mask_roi_extractor.num_inputs], rois)
        if self.with_shared_head:
            mask_feats = self.shared_head(mask_feats)
        if labels is None:
            labels = rois.new_zeros(len(rois), dtype=torch.long)
        mask_preds = self.mask_head(mask_feats, labels, **self._crops(x, rois))
        return dict(mask_preds=mask_preds, mask_feats=mask_feats)

    def _crops(self, x: tuple[Tensor, ...], rois: Tensor) -> dict[str, Tensor]:
        """The RoIs' crops of the image and of the finest map, for a mask head that uses them."""
        crops = {}
        if self.mask_head.image_features:
            images = images_of(x, "mmlevelset.LevelSetRCNN")
            crops["image"] = self._crop(images, rois, 1)
        project = getattr(self.mask_head, "fine_projection", None)
        if project is not None:
            # Projected before the crops, which have more pixels.
            stride = self.mask_roi_extractor.featmap_strides[0]
            crops["fine"] = self._crop(project(x[0]), rois, stride)
        return crops

    def _crop(self, maps: Tensor, rois: Tensor, stride: int) -> Tensor:
        size = self.mask_head.mask_size
        maps = maps.float().contiguous()  # roi_align reads memory as if it were
        return roi_align(maps, rois.float(), (size, size), 1 / stride, 0, "avg", True)

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list,
        bbox_feats: Tensor,
        batch_gt_instances: InstanceList,
    ) -> dict:
        """Losses of the mask head on the positive RoIs, each with its ground truth's class."""
        rois = bbox2roi([sampled.pos_priors for sampled in sampling_results])
        labels = torch.cat([sampled.pos_gt_labels for sampled in sampling_results])
        results = self._mask_forward(x, rois, labels=labels)
        results.update(
            self.mask_head.loss_and_target(
                results["mask_preds"], sampling_results, batch_gt_instances, self.train_cfg
            )
        )
        return results

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: InstanceList,
        rescale: bool = False,
    ) -> InstanceList:
        """Add the masks, and other fields that ``test_cfg.rcnn`` asks for, to the detections."""
        maps = self.mask_maps(x, results_list)
        return self.mask_head.predict_by_feat(
            maps, results_list, batch_img_metas, self.test_cfg, rescale
        )

    def mask_maps(self, x: tuple[Tensor, ...], results_list: InstanceList) -> list:
        """The mask head's result for each image's detections, on the grids of their boxes.

        Args:
            x: Features of the images.
            results_list: Detections with ``bboxes`` in pixels of the network's input and
                ``labels``.
        """
        rois = bbox2roi([results.bboxes for results in results_list])
        labels = torch.cat([results.labels for results in results_list])
        maps = self._mask_forward(x, rois, labels=labels)["mask_preds"]
        return split_rois(maps, [len(results) for results in results_list])
