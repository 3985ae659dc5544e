"""Operations on level sets, the core of the package. It needs nothing but torch."""

from mmlevelset.ops.classic import (
    chan_vese,
    drlse,
    legendre_level_set,
    region_scalable_fitting,
)
from mmlevelset.ops.contours import contours
from mmlevelset.ops.distance import signed_distance
from mmlevelset.ops.evolution import evolve_chan_vese
from mmlevelset.ops.functions import dirac, heaviside
from mmlevelset.ops.geometry import contour_length, curvature
from mmlevelset.ops.region import region_energy, region_means
from mmlevelset.ops.surfaces import Surface, surface
from mmlevelset.ops.tree import Tree, minimum_spanning_tree, tree_filter

__all__ = [
    "Surface",
    "Tree",
    "chan_vese",
    "contour_length",
    "contours",
    "curvature",
    "dirac",
    "drlse",
    "evolve_chan_vese",
    "heaviside",
    "legendre_level_set",
    "minimum_spanning_tree",
    "region_energy",
    "region_means",
    "region_scalable_fitting",
    "signed_distance",
    "surface",
    "tree_filter",
]
