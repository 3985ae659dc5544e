"""Training steps of RTMDet-Ins, CondInst and Mask2Former from boxes, against mmdet's with masks."""

import argparse
import copy
from functools import partial
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.experiments.benchmarks import harness

PLAIN = "mmdet, full masks"
TWIN = "ours, full masks"
# Detector -> config of its model, head with box supervision, mmdet's types of model and head.
DETECTORS = {
    "RTMDet-Ins-s": ("box-rtmdet-ins_s", "bbox_head", "RTMDet", "RTMDetInsSepBNHead"),
    "CondInst": ("box-condinst_r50_fpn", "mask_head", "CondInst", "CondInstMaskHead"),
    "Mask2Former": ("box2mask-t_r50", "panoptic_head", "Mask2Former", "Mask2FormerHead"),
}
NO_CONSISTENCY = dict(loss_consistency=None)
ROWS: dict[str, dict[str, Any]] = {
    TWIN: dict(supervision="mask"),
    "projection alone": dict(loss_level_set=None, **NO_CONSISTENCY),
    "projection, pairwise": dict(
        loss_level_set=None,
        loss_pairwise=dict(loss_weight=1.0, warmup_iters=0),
        **NO_CONSISTENCY,
    ),
    "projection, released energy": NO_CONSISTENCY,
    "projection, our energy": dict(
        loss_level_set=dict(image_weight=0.2, image_space="lab", detach_features=True),
        **NO_CONSISTENCY,
    ),
    "projection, released energy, consistency": dict(loss_consistency=dict(loss_weight=0.2)),
}


def models_of(detector: str, device: torch.device) -> dict[str, Any]:
    """Return a model for each row, all with the same weights."""
    name, head, plain, plain_head = DETECTORS[detector]
    config = Config.fromfile(f"configs/_base_/models/{name}.py").model
    config.backbone.init_cfg = None
    configs = {PLAIN: copy.deepcopy(config)}
    configs[PLAIN].type = plain
    configs[PLAIN][head].type = plain_head
    del configs[PLAIN][head].box_supervision
    for row, changes in ROWS.items():
        configs[row] = copy.deepcopy(config)
        supervision = configs[row][head].box_supervision
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(supervision.get(key), dict):
                value = ConfigDict({**supervision[key], **value})
            supervision[key] = value
    models: dict[str, Any] = {}
    for row, own in configs.items():
        model = revert_sync_batchnorm(MODELS.build(own))
        if models:
            model.load_state_dict(models[PLAIN].state_dict(), strict=False)
        else:
            model.init_weights()
        models[row] = model.to(device).train()
    return models


def step(model: Any, images: Tensor, samples: list[DetDataSample]) -> dict[str, Tensor]:
    """Run a training step. The gradients stay in the parameters."""
    torch.manual_seed(0)  # mmdet draws points and masks
    model.zero_grad(set_to_none=True)
    losses = model.loss(images, [_copied(sample) for sample in samples])
    model.parse_losses(losses)[0].backward()
    return {
        name: torch.stack(own).sum() if isinstance(own, list) else own
        for name, own in losses.items()
    }


def detectors(
    options: argparse.Namespace, device: torch.device, images: Tensor, samples: list[DetDataSample]
) -> None:
    """Check, then time, the training steps of each detector."""
    for detector in options.detectors:
        print(
            f"\n{detector}: {options.batch} images of {options.size[0]} x {options.size[1]} with"
            f" {options.objects} objects each\n"
        )
        models = models_of(detector, device)
        calls = {row: partial(step, model, images, samples) for row, model in models.items()}
        gate = harness.Gate()
        values = {row: call() for row, call in calls.items()}
        for name, want in values[PLAIN].items():
            gate.close(f"{name}, as mmdet's", values[TWIN][name], want, 1e-4)
        for row, losses in values.items():
            gradients = [own.grad for own in models[row].parameters() if own.grad is not None]
            finite = all(value.isfinite().all() for value in (*losses.values(), *gradients))
            names = [name for name in losses if "." not in name]
            found = ", ".join(f"{name} {losses[name].item():.3g}" for name in names)
            gate.record(row, finite, found)
        gate.finish()
        results = harness.measure(calls, device, options.rounds, memory=device.type == "cuda")
        print("\n" + harness.time_and_memory(results, PLAIN), flush=True)


def _copied(sample: DetDataSample) -> DetDataSample:
    """A sample of its own: mmdet's heads replace the masks."""
    truth = InstanceData(**dict(sample.gt_instances.items()))
    return DetDataSample(metainfo=sample.metainfo, gt_instances=truth)
