import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import DefaultScope

from mmlevelset.datasets import CocoDataset, LoadMixedAnnotations

POLYGON = [[10, 10, 20, 10, 20, 20, 10, 20]]
BOXES = [[10, 10, 10, 10], [30, 5, 20, 30], [2, 3, 8, 6], [40, 20, 16, 24]]
# Of the first image's annotations; the second has a mask, the third image has none at all.
SEGMENTATIONS = [{"segmentation": POLYGON}, {}, {"segmentation": None}, {"segmentation": []}]
# The first 48 bits of BLAKE2b of "img_id/index", as a fraction of 2^48, below 0.5.
CHOICE = [[0, 1, 4, 5, 7], [0, 1, 3, 4], [0, 4, 5, 7]]
PIPELINE = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmlevelset.LoadMixedAnnotations"),
    dict(type="mmdet.Resize", scale=(128, 96), keep_ratio=True),
    dict(type="mmdet.RandomFlip", prob=1.0),
    dict(type="mmdet.PackDetInputs"),
]


@pytest.fixture
def arguments(tmp_path):
    """The arguments to read a COCO file of three images."""
    annotations = []
    for image, segmentations in enumerate([SEGMENTATIONS, SEGMENTATIONS[:1], [{}]], 1):
        for box, segmentation in zip(BOXES, segmentations, strict=False):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=3,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                    **segmentation,
                )
            )
    content = dict(
        images=[dict(id=i, file_name=f"{i}.png", height=48, width=64) for i in (1, 2, 3)],
        categories=[dict(id=3, name="disk")],
        annotations=annotations,
    )
    (tmp_path / "mixed.json").write_text(json.dumps(content))
    for i in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), 50 * i, np.uint8))
    return dict(
        ann_file="mixed.json",
        data_root=str(tmp_path),
        data_prefix=dict(img=""),
        metainfo=dict(classes=("disk",)),
        pipeline=PIPELINE,
    )


def build(kind, arguments):
    with DefaultScope.overwrite_default_scope("mmdet"):
        if kind is CocoDataset:
            return kind(masks="optional", **arguments)
        return kind(**arguments)


@pytest.mark.parametrize("kind", [CocoDataset, MMDetCocoDataset])
def test_instances_without_a_mask_survive_with_their_box(arguments, log, kind):
    dataset = build(kind, arguments)
    assert [len(dataset.get_data_info(i)["instances"]) for i in range(3)] == [4, 1, 1]
    first, second, third = (dataset[i]["data_samples"].gt_instances for i in range(3))
    # Twice as large, and mirrored.
    x, y, width, height = 2 * torch.tensor(BOXES, dtype=torch.float32).T
    expected = torch.stack([128 - x - width, y, 128 - x, y + height], 1)
    assert torch.equal(first.bboxes.tensor, expected)
    assert first.masks.masks.shape == (4, 96, 128)
    assert [int(mask.sum()) for mask in first.masks.masks] == [400, 0, 0, 0]
    assert first.masks.masks[0, 20:40, 88:108].all()
    assert [int(instances.masks.masks.sum()) for instances in (second, third)] == [400, 0]
    assert not any("skipped" in line for line in log)


def test_by_default_our_data_set_leaves_them_out(arguments, log):
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = CocoDataset(**arguments)
    assert [len(dataset.get_data_info(i)["instances"]) for i in range(3)] == [1, 1, 0]
    assert "skipped 4 of 6" in log[0] and "no segmentation" in log[0]


def mask_of(rows: slice, columns: slice) -> list:
    x1, x2, y1, y2 = columns.start, columns.stop, rows.start, rows.stop
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def loaded_image(img_id, masks: list, **changes) -> dict:
    instances = [dict(bbox=[0, 0, 8, 8], bbox_label=0, ignore_flag=0, mask=mask) for mask in masks]
    info = dict(img_id=img_id, ori_shape=(9, 8), height=9, width=8, instances=instances)
    return {**info, **changes}


def kept(load, img_id, count: int) -> list[int]:
    masks = load(loaded_image(img_id, [mask_of(slice(2, 5), slice(1, 4))] * count))["gt_masks"]
    return [index for index, mask in enumerate(masks.masks) if mask.any()]


