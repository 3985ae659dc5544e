"""Level-set methods for single images, without training."""

from mmlevelset.ops.classic.distance_regularized import drlse
from mmlevelset.ops.classic.legendre import legendre_level_set
from mmlevelset.ops.classic.piecewise_constant import chan_vese
from mmlevelset.ops.classic.region_scalable import region_scalable_fitting

__all__ = ["chan_vese", "drlse", "legendre_level_set", "region_scalable_fitting"]
