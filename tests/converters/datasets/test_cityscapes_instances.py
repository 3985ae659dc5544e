"""Cityscapes' instances to COCO, on a tiny tree in the official layout."""

import json
import os
import re

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from mmdet.datasets import CityscapesDataset
from mmengine.config import Config
from PIL import Image

from mmlevelset.converters.datasets import cityscapes_instances

HEIGHT, WIDTH = 40, 60
# Instance id -> columns. 7: road, 26: a group of cars, 29: a caravan, not evaluated.
FIRST = {7: slice(0, 10), 24001: slice(10, 20), 26: slice(20, 30), 26000: slice(30, 50)}
SECOND = {29001: slice(0, 20), 33012: slice(20, 25), 31000: slice(25, 60)}
IMAGES = {
    ("train", "aachen/aachen_000000_000019"): FIRST,
    ("train", "bochum/bochum_000000_000313"): SECOND,
    ("val", "lindau/lindau_000000_000019"): FIRST,
}


@pytest.fixture
def tree(tmp_path):
    for (split, stem), columns in IMAGES.items():
        ids = np.zeros((HEIGHT, WIDTH), np.uint16)
        for number, where in columns.items():
            ids[5:, where] = number
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for path, array in (
            (tmp_path / f"gtFine/{split}/{stem}_gtFine_instanceIds.png", ids),
            (tmp_path / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", image),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return tmp_path


@pytest.fixture
def convert(monkeypatch, tree):
    monkeypatch.setattr(cityscapes_instances, "PART", 1)

    def run(*words: str) -> dict[str, dict]:
        cityscapes_instances.main([str(tree), "--workers", "1", *words])
        name = "annotations/instancesonly_filtered_gtFine_{}.json"
        return {s: json.loads((tree / name.format(s)).read_text()) for s in ("train", "val")}

    return run


def test_instances_groups_and_what_is_left_out(convert, tree):
    found = convert("--allow-partial")
    first, second = found["train"]["images"]
    assert first["file_name"] == "aachen/aachen_000000_000019_leftImg8bit.png"
    assert (second["height"], second["width"]) == (HEIGHT, WIDTH)
    summary = [
        (
            annotation["image_id"],
            annotation["category_id"],
            annotation["iscrowd"],
            annotation["bbox"][0],
            annotation["area"],
        )
        for annotation in found["train"]["annotations"]
    ]
    assert summary == [
        (first["id"], 26, 1, 20, 350),
        (first["id"], 24, 0, 10, 350),
        (first["id"], 26, 0, 30, 700),
        (second["id"], 31, 0, 25, 1225),
        (second["id"], 33, 0, 20, 175),
    ]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:, 10:20] = 1
    assert np.array_equal(mask_utils.decode(found["train"]["annotations"][1]["segmentation"]), mask)
    assert [annotation["id"] for annotation in found["train"]["annotations"]] == [1, 2, 3, 4, 5]
    names = tuple(category["name"] for category in found["val"]["categories"])
    assert names == CityscapesDataset.METAINFO["classes"]


def test_the_config_reads_it(convert, tree, checkout):
    convert("--allow-partial")
    config = Config.fromfile(checkout / "configs/_base_/datasets/cityscapes_instance.py")
    settings = {**config.train_dataloader.dataset, "data_root": str(tree), "pipeline": []}
    assert settings.pop("type") == "CityscapesDataset"
    labels = [
        [(one["bbox_label"], one["ignore_flag"]) for one in item["instances"]]
        for item in map(CityscapesDataset(**settings).get_data_info, range(2))
    ]
    assert labels == [[(2, 1), (0, 0), (2, 0)], [(5, 0), (7, 0)]]


def test_an_interrupted_conversion_goes_on(convert, refused, tree, capsys):
    path = tree / "gtFine/train/bochum/bochum_000000_000313_gtFine_instanceIds.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    assert "bochum_000000_000313_gtFine_instanceIds.png cannot" in refused(
        convert, "--allow-partial"
    )
    assert not (tree / "annotations").exists()
    path.write_bytes(whole)
    convert("--allow-partial")
    assert "1 of 2 parts were there already" in capsys.readouterr().out
    time = path.stat().st_mtime_ns
    os.utime(path, ns=(time, time + 10**9))
    convert("--allow-partial")
    printed = capsys.readouterr().out
    assert "1 of 1 parts were there already" in printed and "1 parts are made again" in printed


def test_errors_name_the_file(convert, refused, tree):
    assert "2 found, 2975 published" in refused(convert)
    image = tree / "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"
    Image.new("RGB", (10, 20)).save(image)
    assert re.search(
        "leftImg8bit.png is 10 x 20 pixels, its map .* 60 x 40", refused(convert, "--allow-partial")
    )
    image.unlink()
    assert re.search(
        "the image .*lindau_000000_000019_leftImg8bit.png does", refused(convert, "--allow-partial")
    )
    unknown = np.full((HEIGHT, WIDTH), 99, np.uint16)
    path = tree / "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png"
    Image.fromarray(unknown).save(path)
    assert "has id 99, but its label 99 is not in 0..33" in refused(
        convert, "--allow-partial", "--overwrite"
    )
