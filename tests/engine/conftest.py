"""A tiny Mask R-CNN with random augmentations on six small images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine import Config

SIZE = 64
IMAGES = 6


def _write_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(IMAGES):
        image = generator.integers(0, 80, (SIZE, SIZE, 3), dtype=np.uint8)
        x, y, w, h = (int(value) for value in generator.integers((4, 4, 20, 20), (24, 24, 36, 36)))
        image[y : y + h, x : x + w] += 120
        cv2.imwrite(str(folder / f"{index}.png"), image)
        images.append(dict(id=index, file_name=f"{index}.png", width=SIZE, height=SIZE))
        annotations.append(
            dict(
                id=index,
                image_id=index,
                category_id=0,
                bbox=[x, y, w, h],
                area=w * h,
                iscrowd=0,
                segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
            )
        )
    categories = [dict(id=0, name="box")]
    document = dict(images=images, annotations=annotations, categories=categories)
    (folder / "annotations.json").write_text(json.dumps(document))


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory) -> Path:
    """A folder with images of one object each and ``annotations.json`` in COCO's layout."""
    folder = tmp_path_factory.mktemp("images")
    _write_images(folder)
    return folder


@pytest.fixture
def tiny_config(tiny_images, tmp_path) -> Config:
    """A config of four epochs with three iterations of two images."""
    cfg = Config.fromfile(Path(__file__).with_name("tiny_mask_rcnn.py"))
    cfg.train_dataloader.dataset.data_root = str(tiny_images)
    cfg.work_dir = str(tmp_path / "work_dir")
    return cfg
