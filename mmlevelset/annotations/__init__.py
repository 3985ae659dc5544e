"""The one view of an annotation file in COCO's layout: read once, checked, judged.

Data sets, metrics, converters and ``tools/verify_dataset.py`` share it, so they agree on each
annotation: used, skipped for a reason, or a reason to refuse the file. It needs NumPy and
pycocotools alone.
"""

from mmlevelset.annotations.reading import (
    AnnotationError,
    CocoFile,
    MissingFileError,
    Refusal,
    listed,
    parse_coco,
    read_coco,
    read_json,
)
from mmlevelset.annotations.view import EXPECTED, MASKS, Labels, View, judge, label_categories

__all__ = [
    "EXPECTED",
    "MASKS",
    "AnnotationError",
    "CocoFile",
    "Labels",
    "MissingFileError",
    "Refusal",
    "View",
    "judge",
    "label_categories",
    "listed",
    "parse_coco",
    "read_coco",
    "read_json",
]
