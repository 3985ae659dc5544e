"""Annotation files for tests: sound annotations, and one of each kind of fault."""

import copy

import numpy as np
import pycocotools.mask as mask_utils
from hypothesis import strategies as st

HEIGHT, WIDTH = 48, 64
NAMES = ("disk", "ring", "star")


def rectangle(x: int, y: int, w: int, h: int) -> dict:
    """A sound annotation, still without ids."""
    corners = [x, y, x + w, y, x + w, y + h, x, y + h]
    return dict(bbox=[x, y, w, h], area=w * h, iscrowd=0, segmentation=[corners])


def as_rle(annotation: dict, text: bool = True) -> dict:
    """The same annotation with a run-length encoded mask."""
    rle = mask_utils.merge(mask_utils.frPyObjects(annotation["segmentation"], HEIGHT, WIDTH))
    if text:
        counts = rle["counts"].decode()
    else:
        flat = mask_utils.decode(rle).ravel("F").astype(int)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
        counts = np.diff(np.concatenate([[0], edges])).tolist()
    return annotation | dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=counts))


FAULTS = {
    "strings": lambda a: a.update(bbox=[str(v) for v in a["bbox"]]),
    "null in bbox": lambda a: a.update(bbox=[*a["bbox"][:3], None]),
    "true in bbox": lambda a: a.update(bbox=[True, *a["bbox"][1:]]),
    "bbox is null": lambda a: a.update(bbox=None),
    "nested bbox": lambda a: a.update(bbox=[a["bbox"]]),
    "NaN": lambda a: a.update(bbox=[float("nan"), *a["bbox"][1:]]),
    "huge": lambda a: a.update(bbox=[10**400, *a["bbox"][1:]]),
    "infinite area": lambda a: a.update(area=float("inf")),
    "no area": lambda a: a.update(area=0),
    "area is a text": lambda a: a.update(area="9"),
    "flat": lambda a: a.update(bbox=[*a["bbox"][:3], 0]),
    "thin": lambda a: a.update(bbox=[*a["bbox"][:3], 0.5]),
    "outside": lambda a: a.update(bbox=[WIDTH + 5, 3, 9, 9]),
    "far box": lambda a: a.update(bbox=[3, 3, 3.5e8, 9]),
    "far polygon": lambda a: a.update(segmentation=[[1, 1, 3.5e8, 1, 9, 9]]),
    "polygon off the image": lambda a: a.update(segmentation=[[99, 99, 120, 99, 120, 120]]),
    "a line": lambda a: a.update(segmentation=[[2, 2, 9, 9, 16, 16]]),
    "no segmentation": lambda a: a.pop("segmentation"),
    "null segmentation": lambda a: a.update(segmentation=None),
    "empty segmentation": lambda a: a.update(segmentation=[]),
    "four numbers": lambda a: a.update(segmentation=[[1, 2, 3, 4]]),
    "seven numbers": lambda a: a.update(segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
    "flat list": lambda a: a.update(segmentation=[1, 2, 30, 2, 30, 30]),
    "texts": lambda a: a.update(segmentation=[["1", "2", "3", "4", "5", "6"]]),
    "truths": lambda a: a.update(segmentation=[[True, 2, 30, 2, 30, 30]]),
    "NaN point": lambda a: a.update(segmentation=[[1, 2, 30, 2, 30, float("nan")]]),
    "a text": lambda a: a.update(segmentation="polygon"),
    "other size": lambda a: a.update(segmentation=dict(size=[WIDTH, HEIGHT], counts=[0, 3072])),
    "short RLE": lambda a: a.update(segmentation=dict(size=[HEIGHT, WIDTH], counts=[5, 9])),
    "no counts": lambda a: a.update(segmentation=dict(size=[HEIGHT, WIDTH])),
    "blank RLE": lambda a: a.update(segmentation=dict(size=[HEIGHT, WIDTH], counts=[3072])),
    "bad text": lambda a: a.update(segmentation=dict(size=[HEIGHT, WIDTH], counts="no mask")),
    "ignore": lambda a: a.update(ignore=1),
    "ignore is true": lambda a: a.update(ignore=True),
    "ignore and faulty": lambda a: a.update(ignore=1, segmentation=[[1, 2, 3, 4]]),
    "odd iscrowd": lambda a: a.update(iscrowd="0"),
    "odd ignore": lambda a: a.update(ignore=[1]),
    "other class": lambda a: a.update(category_id=30),
    "unknown category": lambda a: a.update(category_id=99),
}
"""Changes of an annotation that make a data set leave it out."""

HARMLESS = {
    "nothing": lambda a: None,
    "no iscrowd": lambda a: a.pop("iscrowd"),
    "iscrowd is null": lambda a: a.update(iscrowd=None),
    "iscrowd is false": lambda a: a.update(iscrowd=False),
    "ignore is 0": lambda a: a.update(ignore=0),
    "ignore is null": lambda a: a.update(ignore=None),
    "crowd": lambda a: a.update(iscrowd=1),
    "crowd is true": lambda a: a.update(iscrowd=True),
    "floats": lambda a: a.update(bbox=[float(v) for v in a["bbox"]], area=float(a["area"])),
    "RLE": lambda a: a.update(as_rle(a)),
    "runs": lambda a: a.update(as_rle(a, text=False)),
    "a part too many": lambda a: a["segmentation"].append([1, 2]),
    "odd keys": lambda a: a.update(score="high", keypoints=None),
    "whole float ids": lambda a: a.update(category_id=float(a["category_id"])),
}
"""Changes that make no difference for whether an annotation is used."""


@st.composite
def annotation_files(draw: st.DrawFn) -> dict:
    """A sound file with 1 to 4 images, and annotations with and without faults.

    Categories 10 and 20 are the classes of the data, category 30 is another.
    """
    count = draw(st.integers(1, 4))
    images = [
        dict(id=n, file_name=f"{n}.png", height=HEIGHT, width=WIDTH) for n in range(1, count + 1)
    ]
    annotations = []
    for number in range(draw(st.integers(0, 8))):
        x, y = draw(st.integers(0, WIDTH - 12)), draw(st.integers(0, HEIGHT - 12))
        made = rectangle(x, y, draw(st.integers(4, 12)), draw(st.integers(4, 12)))
        made |= dict(
            id=number + 1,
            image_id=draw(st.integers(1, count)),
            category_id=draw(st.sampled_from((10, 20))),
        )
        kind = draw(st.sampled_from((*HARMLESS, *HARMLESS, *FAULTS)))
        made = copy.deepcopy(made)
        (HARMLESS | FAULTS)[kind](made)
        annotations.append(made)
    # So that the file has masks, whatever the others lack.
    annotations.append(rectangle(1, 1, 9, 9) | dict(id=900, image_id=1, category_id=10))
    categories = [dict(id=n, name=name) for n, name in zip((10, 20, 30), NAMES, strict=True)]
    return dict(images=images, categories=categories, annotations=annotations)
