"""What the losses of two methods or more share."""

from mmlevelset.models.losses.overlap import mean_iou

__all__ = ["mean_iou"]
