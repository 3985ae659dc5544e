import copy
import json

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import DefaultScope

from mmlevelset.datasets import CocoDataset

CLASSES = ("disk", "ring")
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]
WHOLE = {"size": [48, 64], "counts": [0, 48 * 64]}


def _annotation(number, image=1, **changes):
    annotation = {
        "id": number,
        "image_id": image,
        "category_id": 3,
        "bbox": [10, 10, 10, 10],
        "area": 100,
        "iscrowd": 0,
        "segmentation": [SQUARE],
    }
    return {**annotation, **changes}


def _content(*annotations, images=3):
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "height": 48, "width": 64}
            for i in range(1, images + 1)
        ],
        "categories": [{"id": 3, "name": "disk"}, {"id": 5, "name": "ring"}],
        "annotations": list(annotations),
    }


@pytest.fixture
def build(tmp_path):
    def build(content, **arguments):
        path = tmp_path / "annotations.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        arguments = {"metainfo": {"classes": CLASSES}, "pipeline": [], **arguments}
        return CocoDataset(
            ann_file="annotations.json",
            data_root=str(tmp_path),
            data_prefix={"img": ""},
            **arguments,
        )

    return build


def test_sound_file_gives_mmdets_answer_without_a_word(build, tmp_path, log):
    content = _content(_annotation(1), _annotation(2, 2, category_id=5), _annotation(3, 3))
    ours = build(content)
    with DefaultScope.overwrite_default_scope("mmdet"):
        arguments = {
            "ann_file": str(tmp_path / "annotations.json"),
            "data_prefix": {"img": str(tmp_path)},
            "metainfo": {"classes": CLASSES},
        }
        theirs = ROOT_DATASETS.build({"type": "CocoDataset", **arguments})
        named = ROOT_DATASETS.build({"type": "mmlevelset.CocoDataset", **arguments})
    assert type(theirs) is not type(named) and type(named) is CocoDataset
    assert [ours.get_data_info(i) for i in range(3)] == [theirs.get_data_info(i) for i in range(3)]
    assert log == []


DECODED_AWAY = mask_utils.encode(np.zeros((48, 64), np.uint8, order="F"))["counts"].decode()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ignore": True}, "marked 'ignore'"),
        ({"category_id": 99}, "category not in the file"),
        ({"bbox": [10, 10, 0, 10]}, "zero area"),
        ({"bbox": [10, 10, 10, -2]}, "zero area"),
        ({"area": 0}, "zero area"),
        ({"bbox": [70, 10, 5, 5]}, "outside the image"),
        ({"bbox": [10, -9, 5, 5]}, "outside the image"),
        ({"bbox": [10, 10, 0.5, 5]}, "box narrower than a pixel"),
        ({"bbox": []}, "bbox is not four numbers, or area not a number"),
        ({"bbox": [1, 2, 3, "x"]}, "bbox is not four numbers, or area not a number"),
        ({"area": None}, "bbox is not four numbers, or area not a number"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox or area is not finite"),
        ({"segmentation": []}, "no segmentation"),
        ({"segmentation": None}, "no segmentation"),
        ({"segmentation": [[]]}, "invalid segmentation"),
        ({"segmentation": [[1, 2, 3, 4]]}, "invalid segmentation"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "invalid segmentation"),
        ({"segmentation": SQUARE}, "invalid segmentation"),
        ({"segmentation": [["a"] * 6]}, "invalid segmentation"),
        ({"segmentation": [[1, 2, 3, 4, 5, float("inf")]]}, "invalid segmentation"),
        ({"segmentation": "polygon"}, "invalid segmentation"),
        (
            {"segmentation": {**WHOLE, "size": [64, 48]}},
            "the RLE mask's size is not the image's",
        ),
        ({"segmentation": {"counts": [1, 2]}}, "the RLE mask's size is not the image's"),
        ({"segmentation": {**WHOLE, "counts": [1, 2]}}, "invalid RLE mask"),
        ({"segmentation": {**WHOLE, "counts": 5}}, "invalid RLE mask"),
        ({"segmentation": {**WHOLE, "counts": "0"}}, "invalid RLE mask"),
        ({"segmentation": {**WHOLE, "counts": "no mask"}}, "invalid RLE mask"),
        ({"segmentation": {**WHOLE, "counts": "`"}}, "invalid RLE mask"),
        ({"segmentation": {**WHOLE, "counts": [3073, -1]}}, "invalid RLE mask"),
        ({"segmentation": {**WHOLE, "counts": [48 * 64]}}, "zero area"),
        ({"segmentation": {**WHOLE, "counts": DECODED_AWAY}}, "zero area"),
    ],
)
def test_bad_annotations_are_skipped_with_a_count(build, log, changes, reason):
    content = _content(
        _annotation(5, **changes), _annotation(6), _annotation(7, 2), _annotation(9, 2, **changes)
    )
    dataset = build(content)
    counts = [len(dataset.get_data_info(i)["instances"]) for i in range(3)]
    assert counts == [1, 1, 0]
    path = dataset.ann_file
    assert log == [
        f"skipped 2 of 4 annotations in {path}: {reason} (annotation ids 5, 9)",
        f"kept 1 of 3 images of {path}: without objects",
    ]


