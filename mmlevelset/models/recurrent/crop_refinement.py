"""Refinement of masks over a whole image, each within its own box."""

import torch
from mmcv.ops import roi_align
from torch import Tensor

from mmlevelset.models.common import check_not_negative, check_positive_integers
from mmlevelset.models.recurrent.refinement import RecurrentRefinement
from mmlevelset.ops.boxes import mask_boxes, paste_crops
from mmlevelset.ops.checks import check_shape
from mmlevelset.registry import MODELS

MASKS_AT_ONCE = 256
"""Masks that are refined together where no gradients are kept; bounds the memory."""


@MODELS.register_module()
class CropRefinement(RecurrentRefinement):
    """Refines each mask over a whole image on a grid over its bounding box.

    RoIAlign crops the mask, the image and the projected features: means, curvature and cost are
    the object's, not the image's. The box of an empty mask is the whole image. Only the correction
    is resampled to the mask's pixels, so a correction of zero leaves the masks exactly as they are.

    Args:
        size: Side of the grid.
        margin: A box is enlarged on each side by this part of its height and width, and by at
            least one pixel of the mask.
        **kwargs: Arguments of :class:`RecurrentRefinement`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(self, *, size: int = 56, margin: float = 0.2, **kwargs) -> None:
        super().__init__(**kwargs)
        check_positive_integers(size=size)
        check_not_negative(margin=margin)
        self.size, self.margin = size, margin

    def correction(self, masks: Tensor, image: Tensor | None, features: Tensor | None) -> Tensor:
        """Return the maps (K, H, W) that :meth:`forward` adds to the masks of one image.

        Args:
            masks: (K, H, W).
            image: (image_channels, h, w), which covers the same region at any resolution.
            features: (in_channels, h', w'), which cover the same region.
        """
        check_shape("masks", masks, ("K", "H", "W"))
        # The maps are projected once for all masks: a 1 x 1 convolution commutes with cropping.
        maps = self._inputs(image, features)
        if torch.is_grad_enabled():
            return self._within_boxes(masks, *maps)
        return torch.cat([self._within_boxes(part, *maps) for part in masks.split(MASKS_AT_ONCE)])

    def _within_boxes(
        self, masks: Tensor, image: Tensor | None, projected: Tensor | None
    ) -> Tensor:
        boxes = mask_boxes(masks.detach() > 0, self.margin)
        size = (masks.shape[1], masks.shape[2])
        crops = self._crops(masks[:, None], boxes, size)[:, 0]
        image, projected = (
            None if maps is None else self._crops(maps[None], boxes, size)
            for maps in (image, projected)
        )
        return paste_crops(self._answer(crops, image, projected), boxes, size)

    def _crops(self, maps: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Crops of maps (K or 1, C, h, w) within boxes (K, 4) in pixels of a map of ``size``."""
        if not len(boxes):
            # The empty result still depends on the maps.
            return maps[:0].sum().expand(0, maps.shape[1], self.size, self.size)
        maps = maps.float().contiguous()  # roi_align reads memory as if it were
        scale = boxes.new_tensor([maps.shape[3] / size[1], maps.shape[2] / size[0]]).repeat(2)
        owner = torch.arange(len(boxes), device=boxes.device).clamp(max=len(maps) - 1)
        rois = torch.cat([owner[:, None].to(boxes), boxes * scale], 1)
        return roi_align(maps, rois, (self.size, self.size), 1.0, 0, "avg", True)
