"""The annotations that a metric counts, in the form that pycocotools evaluates."""

from collections.abc import Sequence
from typing import Any

from mmdet.datasets.api_wrappers import COCO
from mmengine.fileio import get_local_path

from mmlevelset.annotations import CocoFile, judge, label_categories, parse_coco, read_coco


class GroundTruth(COCO):
    """The used annotations of a file; ids of images, categories and annotations count from 1.

    Scores do not depend on the ids of the file: pycocotools sorts by them, takes 0 for "no match",
    and keeps them in float64. An annotation that a data set leaves out is no object here.
    Annotations marked ``ignore`` are crowds: detections in them are neither right nor wrong.

    Args:
        file: The file.
        classes: The data set's classes in the order of the labels; category ``label + 1`` has the
            name ``classes[label]``. None: the file's categories.
        masks: As for :class:`~mmlevelset.datasets.CocoDataset`.
        ordered: Whether the categories must stand in the order of the classes.

    Raises:
        AnnotationError: The categories do not fit the classes.
    """

    def __init__(
        self,
        file: CocoFile,
        classes: Sequence[str] | None = None,
        masks: str = "required",
        ordered: bool = True,
    ) -> None:
        super().__init__()
        view = judge(file, label_categories(file, classes, ordered), masks)
        self.image_numbers: dict[Any, int] = {
            image["id"]: number for number, image in enumerate(file.images, 1)
        }
        """Image id in the file -> image id here."""
        self.category_numbers = {key: label + 1 for key, label in view.labels.label_of.items()}
        """Category id in the file -> category id here."""
        named = {category["name"]: category for category in file.categories}
        crowds = [[a | {"iscrowd": 1} for a in ignored] for ignored in view.ignored]
        annotations = [
            annotation
            | {
                "image_id": number,
                "category_id": self.category_numbers[annotation["category_id"]],
            }
            for number, pair in enumerate(zip(view.used, crowds, strict=True), 1)
            for of_image in pair
            for annotation in of_image
        ]
        self.dataset = {
            "images": [image | {"id": number} for number, image in enumerate(file.images, 1)],
            "categories": [
                named.get(name, {}) | {"id": number, "name": name}
                for number, name in enumerate(view.labels.classes, 1)
            ],
            "annotations": [a | {"id": number} for number, a in enumerate(annotations, 1)],
        }
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def loadRes(self, resFile: list) -> COCO:
        """Return detections as pycocotools evaluates them; an empty list is allowed."""
        if resFile:
            return super().loadRes(resFile)
        none = COCO()
        none.dataset = self.dataset | {"annotations": []}
        none.createIndex()
        return none


def read_file(path: str, backend_args: dict | None) -> CocoFile:
    """Return an annotation file from a place that mmengine reads, checked.

    Raises:
        AnnotationError: The file must be refused.
    """
    with get_local_path(path, backend_args=backend_args) as local:
        # LVIS v1 names no files.
        return read_coco(local, ("file_name",), name=path).require_sound()


def from_samples(content: dict) -> CocoFile:
    """Return the ground truth that mmdet makes of data samples."""
    return parse_coco(content, "of the data samples", ("annotations",)).require_sound()
