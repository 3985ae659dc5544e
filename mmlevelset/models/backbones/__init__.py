"""Backbones that mmdet does not have."""

from mmlevelset.models.backbones.efficientnet_lite import EfficientNetLite, PipWeights
from mmlevelset.models.backbones.wide_resnet import WideResNet38

__all__ = ["EfficientNetLite", "PipWeights", "WideResNet38"]
