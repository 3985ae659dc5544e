from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.datasets.coco import CocoDataset  # noqa: E402
from mmlevelset.datasets.loading import LoadImage  # noqa: E402
from mmlevelset.datasets.mixed import LoadMixedAnnotations  # noqa: E402
from mmlevelset.datasets.semantic import (  # noqa: E402
    CityscapesSegDataset,
    CocoSegDataset,
    PascalContextDataset,
    SegDataset,
    VOCSegDataset,
)
from mmlevelset.datasets.semantic_annotations import (  # noqa: E402
    LoadSemanticAnnotations,
    SemanticFromInstances,
)
from mmlevelset.datasets.shapes import ShapesDataset, ShapesSegDataset  # noqa: E402

__all__ = [
    "CityscapesSegDataset",
    "CocoDataset",
    "CocoSegDataset",
    "LoadImage",
    "LoadMixedAnnotations",
    "LoadSemanticAnnotations",
    "PascalContextDataset",
    "SegDataset",
    "SemanticFromInstances",
    "ShapesDataset",
    "ShapesSegDataset",
    "VOCSegDataset",
]
