"""Data sets and transforms of mmdet's pipelines. Importing the package registers them."""

from mmlevelset.requirements import require_openmmlab

require_openmmlab()

from mmlevelset.datasets.box_masks import LoadBoxMasks  # noqa: E402
from mmlevelset.datasets.coco import CocoDataset  # noqa: E402
from mmlevelset.datasets.degradation import Degrade  # noqa: E402
from mmlevelset.datasets.image_mask import (  # noqa: E402
    BinaryLabels,
    ImageMaskDataset,
    LoadMaskAnnotations,
)
from mmlevelset.datasets.instance_crops import (  # noqa: E402
    CropInstance,
    InstanceCropDataset,
)
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
    "BinaryLabels",
    "CityscapesSegDataset",
    "CocoDataset",
    "CocoSegDataset",
    "CropInstance",
    "Degrade",
    "ImageMaskDataset",
    "InstanceCropDataset",
    "LoadBoxMasks",
    "LoadImage",
    "LoadMaskAnnotations",
    "LoadMixedAnnotations",
    "LoadSemanticAnnotations",
    "PascalContextDataset",
    "SegDataset",
    "SemanticFromInstances",
    "ShapesDataset",
    "ShapesSegDataset",
    "VOCSegDataset",
]
