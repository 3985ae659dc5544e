from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from mmdet.datasets.transforms import PackDetInputs, RandomFlip, Resize

from mmlevelset.datasets import LoadBoxMasks
from mmlevelset.models.box_levelset.targets import Boxes

SIZE = (45, 71)


def loaded(boxes, size=SIZE, ignored=()):
    instances = [
        dict(bbox=list(box), bbox_label=0, ignore_flag=int(number in ignored), mask="unread")
        for number, box in enumerate(boxes)
    ]
    results = dict(img=np.zeros((*size, 3), np.uint8), img_shape=size, instances=instances)
    results.update(img_id=0, img_path="", ori_shape=size)
    return LoadBoxMasks().transform(results)


def packed(results):
    """The ground truth as a head gets it."""
    truth = PackDetInputs(meta_keys=()).transform(results)["data_samples"].gt_instances
    truth.bboxes = truth.bboxes.tensor
    return truth


def rounded(box):
    """Edges of the mask in the original pixels: halves to even, the last pixel included."""
    left, top, right, bottom = (round(edge) for edge in box)
    return left, top, right + 1, bottom + 1


def some_boxes(count=40):
    generator = np.random.default_rng(0)
    extent = generator.uniform(2, (SIZE[1] - 2, SIZE[0] - 2), (count, 2))
    low = generator.uniform(0, (SIZE[1], SIZE[0]) - extent - 1)
    boxes = np.concatenate((low, low + extent), 1).astype(np.float32)
    boxes[::3] = np.round(2 * boxes[::3]) / 2
    return [tuple(map(float, box)) for box in boxes]


def test_masks_are_the_rounded_boxes():
    boxes = [(1.5, 2.5, 10.4, 20.6), (0.2, 0, 8, 8), (60, 40, 71, 45)]
    results = loaded(boxes)
    assert results["gt_masks"].masks.shape == (3, *SIZE)
    for box, mask in zip(boxes, results["gt_masks"].masks, strict=True):
        left, top, right, bottom = rounded(box)
        want = np.zeros(SIZE, np.uint8)
        want[top : min(bottom, SIZE[0]), left : min(right, SIZE[1])] = 1
        np.testing.assert_array_equal(mask, want)
    np.testing.assert_array_equal(results["gt_bboxes"].numpy(), np.float32(boxes))


@pytest.mark.parametrize("scale", [(97, 83), (150, 90), (53, 31), SIZE[::-1]])
@pytest.mark.parametrize("flip", [False, True])
def test_edges_are_rounded_before_the_image_is_resized_and_flipped(scale, flip):
    """Pixel j of the resized mask shows the original's pixel floor(j * old / new)."""
    boxes = some_boxes()
    results = Resize(scale=scale, keep_ratio=True).transform(loaded(boxes))
    height, width = results["img_shape"]
    if flip:
        results = RandomFlip(prob=1.0).transform(results)
    truth = packed(results)
    late = 0
    edges = Boxes.of([truth], True).edges
    for box, found, corners in zip(boxes, edges, truth.bboxes, strict=True):
        sides = (SIZE[1], width), (SIZE[0], height)
        want = [
            ceil(min(edge, old) * Fraction(new, old))
            for edge, (old, new) in zip(rounded(box), sides * 2, strict=True)
        ]
        if flip:
            want[0], want[2] = width - want[2], width - want[0]
        assert found.tolist() == want
        late += want != list(rounded(corners.tolist()))
    assert late > 10 or scale == SIZE[::-1]


def test_ignored_boxes_and_no_boxes():
    truth = packed(loaded(some_boxes(3), ignored=[1]))
    assert len(truth.bboxes) == len(truth.masks) == 2
    truth = packed(Resize(scale=(97, 83), keep_ratio=True).transform(loaded([])))
    assert Boxes.of([truth], True).edges.shape == (0, 4)


@pytest.mark.parametrize(("name", "value"), [("with_mask", True), ("with_bbox", False)])
def test_other_annotations_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be {not value}, not {value}"):
        LoadBoxMasks(**{name: value})
