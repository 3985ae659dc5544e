"""Tiny semantic networks and batches."""

from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import Tensor

import mmlevelset.models  # noqa: F401
from mmlevelset.registry import MODELS

CLASSES = 4


class IdentityBackbone(BaseModule):
    """The feature map is every ``stride``-th pixel of the image."""

    def __init__(self, stride: int = 1, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.stride = stride
        self.calls: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.calls.append(tuple(x.shape[2:]))
        return (x[:, :, :: self.stride, :: self.stride],)


def make_identity(classes: int = 3, stride: int = 1, head: dict | None = None, **changes):
    """A network that returns the image's channels as logits."""
    model = MODELS.build(
        dict(
            type="mmlevelset.SemanticSegmentor",
            data_preprocessor=dict(type="mmdet.DetDataPreprocessor"),
            stride=stride,
            backbone=dict(type=IdentityBackbone, stride=stride),
            decode_head=dict(
                type="mmlevelset.FCNHead", num_classes=classes, in_channels=classes, **(head or {})
            ),
            **changes,
        )
    )
    classifier = model.decode_head.classifiers[0]
    with torch.no_grad():
        classifier.weight.copy_(torch.eye(classes)[:, :, None, None])
        classifier.bias.zero_()
    return model.eval()


VGG = dict(type="mmlevelset.DeepLabVGG", base_channels=2)
RESNET = dict(type="mmdet.ResNet", depth=18, base_channels=4, norm_eval=False)
DENSE_RESNET = dict(RESNET, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
HEADS = {
    "fcn-32s": (32, RESNET, dict(type="mmlevelset.FCNHead", in_channels=(4, 8, 16, 32), skips=0)),
    "fcn-8s": (32, RESNET, dict(type="mmlevelset.FCNHead", in_channels=(4, 8, 16, 32), skips=2)),
    "largefov": (8, VGG, dict(type="mmlevelset.LargeFOVHead", in_channels=16, fc_channels=8)),
    "aspp": (8, DENSE_RESNET, dict(type="mmlevelset.ASPPHead", in_channels=32, dilations=(1, 2))),
}


def make_segmentor(name: str = "largefov", seed: int = 0, head: dict | None = None, **changes):
    """A network with the stride, the backbone and the head of ``HEADS[name]``, initialised."""
    torch.manual_seed(seed)
    stride, backbone, decode_head = HEADS[name]
    changed = dict(num_classes=CLASSES, align_corners=True) | (head or {})
    config = dict(
        type="mmlevelset.SemanticSegmentor",
        data_preprocessor=dict(type="mmdet.DetDataPreprocessor", pad_seg=True),
        stride=stride,
        backbone=backbone,
        decode_head=decode_head | changed,
    )
    model = MODELS.build(config | changes)
    model.init_weights()
    return model


def make_images(images: int = 2, size: Sequence[int] = (41, 49), seed: int = 1) -> Tensor:
    return torch.randn(images, 3, *size, generator=torch.Generator().manual_seed(seed))


def make_labels(images: int = 2, size: Sequence[int] = (41, 49), seed: int = 2) -> Tensor:
    """Blocks of a few pixels, some of them unlabelled."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (-(-side // 8) for side in size)
    blocks = torch.randint(0, CLASSES + 1, (images, rows, columns), generator=generator)
    blocks[blocks == CLASSES] = 255
    labels = blocks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return labels[:, : size[0], : size[1]].to(torch.uint8)


def make_samples(
    labels: Tensor | None = None,
    images: int = 2,
    img_shape: Sequence[int] = (41, 49),
    ori_shape: Sequence[int] | None = None,
) -> list[DetDataSample]:
    """A sample for each map of ``labels`` (B, H, W), or ``images`` samples without labels."""
    count = images if labels is None else len(labels)
    shape = tuple(img_shape if labels is None else labels.shape[1:])
    samples = []
    for number in range(count):
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=tuple(ori_shape or shape), img_id=number)
        )
        if labels is not None:
            sample.gt_sem_seg = PixelData(sem_seg=labels[number : number + 1])
        samples.append(sample)
    return samples
