"""Tiny heads, detectors and batches."""

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

import mmlevelset.models  # noqa: F401
from mmlevelset.models.common import ImageFeatures
from mmlevelset.registry import MODELS

CHANNELS = 8
GRIDS = [5, 4, 3, 2, 2]
SCALES = ((1, 16), (12, 30), (24, 48), (32, 64), (48, 400))
SIZE = (64, 96)
BOXES = (((8, 4, 40, 36), (30, 20, 94, 60)), ((50, 6, 66, 20), (3, 3, 33, 61), (40, 40, 56, 56)))


def head_config(**changes) -> ConfigDict:
    config = ConfigDict(
        type="mmlevelset.BoxSOLOv2Head",
        num_classes=3,
        in_channels=CHANNELS,
        feat_channels=CHANNELS,
        stacked_convs=1,
        strides=[8, 8, 16, 32, 32],
        scale_ranges=SCALES,
        num_grids=GRIDS,
        norm_cfg=dict(type="GN", num_groups=2),
        mask_feature_head=dict(
            feat_channels=CHANNELS,
            start_level=0,
            end_level=3,
            out_channels=CHANNELS,
            mask_stride=4,
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True),
        test_cfg=dict(
            nms_pre=500,
            score_thr=0.05,
            mask_thr=0.5,
            filter_thr=0.025,
            kernel="gaussian",
            sigma=2.0,
            max_per_img=100,
        ),
    )
    config.update(changes)
    return config


def make_head(seed: int = 0, spread: float = 0.3, **changes):
    """A head with weights large enough for masks that differ from 1/2."""
    torch.manual_seed(seed)
    head = MODELS.build(head_config(**changes))
    head.init_weights()
    torch.manual_seed(seed)  # so that heads of other losses have the same layers
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, spread)
    return head


def level_set(**changes) -> dict:
    return dict(type="mmlevelset.BoxLevelSetLoss", **changes)


def make_detector(seed: int = 0, **changes):
    torch.manual_seed(seed)
    return MODELS.build(
        ConfigDict(
            type="mmlevelset.BoxLevelSet",
            data_preprocessor=dict(
                type="DetDataPreprocessor",
                mean=[0.0] * 3,
                std=[255.0] * 3,
                pad_size_divisor=32,
            ),
            backbone=dict(
                type="ResNet",
                depth=18,
                base_channels=8,
                frozen_stages=-1,
                norm_eval=False,
            ),
            neck=dict(
                type="FPN",
                in_channels=[8, 16, 32, 64],
                out_channels=CHANNELS,
                start_level=0,
                num_outs=5,
            ),
            mask_head=head_config(**changes),
            test_cfg=head_config()["test_cfg"],
        )
    )


def make_features(images: int = 2, size: Sequence[int] = SIZE, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features, extent = [], [size[0] // 4, size[1] // 4]
    for _ in range(5):
        features.append(torch.randn(images, CHANNELS, *extent, generator=generator))
        extent = [-(-side // 2) for side in extent]
    return features


def make_images(images: int = 2, size: Sequence[int] = SIZE, seed: int = 2) -> Tensor:
    return torch.randn(images, 3, *size, generator=torch.Generator().manual_seed(seed))


def make_samples(
    boxes: Sequence = BOXES,
    masks: str | Sequence | None = None,
    size: Sequence[int] = SIZE,
    img_shape: Sequence[int] | None = None,
) -> list[DetDataSample]:
    """masks: None, ``ellipses`` in the boxes, ``empty``, ``some`` (every other), or the masks."""
    samples = []
    for number, own in enumerate(boxes):
        truth = InstanceData(
            bboxes=torch.tensor(own, dtype=torch.float32).reshape(-1, 4),
            labels=torch.arange(len(own)) % 3,
        )
        if isinstance(masks, str):
            truth.masks = BitmapMasks(draw(own, masks, size), *size)
        elif masks is not None:
            truth.masks = masks[number]
        meta = dict(
            img_shape=tuple(img_shape or size),
            ori_shape=tuple(img_shape or size),
            pad_shape=tuple(size),
            batch_input_shape=tuple(size),
            scale_factor=(1.0, 1.0),
        )
        samples.append(DetDataSample(gt_instances=truth, metainfo=meta))
    return samples


def draw(boxes: Sequence, kind: str, size: Sequence[int]) -> np.ndarray:
    masks = np.zeros((len(boxes), *size), dtype=np.uint8)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        if kind == "empty" or (kind == "some" and number % 2 == 1):
            continue
        across = (columns - (x1 + x2) / 2) / ((x2 - x1) / 2)
        along = (rows - (y1 + y2) / 2) / ((y2 - y1) / 2)
        masks[number] = across**2 + along**2 <= 1
    return masks


def losses_of(head, **batch) -> dict[str, Tensor]:
    """The losses of a head on the usual features and images."""
    size = batch.get("size", SIZE)
    samples = make_samples(**batch)
    count = len(samples)
    x = ImageFeatures(make_features(count, size), make_images(count, size))
    return head.loss(x, samples)
