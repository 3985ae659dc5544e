import json

import cv2
import mmengine.fileio as fileio
import numpy as np
import pycocotools.mask as mask_utils
import pytest
from mmdet.datasets import CocoDataset

from mmlevelset.converters.datasets import shapes2coco
from mmlevelset.datasets import ShapesDataset
from mmlevelset.datasets.shape_rendering import KINDS

PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True, "with_seg": True},
    {"type": "mmdet.PackDetInputs"},
]


def test_mmdet_reads_back_what_is_in_memory(tmp_path):
    out = tmp_path / "made" / "shapes"
    arguments = "--length 6 --seed 4 --image-size 96 64 --empty-fraction 0.3 --semantic".split()
    shapes2coco.main([str(out), *arguments])
    assert sorted(p.name for p in out.iterdir()) == ["annotations.json", "images", "labels"]
    assert [p.name for p in out.parent.iterdir()] == ["shapes"]
    written = CocoDataset(
        data_root=str(out),
        ann_file="annotations.json",
        data_prefix={"img": "images/", "seg": "labels/"},
        metainfo={"classes": KINDS},
        pipeline=PIPELINE,
    )
    memory = ShapesDataset(
        length=6, seed=4, image_size=(96, 64), empty_fraction=0.3, pipeline=PIPELINE
    )
    assert len(written) == len(memory) == 6
    total = 0
    for i in range(6):
        a, b = written[i], memory[i]
        assert np.array_equal(a["inputs"], b["inputs"])
        first, second = a["data_samples"], b["data_samples"]
        assert first.img_id == second.img_id
        assert np.array_equal(first.gt_sem_seg.sem_seg, second.gt_sem_seg.sem_seg)
        first, second = first.gt_instances, second.gt_instances
        assert first.labels.tolist() == second.labels.tolist()
        assert first.bboxes.tensor.tolist() == second.bboxes.tensor.tolist()
        assert np.array_equal(first.masks.masks, second.masks.masks)
        total += len(first)
    content = json.loads((out / "annotations.json").read_text())
    assert len(content["annotations"]) == total > 6
    for annotation in content["annotations"]:
        assert annotation["area"] == mask_utils.decode(annotation["segmentation"]).sum()


def test_options_reach_the_data(tmp_path):
    out = tmp_path / "plain"
    knobs = {"noise": 0.0, "light": 0.25, "occlusion": 0.125, "camouflage": 0.75}
    arguments = [part for key, value in knobs.items() for part in (f"--{key}", str(value))]
    arguments += "--length 1 --image-size 48 48 --num-objects 1 1".split()
    shapes2coco.main([str(out), *arguments])
    dataset = ShapesDataset(length=1, image_size=(48, 48), num_objects=(1, 1), **knobs)
    data = fileio.get(dataset.get_data_info(0)["img_path"])
    assert (out / "images/000000.png").read_bytes() == data
    assert not (out / "labels").exists()
    assert cv2.imread(str(out / "images/000000.png")).shape == (48, 48, 3)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def interrupted(uri):
        if "000002" in uri:
            raise KeyboardInterrupt
        return b"data"

    monkeypatch.setattr(shapes2coco.fileio, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapes2coco.main([str(tmp_path / "out"), "--length", "4", "--image-size", "48", "48"])
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_left_alone(refused, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    assert "exists already" in refused(shapes2coco.main, [str(tmp_path), "--length", "1"])
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_bad_option_is_one_sentence(refused, tmp_path):
    words = [str(tmp_path / "out"), "--image-size", "3", "3"]
    assert "image_size must be" in refused(shapes2coco.main, words)
    assert list(tmp_path.iterdir()) == []
