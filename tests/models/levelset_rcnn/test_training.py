"""The quickstart, cut to seconds: training, evaluation, pictures and exact resume."""

import copy
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmengine.runner import Runner

CONFIG = Path(__file__).parents[3] / "configs/quickstart/levelset-rcnn_image_shapes.py"


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums decides whether two runs are equal to the bit
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tmp_path):
    config = Config.fromfile(CONFIG)
    config.work_dir = str(tmp_path / "whole")
    config.log_level = "WARNING"
    config.model.test_cfg.rcnn.initial_masks = True
    config.default_hooks.logger.interval = 1
    config.train_cfg.update(max_epochs=2, val_interval=1)
    config.train_dataloader.update(batch_size=2)
    config.train_dataloader.dataset.length = 4
    config.val_dataloader.dataset.length = 2
    return config


def records(work_dir):
    (log,) = Path(work_dir).glob("*/vis_data/scalars.json")
    return [json.loads(line) for line in log.read_text().splitlines()]


def losses(work_dir, epoch):
    return [
        {name: value for name, value in record.items() if "loss" in name or "iou" in name}
        for record in records(work_dir)
        if record.get("epoch") == epoch
    ]


def run(config, **changes):
    config = copy.deepcopy(config)
    config.merge_from_dict(changes)
    config.experiment_name = config.visualizer.name = config.work_dir  # both are global by name
    Runner.from_cfg(config).train()
    return config.work_dir


def test_a_resumed_run_has_the_losses_of_a_whole_one(config, tmp_path):
    whole = run(config)
    resumed = run(
        config,
        work_dir=str(tmp_path / "resumed"),
        resume=True,
        load_from=f"{whole}/epoch_1.pth",
    )
    expected = losses(whole, epoch=2)
    assert len(expected) == 2 and "loss_tsdf_final" in expected[0]
    assert losses(resumed, epoch=2) == expected


def test_one_evaluation_reports_both_masks_and_pictures_are_drawn(config):
    config.default_hooks.visualization.update(draw=True, interval=1)
    work_dir = run(config, **{"train_cfg.max_epochs": 1})
    (evaluation,) = [record for record in records(work_dir) if "coco/segm_mAP" in record]
    for name in ("bbox_mAP", "segm_mAP", "AF_1", "AF_2"):
        assert 0 <= evaluation[f"coco/{name}"] <= 1
        if name != "bbox_mAP":
            assert 0 <= evaluation[f"coco/initial_{name}"] <= 1
    assert list(Path(work_dir).glob("*/vis_data/vis_image/*.png"))


def test_inferencer_runs_on_an_image_file(config, tmp_path):
    config.train_cfg.max_epochs = 1
    config.model.test_cfg.rcnn.update(polygons=True, level_sets=True)
    checkpoint = f"{run(config)}/epoch_1.pth"
    config.dump(tmp_path / "config.py")
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image)
    inferencer = DetInferencer(
        str(tmp_path / "config.py"), checkpoint, device="cpu", show_progress=False
    )
    result = inferencer(str(tmp_path / "image.png"), out_dir=str(tmp_path), return_datasamples=True)
    instances = result["predictions"][0].pred_instances
    assert instances.masks.shape == (len(instances), 90, 120)
    assert len(instances.polygons) == len(instances)
    assert (tmp_path / "vis" / "image.png").is_file()
