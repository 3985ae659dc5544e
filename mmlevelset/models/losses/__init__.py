"""What the heads and the losses of two methods or more share."""

from mmlevelset.models.losses.label_maps import label_map
from mmlevelset.models.losses.overlap import mean_iou
from mmlevelset.models.losses.processes import mean_count
from mmlevelset.models.losses.roi_maps import check_roi_features, map_of_class

__all__ = ["check_roi_features", "label_map", "map_of_class", "mean_count", "mean_iou"]
