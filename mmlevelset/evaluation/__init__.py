from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.evaluation.boundary import (  # noqa: E402
    boundary_f1,
    boundary_map,
    rle_boundary_f1,
    rle_boundary_iou,
)
from mmlevelset.evaluation.f_measure import FMeasureMetric, f_measure  # noqa: E402
from mmlevelset.evaluation.level_set_coco import LevelSetCocoMetric  # noqa: E402
from mmlevelset.evaluation.lvis_coco import LVISCocoMetric  # noqa: E402
from mmlevelset.evaluation.sem_seg import SemSegMetric  # noqa: E402
from mmlevelset.evaluation.semantic_boundary import SemanticBoundaryMetric  # noqa: E402

__all__ = [
    "FMeasureMetric",
    "LVISCocoMetric",
    "LevelSetCocoMetric",
    "SemSegMetric",
    "SemanticBoundaryMetric",
    "boundary_f1",
    "boundary_map",
    "f_measure",
    "rle_boundary_f1",
    "rle_boundary_iou",
]
