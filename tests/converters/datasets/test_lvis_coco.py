"""LVIS restricted to COCO's categories, on small files in LVIS's two layouts."""

import copy
import json
import re

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from mmlevelset.converters.datasets import lvis_coco
from mmlevelset.evaluation import LVISCocoMetric


def annotation(number: int, image: int, category: int, left: int) -> dict:
    polygon = [left, 10, left + 20, 10, left + 20, 40, left, 40]
    return dict(
        id=number,
        image_id=image,
        category_id=category,
        bbox=[left, 10, 20, 30],
        area=600,
        segmentation=[polygon],
    )


@pytest.fixture
def lvis() -> dict:
    """Two images of val2017 and one of train2017; LVIS's ids differ from COCO's."""
    host = "http://images.cocodataset.org"
    size = dict(height=60, width=80)
    return dict(
        info={},
        images=[
            dict(
                id=139,
                coco_url=f"{host}/val2017/000000000139.jpg",
                neg_category_ids=[3, 2],
                not_exhaustive_category_ids=[1],
                **size,
            ),
            dict(
                id=285,
                coco_url=f"{host}/val2017/000000000285.jpg",
                neg_category_ids=[],
                not_exhaustive_category_ids=[],
                **size,
            ),
            dict(
                id=9,
                coco_url=f"{host}/train2017/000000000009.jpg",
                neg_category_ids=[4],
                not_exhaustive_category_ids=[],
                **size,
            ),
        ],
        categories=[
            dict(id=1, name="baby", synset="person.n.01", frequency="f"),
            dict(id=2, name="acorn", synset="acorn.n.01", frequency="r"),
            dict(id=3, name="fireplug", synset="fireplug.n.01", frequency="f"),
            dict(id=4, name="cow", synset="beef.n.01", frequency="c"),
        ],
        annotations=[
            annotation(7, 139, 1, 5),
            annotation(8, 139, 2, 30),
            annotation(9, 285, 4, 5),
            annotation(10, 285, 4, 40),
            annotation(11, 9, 1, 5),
        ],
    )


@pytest.fixture
def convert(tmp_path):
    def run(content: object, *words: str, name: str = "small.json") -> dict:
        source = tmp_path / name
        source.write_text(content if isinstance(content, str) else json.dumps(content))
        lvis_coco.main([str(source), str(tmp_path / "coco"), *words])
        out = tmp_path / "coco/annotations" / f"{source.stem}_coco.json"
        return json.loads(out.read_text())

    return run


def test_the_table_is_of_cocos_categories():
    assert tuple(name for _, name, _ in lvis_coco.CATEGORIES) == CocoDataset.METAINFO["classes"]
    ids = [number for number, _, _ in lvis_coco.CATEGORIES]
    gaps = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # ids that COCO's instances do not use
    assert ids == [number for number in range(1, 91) if number not in gaps]
    assert len({synset for _, _, synset in lvis_coco.CATEGORIES}) == 80


def test_categories_and_federated_lists_are_mapped(convert, lvis, capsys):
    found = convert(lvis)
    assert [image["file_name"] for image in found["images"]] == [
        "val2017/000000000139.jpg",
        "val2017/000000000285.jpg",
    ]
    assert found["images"][0]["neg_category_ids"] == [11]
    assert found["images"][0]["not_exhaustive_category_ids"] == [1]
    pairs = [(a["id"], a["image_id"], a["category_id"]) for a in found["annotations"]]
    assert pairs == [(1, 139, 1), (2, 285, 21), (3, 285, 21)]
    assert found["annotations"][0]["segmentation"] == lvis["annotations"][0]["segmentation"]
    categories = {category["id"]: category for category in found["categories"]}
    assert len(categories) == 80
    cow = categories[21]
    assert (cow["name"], cow["image_count"], cow["instance_count"]) == ("cow", 1, 2)
    assert cow["frequency"] == "c"
    printed = capsys.readouterr().out
    assert "2 images (1 of train2017 left out), 3 instances of 3 categories" in printed
    assert "LVIS has no bicycle, car" in printed


