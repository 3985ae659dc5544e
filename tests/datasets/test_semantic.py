import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from PIL import Image

from mmlevelset.datasets import (
    CityscapesSegDataset,
    CocoSegDataset,
    PascalContextDataset,
    SegDataset,
    VOCSegDataset,
)
from mmlevelset.datasets.semantic import voc_palette

LOAD = [dict(type="mmlevelset.LoadImage"), dict(type="mmlevelset.LoadSemanticAnnotations")]


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images with label maps, and a list of one image."""
    for number, name in enumerate("ab"):
        save(tmp_path / f"images/{name}.jpg", np.zeros((6, 8, 3), np.uint8))
        save(tmp_path / f"maps/{name}.png", np.full((6, 8), number, np.uint8))
    (tmp_path / "list.txt").write_text("b\n")
    return tmp_path


def build(folder: Path, kind: type = VOCSegDataset, **kwargs):
    kwargs.setdefault("data_prefix", dict(img_path="images", seg_map_path="maps"))
    return kind(data_root=str(folder), pipeline=LOAD, **kwargs)


def test_list_or_whole_folder(folder):
    assert [item["gt_seg_map"].max() for item in build(folder)] == [0, 1]
    assert [item["gt_seg_map"].max() for item in build(folder, ann_file="list.txt")] == [1]
    assert build(folder)[0]["num_classes"] == 21


def test_a_test_set_has_no_maps(folder):
    dataset = build(folder, data_prefix=dict(img_path="images"), test_mode=True)
    assert len(dataset) == 2 and "gt_seg_map" not in dataset[0]


def test_own_classes(folder):
    dataset = build(folder, SegDataset, metainfo=dict(classes=("no", "yes")))
    assert dataset[0]["num_classes"] == len(dataset.metainfo["palette"]) == 2
    with pytest.raises(ValueError, match="metainfo must give the classes"):
        build(folder, SegDataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(data_prefix=dict(img_path="img")), "folder data_prefix.'img_path'. .*/img does not"),
        (
            dict(data_prefix=dict(img_path="images", seg_map_path="none")),
            r"'seg_map_path'. .*/none does not exist \(tools/.*/voc_aug.py writes it\)",
        ),
        (dict(ann_file="no.txt"), r"ann_file .*/no.txt does not exist \(tools/.*/voc_aug.py"),
    ],
)
def test_what_is_missing_is_named(folder, change, message):
    with pytest.raises(FileNotFoundError, match=message):
        build(folder, **change)


def test_missing_files_are_counted(folder):
    (folder / "maps/b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 label maps .*maps/b.png .tools"):
        build(folder)
    (folder / "images/a.jpg").unlink()
    (folder / "list.txt").write_text("a\nb\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images do not exist, .*images/a.jpg$"):
        build(folder, ann_file="list.txt")


def test_nothing_to_load_is_an_error(folder):
    with pytest.raises(ValueError, match=r"no image: .*images \(\*.tif\) names none"):
        build(folder, img_suffix=".tif")
    with pytest.raises(ValueError, match=r"img_path=...\), not {'img': "):
        build(folder, data_prefix=dict(img="images"))


def test_published_tools_exist(checkout):
    for kind in (VOCSegDataset, PascalContextDataset, CityscapesSegDataset):
        assert (checkout / kind.CONVERTER).is_file()


def test_classes_and_colours():
    assert [
        (len(kind.METAINFO["classes"]), len(kind.METAINFO["palette"]))
        for kind in (VOCSegDataset, PascalContextDataset, CityscapesSegDataset, CocoSegDataset)
    ] == [(21, 21), (60, 60), (19, 19), (81, 81)]
    assert VOCSegDataset.METAINFO["classes"][15] == "person"
    names = PascalContextDataset.METAINFO["classes"][1:]
    assert list(names) == sorted(names) and len(set(names)) == 59
    # As the devkit prints them: aeroplane, person, tvmonitor, and the void of its maps.
    palette = voc_palette(256)
    assert [palette[label] for label in (1, 15, 20, 255)] == [
        (128, 0, 0),
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]


def coco(folder: Path) -> Path:
    """One image: a cat with a dog on it, a crowd of dogs at its edge, and a bird of no class."""

    def annotation(number: int, category: int, box: list[int], **more) -> dict:
        x, y, w, h = box
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        known = dict(id=number, image_id=1, category_id=category, bbox=box, area=w * h, iscrowd=0)
        return {**known, "segmentation": [polygon], **more}

    # Column by column: none of the first ten columns, then all of the last two.
    crowd = dict(segmentation=dict(size=[10, 12], counts=[100, 20]), iscrowd=1)
    content = dict(
        images=[dict(id=1, file_name="a.png", height=10, width=12)],
        categories=[dict(id=3, name="bird"), dict(id=5, name="cat"), dict(id=9, name="dog")],
        annotations=[
            annotation(1, 9, [3, 3, 2, 2]),
            annotation(2, 5, [1, 1, 6, 8]),
            annotation(3, 9, [10, 0, 2, 10], **crowd),
            annotation(4, 3, [8, 1, 2, 2]),
        ],
    )
    (folder / "a.json").write_text(json.dumps(content))
    save(folder / "a.png", np.zeros((10, 12, 3), np.uint8))
    return folder


def test_instances_as_a_semantic_data_set(tmp_path):
    config = dict(
        type="mmlevelset.CocoSegDataset",
        data_root=str(coco(tmp_path)),
        ann_file="a.json",
        data_prefix=dict(img=""),
        metainfo=dict(classes=("background", "cat", "dog"), palette=[(0, 0, 0)] * 3),
        pipeline=[
            dict(type="mmlevelset.LoadImage"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="mmlevelset.SemanticFromInstances"),
            dict(type="RandomFlip", prob=1.0),
            dict(type="PackDetInputs", meta_keys=("img_path", "ori_shape", "flip")),
        ],
    )
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(config)
    assert dataset.metainfo["classes"] == ("background", "cat", "dog")
    expected = np.zeros((10, 12), np.uint8)
    expected[1:9, 1:7] = 1
    expected[3:5, 3:5] = 2
    expected[:, 10:] = 255
    sample = dataset[0]["data_samples"]
    assert torch.equal(sample.gt_sem_seg.sem_seg[0], torch.from_numpy(cv2.flip(expected, 1)))
    assert len(sample.gt_instances) == 0


def test_background_comes_first(tmp_path):
    with pytest.raises(ValueError, match="the first of classes must be \"background\", not .'cat'"):
        CocoSegDataset(
            data_root=str(coco(tmp_path)),
            ann_file="a.json",
            data_prefix=dict(img=""),
            metainfo=dict(classes=("cat", "dog")),
        )