def test_one_line_for_each_reason_with_ten_ids_at_most(build, log):
    bad = [_annotation(i, area=0) for i in range(1, 14)]
    bad += [_annotation(20, bbox=[99, 0, 5, 5]), _annotation(21, segmentation=[[1]])]
    build(_content(*bad, *[_annotation(30 + i, i) for i in (1, 2, 3)]))
    assert len(log) == 3
    assert "skipped 13 of 18" in log[0]
    assert log[0].endswith("zero area (annotation ids 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... 3 more)")
    assert "skipped 1 of 18" in log[1] and "outside the image (annotation ids 20)" in log[1]
    assert "skipped 1 of 18" in log[2] and "invalid segmentation" in log[2]


def test_annotations_of_other_classes_are_counted(build, log):
    content = _content(_annotation(1), _annotation(2, category_id=5))
    dataset = build(content, metainfo={"classes": ("ring",)})
    assert [i["bbox_label"] for i in dataset.get_data_info(0)["instances"]] == [0]
    assert "category not among the classes (annotation ids 1)" in log[0]


def test_sound_polygons_of_an_annotation_are_kept(build, log):
    mixed = [[1, 2], SQUARE, [1, 2, 3, 4, 5, 6, 7]]
    dataset = build(_content(_annotation(4, segmentation=mixed)), test_mode=True)
    assert dataset.get_data_info(0)["instances"][0]["mask"] == [SQUARE]
    assert len(log) == 1 and "invalid polygons of 1 of 1 annotations" in log[0]
    assert log[0].endswith("(annotation ids 4)")


def test_file_with_boxes_alone_is_used(build, log):
    boxes = [_annotation(i, i, segmentation=[]) for i in (1, 2, 3)]
    del boxes[0]["segmentation"]
    dataset = build(_content(*boxes))
    assert all("mask" not in dataset.get_data_info(i)["instances"][0] for i in range(3))
    assert log == []


def test_valid_rle_masks_are_used(build, log):
    mask = np.zeros((48, 64), np.uint8, order="F")
    mask[10:20, 10:20] = 1
    compressed = mask_utils.encode(mask)
    text = {"size": [48, 64], "counts": compressed["counts"].decode()}
    crowd = _annotation(2, 2, segmentation=WHOLE, iscrowd=1, bbox=[0, 0, 64, 48], area=3072)
    dataset = build(_content(_annotation(1, segmentation=text), crowd, _annotation(3, 3)))
    assert log == []
    assert [dataset.get_data_info(i)["instances"][0]["ignore_flag"] for i in range(3)] == [0, 1, 0]


