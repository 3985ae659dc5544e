"""The Chan-Vese core. Needs nothing but torch."""

from mmlevelset.ops.contours import contours
from mmlevelset.ops.evolution import evolve_chan_vese
from mmlevelset.ops.functions import dirac, heaviside
from mmlevelset.ops.geometry import contour_length, curvature, signed_distance
from mmlevelset.ops.region import region_energy, region_means

__all__ = [
    "contour_length",
    "contours",
    "curvature",
    "dirac",
    "evolve_chan_vese",
    "heaviside",
    "region_energy",
    "region_means",
    "signed_distance",
]
