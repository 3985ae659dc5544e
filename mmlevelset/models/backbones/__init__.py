"""Backbones that mmdet does not have."""

from mmlevelset.models.backbones.wide_resnet import WideResNet38

__all__ = ["WideResNet38"]