def test_with_all_masks_it_is_mmdets():
    masks = [
        mask_of(slice(1, 5), slice(2, 6)),
        {"size": [9, 8], "counts": [10, 20, 42]},
        [[1, 2, 3, 4]],  # invalid: mmdet ignores the instance
    ]
    ours = LoadMixedAnnotations()(loaded_image(7, masks))
    theirs = LoadAnnotations(with_bbox=True, with_mask=True)(loaded_image(7, masks))
    assert ours.keys() == theirs.keys()
    assert np.array_equal(ours["gt_masks"].masks, theirs["gt_masks"].masks)
    assert [int(mask.sum()) for mask in ours["gt_masks"].masks[:2]] == [16, 20]
    assert ours["gt_ignore_flags"].tolist() == theirs["gt_ignore_flags"].tolist()
    assert ours["gt_ignore_flags"].tolist() == [False, False, True]
    assert torch.equal(ours["gt_bboxes"].tensor, theirs["gt_bboxes"].tensor)


def test_crowds_without_a_mask_stay_ignored_and_annotations_as_they_are():
    info = loaded_image(7, [None, None])
    info["instances"][0]["ignore_flag"] = 1
    results = LoadMixedAnnotations()(info)
    assert results["gt_ignore_flags"].tolist() == [True, False]
    assert [instance["mask"] for instance in results["instances"]] == [None, None]


def test_an_image_without_instances():
    results = LoadMixedAnnotations(mask_fraction=0.5)(loaded_image(7, []))
    assert results["gt_masks"].masks.shape == (0, 9, 8)
    assert len(results["gt_bboxes"]) == len(results["gt_ignore_flags"]) == 0


def test_a_fraction_keeps_what_a_smaller_one_keeps():
    images = range(150)
    total = 4 * len(images)
    previous: set = set()
    for fraction in (0.0, 0.1, 0.3, 0.75, 1.0):
        load = LoadMixedAnnotations(mask_fraction=fraction)
        found = {(image, index) for image in images for index in kept(load, image, 4)}
        spread = (fraction * (1 - fraction) * total) ** 0.5
        assert abs(len(found) - fraction * total) <= 3 * spread
        assert previous <= found
        previous = found


def test_the_choice_is_the_same_everywhere():
    """The choice must not change with process, order or version: runs are compared by it."""
    load = LoadMixedAnnotations(mask_fraction=0.5)
    choice = [kept(load, image, 8) for image in (0, 1, "000123")]
    assert choice == CHOICE
    assert [kept(load, image, 8) for image in ("000123", 1, 0)] == choice[::-1]
    # An image's instances do not depend on how many there are.
    assert kept(load, 0, 5) == [index for index in choice[0] if index < 5]


def test_annotations_of_both_kinds_with_a_fraction():
    load = LoadMixedAnnotations(mask_fraction=0.5)
    masks = [mask_of(slice(2, 5), slice(1, 4))] * 8
    chosen = kept(load, 0, 8)
    masks[chosen[0]] = None
    found = load(loaded_image(0, masks))["gt_masks"].masks
    assert [index for index, mask in enumerate(found) if mask.any()] == chosen[1:]


@pytest.mark.parametrize("fraction", [-0.1, 1.5, "half", None, float("nan")])
def test_bad_fractions(fraction):
    with pytest.raises(ValueError, match=r"mask_fraction must be a number in \[0, 1\]"):
        LoadMixedAnnotations(mask_fraction=fraction)


@pytest.mark.parametrize("name", ["with_bbox", "with_mask", "poly2mask"])
def test_what_it_needs_cannot_be_turned_off(name):
    assert LoadMixedAnnotations(**{name: True}).poly2mask
    with pytest.raises(ValueError, match=f"{name} must be True, not False"):
        LoadMixedAnnotations(**{name: False})


def test_is_registered_and_tells_its_fraction():
    with DefaultScope.overwrite_default_scope("mmdet"):
        config = dict(type="mmlevelset.LoadMixedAnnotations", mask_fraction=0.25)
        load = ROOT_TRANSFORMS.build(config)
    assert type(load) is LoadMixedAnnotations
    assert repr(load).endswith(", mask_fraction=0.25)")
