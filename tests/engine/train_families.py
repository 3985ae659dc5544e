"""Train small networks of every family for three steps, in one or several processes.

A step has the same images however many processes share them. What is random in a step is seeded by
the image, and there is neither batch normalisation nor dropout.
"""

import os
import sys
from pathlib import Path

import torch
from mmcv.transforms import BaseTransform
from mmdet.models.task_modules import RandomSampler
from mmdet.registry import TASK_UTILS, TRANSFORMS
from mmengine import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlevelset.experiments.command_line import (
    leave_process_group,
    prepare_processes,
    remember_files_and_formats,
)

CONFIGS = Path(__file__).parents[2] / "configs/quickstart"
BATCH, STEPS = 4, 3
WITHOUT_OBJECTS = (9, 11)  # in the last step, all images of the second of two processes

CROSS_ENTROPY = dict(type="CrossEntropyLoss", avg_non_ignore=True)
RESNET = dict(base_channels=16, stem_channels=16)
BACKBONE = dict(backbone=RESNET, neck=dict(in_channels=[16, 32, 64, 128]))
SAMPLER = dict(sampler=dict(type="SamplerSeededByImage"))
TWO_STAGES = dict(**BACKBONE, train_cfg=dict(rpn=SAMPLER, rcnn=SAMPLER))


def losses(reduction: str, weight: float) -> list[dict]:
    level_set = dict(type="mmlevelset.LevelSetLoss", reduction=reduction, loss_weight=weight)
    return [CROSS_ENTROPY, level_set]


FAMILIES = {
    "levelset-rcnn_image": TWO_STAGES,
    "mask-rcnn_refined": TWO_STAGES,
    "box-levelset": dict(
        **BACKBONE,
        mask_head=dict(
            num_grids=[8, 6, 4, 3, 2],
            scale_ranges=[(1, 16), (8, 48), (32, 80), (64, 160), (128, 999)],
        ),
    ),
    "crls": dict(
        **TWO_STAGES,
        roi_head=dict(
            bbox_roi_extractor=dict(output_size=11),
            mask_head=dict(roi_feat_size=11),
        ),
    ),
    "rls_conv": dict(),
    "fcn-32s": dict(
        backbone=RESNET,
        decode_head=dict(in_channels=[16, 32, 64, 128], loss_decode=losses("sum", 1e-4)),
    ),
    "deeplab-largefov": dict(decode_head=dict(dropout_ratio=0.0, loss_decode=losses("pixel", 1.0))),
}
"""Changes of the models of quickstart configs."""


@TASK_UTILS.register_module()
class SamplerSeededByImage(RandomSampler):
    """mmdet's sampler; its choice depends on the image's objects alone."""

    def sample(self, assign_result, pred_instances, gt_instances, **kwargs):
        torch.manual_seed(int(gt_instances.bboxes.sum()))
        return super().sample(assign_result, pred_instances, gt_instances, **kwargs)


@TRANSFORMS.register_module()
class TakeObjects(BaseTransform):
    """Takes the objects of some images away."""

    def transform(self, results: dict) -> dict:
        if results["sample_idx"] in WITHOUT_OBJECTS:
            results["instances"] = []
        return results


@TRANSFORMS.register_module()
class TakeLabels(BaseTransform):
    """Takes labels away, of all pixels in some images and of more rows in each of the others."""

    def transform(self, results: dict) -> dict:
        labels = results["gt_seg_map"]
        rows = len(labels) * results["sample_idx"] // (BATCH * STEPS)
        labels[: None if results["sample_idx"] in WITHOUT_OBJECTS else rows] = 255
        return results


class KeepInitialWeights(Hook):
    def before_train(self, runner: Runner) -> None:
        if get_rank() == 0:
            torch.save(runner.model.state_dict(), Path(runner.work_dir, "before.pth"))


def config_of(family: str, work_dir: Path) -> Config:
    cfg = Config.fromfile(CONFIGS / f"{family}_shapes.py")
    cfg.merge_from_dict(dict(model=FAMILIES[family]))
    cfg.launcher = "pytorch" if "RANK" in os.environ else "none"
    prepare_processes(cfg)
    cfg.experiment_name = cfg.visualizer.name = family  # both are global by name
    cfg.work_dir = str(work_dir / family)
    loader = cfg.train_dataloader
    loader.batch_size = BATCH // get_world_size()
    loader.sampler.shuffle = False
    loader.dataset.update(length=BATCH * STEPS, image_size=(64, 64))
    pipeline = [step for step in loader.dataset.pipeline if step.type != "RandomFlip"]
    if any(step.type == "LoadAnnotations" for step in pipeline):
        pipeline.insert(0, dict(type="TakeObjects"))
    else:
        pipeline.insert(-1, dict(type="TakeLabels"))
    loader.dataset.pipeline = pipeline
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=1)
    # AdamW would make whole steps of the smallest differences.
    cfg.optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9))
    cfg.param_scheduler = []
    cfg.default_hooks.logger.interval = 1
    cfg.log_processor = dict(type="LogProcessor", window_size=1)
    cfg.log_level = "WARNING"
    return cfg


if __name__ == "__main__":
    torch.set_num_threads(1)
    remember_files_and_formats()
    folder = Path(sys.argv[1])
    for family in FAMILIES:
        cfg = config_of(family, folder)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(KeepInitialWeights())
        runner.train()
        del runner
    leave_process_group()