def test_images_to_train_on_are_kept_where_asked(convert, lvis):
    found = convert(lvis, "--all-images")
    assert found["images"][2]["file_name"] == "train2017/000000000009.jpg"
    assert found["images"][2]["neg_category_ids"] == [21]
    assert len(found["annotations"]) == 4


def test_names_of_coco_2014_are_of_val2017(convert, lvis):
    for image in lvis["images"]:
        del image["coco_url"]
        image["file_name"] = f"COCO_val2014_{image['id']:012d}.jpg"
    assert convert(lvis)["images"][2]["file_name"] == "val2017/000000000009.jpg"


def test_published_counts_are_demanded(convert, refused, lvis, capsys):
    assert "3 found, 5000 published" in refused(convert, lvis, name="lvis_v0.5_val.json")
    convert(lvis, "--allow-partial", name="lvis_v1_val.json")
    warnings = capsys.readouterr().err
    assert "3 found, 19809 published" in warnings and "3 found, 79 published" in warnings


def changed(lvis: dict, key: str, index: int, **values: object) -> dict:
    content = copy.deepcopy(lvis)
    content[key][index].update(values)
    return content


def test_errors_name_what_is_wrong(convert, refused, lvis, tmp_path):
    def refuses(content: object, message: str) -> None:
        assert re.search(message, refused(convert, content))
        assert not (tmp_path / "coco").exists()

    refuses(json.dumps(lvis)[:-40], "small.json is not JSON")
    refuses(
        {**lvis, "images": [7]}, r"small.json is not in COCO's layout: images\[0\] must be a dict"
    )
    refuses({"images": []}, "key 'categories' must be a list, but it is missing")
    del lvis["images"][1]["neg_category_ids"]
    refuses(lvis, "images with id 285 have no 'neg_category_ids'")
    lvis["images"][1]["neg_category_ids"] = [77]
    for ids in (None, ["x"]):
        refuses(
            changed(lvis, "images", 1, neg_category_ids=ids),
            "'neg_category_ids' of image 285 must be a list of whole numbers",
        )
    refuses(lvis, r"image 285 has categories \[77\] in neg_category_ids that the file does not")
    lvis["images"][1]["neg_category_ids"] = []
    refuses(
        changed(lvis, "annotations", 0, image_id=5), "'image_id' of 1 annotations names no image"
    )
    refuses(changed(lvis, "images", 0, coco_url="elsewhere/1.png"), "image 139 has neither")
    for category in lvis["categories"]:
        category["synset"] = "acorn.n.01"
    refuses(lvis, "no category with the synset")


def test_the_config_evaluates_it_beside_coco(checkout):
    config = Config.fromfile(checkout / "configs/_base_/datasets/lvis_coco_categories.py")
    coco, lvis = config.test_evaluator
    assert lvis.type == "mmlevelset.LVISCocoMetric"
    assert lvis.ann_file == "data/coco/annotations/lvis_v0.5_val_coco.json"
    dataset = config.test_dataloader.dataset
    assert coco.ann_file == dataset.data_root + dataset.ann_file


def test_the_metric_takes_it(convert, lvis, tmp_path):
    convert(lvis)
    metric = LVISCocoMetric(str(tmp_path / "coco/annotations/small_coco.json"), metric="segm")
    metric.dataset_meta = CocoDataset.METAINFO
    classes = metric.dataset_meta["classes"]
    # Of cows in image 139 nothing is known.
    for image, names in ((139, ("person", "cow")), (285, ("cow", "cow"))):
        masks = torch.zeros(2, 60, 80, dtype=torch.bool)
        masks[0, 10:40, 5:25] = True
        masks[1, 10:40, 40:60] = True
        boxes = torch.tensor([[5.0, 10, 25, 40], [40, 10, 60, 40]])
        labels = torch.tensor([classes.index(name) for name in names])
        instances = dict(bboxes=boxes, scores=torch.ones(2), labels=labels, masks=masks)
        sample = dict(img_id=image, ori_shape=(60, 80), pred_instances=instances)
        metric.process({}, [sample])
    assert metric.evaluate(size=2)["lvis/segm_AP"] == 1
