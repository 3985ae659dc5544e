from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.datasets.coco import CocoDataset  # noqa: E402
from mmlevelset.datasets.loading import LoadImage  # noqa: E402
from mmlevelset.datasets.mixed import LoadMixedAnnotations  # noqa: E402
from mmlevelset.datasets.shapes import ShapesDataset, ShapesSegDataset  # noqa: E402

__all__ = [
    "CocoDataset",
    "LoadImage",
    "LoadMixedAnnotations",
    "ShapesDataset",
    "ShapesSegDataset",
]