@pytest.mark.parametrize("classes", [("ring", "disk"), ("cross", "ring")])
def test_categories_in_another_order_than_the_classes_are_an_error(build, classes):
    with pytest.raises(ValueError, match=rf"but classes\[0\] is '{classes[0]}'.*metainfo"):
        build(_content(_annotation(1)), metainfo={"classes": classes})
    assert len(build(_content(_annotation(1, category_id=5)), metainfo={"classes": ("ring",)})) == 3


@pytest.mark.parametrize("drop", [True, False])
def test_images_without_objects_follow_filter_cfg(build, log, drop):
    # Image 1 has an object, image 2 only a skipped object, image 3 none.
    content = _content(_annotation(1), _annotation(2, 2, area=0))
    dataset = build(content, filter_cfg={"filter_empty_gt": drop})
    assert len(dataset) == (1 if drop else 3)
    verb = "left out" if drop else "kept"
    assert log[-1] == f"{verb} 2 of 3 images of {dataset.ann_file}: without objects"
    in_test = build(content, filter_cfg={"filter_empty_gt": drop}, test_mode=True)
    assert len(in_test) == 3


def test_small_images_are_left_out_with_a_count(build, log):
    content = _content(*[_annotation(i, i) for i in (1, 2, 3)])
    content["images"][0]["height"] = 20
    assert len(build(content, filter_cfg={"min_size": 32})) == 2
    assert log[-1].startswith("left out 1 of 3 images")
    assert log[-1].endswith("smaller than 32 pixels")


def test_nothing_left_to_train_on_is_an_error(build):
    with pytest.raises(ValueError, match=r"annotations\.json is left.*3 images 3 are without"):
        build(_content(), filter_cfg={"filter_empty_gt": True})


def test_missing_file_is_named(tmp_path):
    path = str(tmp_path / "nothing.json")
    with pytest.raises(FileNotFoundError, match=r"ann_file .*nothing\.json does not exist"):
        CocoDataset(ann_file=path, data_prefix={"img": ""}, pipeline=[])


def test_missing_image_folder_is_told(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(_content(_annotation(1))))
    with pytest.raises(ValueError, match=r"data_prefix must .*img"):
        CocoDataset(ann_file=str(path), pipeline=[])


