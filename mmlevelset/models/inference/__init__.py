"""Inference of any detector with masks: in tiles, and with test-time augmentation."""

from mmlevelset.models.inference.encoded import EncodedMasks, place_mask
from mmlevelset.models.inference.merge import join_pieces, mask_nms
from mmlevelset.models.inference.tiled import TiledDetector, tile_windows
from mmlevelset.models.inference.tta import MaskTTAModel
from mmlevelset.models.inference.views import group_views, vote_masks

__all__ = [
    "EncodedMasks",
    "MaskTTAModel",
    "TiledDetector",
    "group_views",
    "join_pieces",
    "mask_nms",
    "place_mask",
    "tile_windows",
    "vote_masks",
]
