import json
import random
import re

import numpy as np
import pytest
from PIL import Image

from mmlevelset.datasets import CropInstance, InstanceCropDataset

LOAD = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmdet.LoadAnnotations", with_bbox=True, with_mask=True),
]
CROP = dict(type="mmlevelset.CropInstance", factor=1.0)


def annotation(number: int, box: list[float], image: int = 1, **more) -> dict:
    x, y, w, h = box
    known = dict(id=number, image_id=image, category_id=1, bbox=box, area=w * h, iscrowd=0)
    return {**known, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]], **more}


@pytest.fixture
def build(tmp_path):
    """Two images of 60 x 50; the red channel is the column, the green channel the row."""
    rows, columns = np.mgrid[:50, :60].astype(np.uint8)
    image = np.stack([columns, rows, np.zeros_like(rows)], 2)
    for name in "ab":
        Image.fromarray(image).save(tmp_path / f"{name}.png")

    def make(*annotations: dict, factor: object = 1.0, **kwargs) -> InstanceCropDataset:
        images = [
            dict(id=number, file_name=f"{name}.png", height=50, width=60)
            for number, name in enumerate("ab", 1)
        ]
        content = dict(
            images=images, categories=[dict(id=1, name="cat")], annotations=list(annotations)
        )
        (tmp_path / "a.json").write_text(json.dumps(content))
        kwargs.setdefault("pipeline", [*LOAD, dict(CROP, factor=factor)])
        return InstanceCropDataset(
            data_root=str(tmp_path),
            ann_file="a.json",
            data_prefix=dict(img=""),
            metainfo=dict(classes=("cat",)),
            **kwargs,
        )

    return make


def columns_and_rows(item: dict) -> tuple[range, range]:
    """Return the columns and the rows of the image that an item holds."""
    img = item["img"]
    columns, rows = img[0, :, 2].tolist(), img[:, 0, 1].tolist()
    assert item["img_shape"] == item["ori_shape"] == img.shape[:2] == item["gt_seg_map"].shape
    found = range(columns[0], columns[-1] + 1), range(rows[0], rows[-1] + 1)
    assert [columns, rows] == list(map(list, found))
    return found


def test_each_instance_is_an_item(build):
    dataset = build(
        annotation(1, [10, 5, 20, 30]),
        annotation(2, [20, 10, 16, 16]),
        annotation(3, [0, 0, 60, 50], 2),
    )
    items = list(dataset)
    assert [columns_and_rows(item) for item in items] == [
        (range(10, 30), range(5, 35)),
        (range(20, 36), range(10, 26)),
        (range(60), range(50)),
    ]
    assert all((item["gt_seg_map"] == 1).all() for item in items)
    assert [item["img_path"][-5:] for item in items] == ["a.png", "a.png", "b.png"]
    assert items[0]["crop_box"] == (10, 5, 30, 35)
    for key in ("gt_bboxes", "gt_masks", "gt_bboxes_labels", "gt_ignore_flags", "instances"):
        assert key not in items[0]


def test_the_box_grows_about_its_centre_to_the_border(build):
    dataset = build(annotation(1, [20, 10, 20, 16]), annotation(2, [0, 30, 20, 20]), factor=1.5)
    # 20 x 16 at (30, 18) becomes 30 x 24; 20 x 20 at (10, 40) becomes 30 x 30, cut twice.
    first, second = dataset
    assert columns_and_rows(first) == (range(15, 45), range(6, 30))
    assert columns_and_rows(second) == (range(0, 25), range(25, 50))
    inside = np.zeros((24, 30), np.uint8)
    inside[4:20, 5:25] = 1
    assert np.array_equal(first["gt_seg_map"], inside)
    assert first["gt_seg_map"].dtype == np.uint8 and first["ignore_index"] == 255


def test_edges_are_rounded_outwards(build):
    (item,) = build(annotation(1, [10.4, 5.6, 20, 20]))
    assert columns_and_rows(item) == (range(10, 31), range(5, 26))


def test_others_in_the_crop_are_background(build):
    first, _ = build(annotation(1, [10, 10, 20, 20]), annotation(2, [32, 10, 20, 20]), factor=2.0)
    assert first["gt_seg_map"].sum() == 20 * 20


def test_random_factors_stay_in_their_range(build):
    dataset = build(annotation(1, [20, 15, 20, 20]), factor=(1.0, 1.5))
    random.seed(0)
    sides = {dataset[0]["img"].shape[0] for _ in range(40)}
    assert min(sides) >= 20 and max(sides) <= 30 and len(sides) > 3
    random.seed(0)
    first = dataset[0]["img"].shape
    random.seed(0)
    assert dataset[0]["img"].shape == first


def test_crowds_small_boxes_and_boxes_without_mask_are_left_out(build, log):
    crowd = dict(segmentation=dict(size=[50, 60], counts=[0, 3000]), iscrowd=1)
    dataset = build(
        annotation(1, [0, 0, 60, 50], **crowd),
        annotation(2, [5, 5, 30, 10]),
        annotation(3, [5, 5, 30, 30]),
        annotation(4, [5, 5, 30, 30], segmentation=[]),
        min_box_size=12,
    )
    assert len(dataset) == 1 and columns_and_rows(dataset[0])[1] == range(5, 35)
    assert log[-1].startswith("left out 1 of 2 instances of")
    assert log[-1].endswith("a box side below 12 pixels")


def test_nothing_left_is_an_error(build):
    with pytest.raises(ValueError, match=r"a.json has no instance with a mask and a box of at lea"):
        build(annotation(1, [5, 5, 10, 30]))


def test_the_same_in_testing(build):
    dataset = build(annotation(1, [10, 5, 20, 30]), annotation(2, [20, 10, 16, 16]), test_mode=True)
    assert [item["ori_shape"] for item in dataset] == [(30, 20), (16, 16)]


def test_wrong_settings_and_inputs_are_named(build):
    for factor in (0.9, (1.5, 1.2), (1, 2, 3), (1, float("inf"))):
        with pytest.raises(ValueError, match=re.escape(f"not {factor!r}")):
            CropInstance(factor)
    with pytest.raises(ValueError, match="min_box_size must be a number of pixels >= 0, not -1"):
        build(annotation(1, [10, 5, 20, 30]), min_box_size=-1)
    with pytest.raises(KeyError, match="CropInstance needs 'gt_bboxes'"):
        CropInstance()(dict(img=np.zeros((4, 4, 3))))
    two = dict(gt_bboxes=np.zeros((2, 4)), gt_masks=None, img_path="a.png")
    with pytest.raises(ValueError, match="needs one instance in a.png, but there are 2"):
        CropInstance()(two)