def _spoilt(change):
    content = _content(_annotation(1), _annotation(2, 2))
    change(content)
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1, 2]", "must hold a JSON object"),
        ({"data_list": []}, "'images' must be a list, but it is missing"),
        (_spoilt(lambda c: c.pop("categories")), "'categories' .* missing"),
        (_spoilt(lambda c: c.pop("annotations")), "'annotations' .* missing"),
        (_spoilt(lambda c: c.update(images={})), "'images' must be a list, but it is a dict"),
        (_spoilt(lambda c: c["images"].append("1.png")), r"images\[3\] must be a dict"),
        (_spoilt(lambda c: c["images"][1].pop("height")), r"images\[1\] \(id 2\) .* 'height'"),
        (_spoilt(lambda c: c["images"][1].update(width=0)), "'width' of image 2 .* not 0"),
        (_spoilt(lambda c: c["images"][1].update(id=1)), "'images' holds an id more than once: 1"),
        (_spoilt(lambda c: c["annotations"][1].pop("bbox")), r"annotations\[1\] .* 'bbox'"),
        (_spoilt(lambda c: c["annotations"][1].update(id=1)), "'annotations' holds an id more"),
        (
            _spoilt(lambda c: c["annotations"][1].update(image_id=77)),
            r"'image_id' of 1 annotations names no image of the file \(annotation ids 2\)",
        ),
        (
            _spoilt(lambda c: [x.update(name="cat") for x in c["categories"]]),
            "none of the classes disk, ring is among its categories cat, cat; .*metainfo",
        ),
    ],
)
def test_one_error_names_file_and_key(build, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(content)
    assert "annotations.json" in str(caught.value)


def test_test_set_without_annotations_loads(build):
    content = _spoilt(lambda c: c.pop("annotations"))
    assert len(build(content, test_mode=True)) == 3


PIPELINE = [
    {"type": "mmlevelset.LoadImage", "on_error": "skip"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True},
    {"type": "mmdet.PackDetInputs"},
]


def _write_images(folder, broken=()):
    for i in (1, 2, 3):
        image = np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8)
        data = cv2.imencode(".png", image)[1].tobytes()
        (folder / f"{i}.png").write_bytes(data[: len(data) // 2] if i in broken else data)


def test_masks_of_all_that_is_kept_load(build, tmp_path):
    _write_images(tmp_path)
    bad = [[[1, 2, 3]], [SQUARE, [1, 2, 3]], [], {**WHOLE, "counts": "0"}, WHOLE]
    annotations = [_annotation(i, segmentation=s) for i, s in enumerate(bad, 1)]
    dataset = build(_content(*annotations), pipeline=PIPELINE)
    sample = dataset[0]["data_samples"]
    assert [int(m.sum()) for m in sample.gt_instances.masks.masks] == [100, 48 * 64]
    assert len(sample.ignored_instances) == 0


def test_training_takes_another_image_for_a_truncated_one(build, tmp_path, log):
    _write_images(tmp_path, broken=(1, 3))
    content = _content(*[_annotation(i, i) for i in (1, 2, 3)])
    dataset = build(content, pipeline=PIPELINE)
    for i in range(3):
        assert dataset[i]["data_samples"].img_id == 2
    assert 1 <= len(log) <= 2
    assert "skipped an image (1 so far)" in log[0] and "truncated" in log[0]
    in_test = build(content, pipeline=PIPELINE, test_mode=True)
    assert in_test[1]["data_samples"].img_id == 2
    with pytest.raises(ValueError, match=r"1\.png"):
        in_test[0]
    strict = copy.deepcopy(PIPELINE)
    strict[0]["on_error"] = "raise"
    with pytest.raises(ValueError, match=r"3\.png is truncated"):
        build(content, pipeline=strict)[2]


def test_giving_up_when_every_image_is_bad(build, tmp_path):
    _write_images(tmp_path, broken=(1, 2, 3))
    content = _content(*[_annotation(i, i) for i in (1, 2, 3)])
    with pytest.raises(Exception, match="Cannot find valid image after 5"):
        build(content, pipeline=PIPELINE, max_refetch=5)[0]


@pytest.mark.parametrize("mask", [None, [], [[1, 2]], "poison", {"size": [1, 1], "counts": "?"}])
def test_unread_masks_and_areas_change_nothing(build, log, mask):
    sound = build(_content(_annotation(1), _annotation(2)), masks="unread")
    poisoned = _content(_annotation(1, segmentation=mask, area=0), _annotation(2))
    dataset = build(poisoned, masks="unread")
    assert dataset.get_data_info(0)["instances"] == sound.get_data_info(0)["instances"]
    assert not any("skipped" in line for line in log)


def test_unknown_use_of_masks_is_an_error(build):
    with pytest.raises(ValueError, match="masks must be 'required', 'optional' or 'unread'"):
        build(_content(_annotation(1)), masks="some")


@pytest.mark.parametrize(
    "masks, loader, message",
    [
        ("optional", "mmdet.LoadAnnotations", "masks='optional' needs mmlevelset.LoadMixed"),
        ("unread", "mmdet.LoadAnnotations", "masks='unread' needs with_mask=False"),
        ("optional", "mmlevelset.LoadMixedAnnotations", None),
        ("unread", "mmlevelset.LoadMixedAnnotations", None),
        ("required", "mmdet.LoadAnnotations", None),
    ],
)
def test_a_loader_of_masks_that_need_not_be_there_is_named(build, masks, loader, message):
    pipeline = [dict(type=loader, with_bbox=True, with_mask=True)]
    content = _content(_annotation(1))
    if message is None:
        assert len(build(content, masks=masks, pipeline=pipeline)) == 3
        return
    with pytest.raises(ValueError, match=message):
        build(content, masks=masks, pipeline=pipeline)
