"""Heads of FCN, DeepLab-LargeFOV and DeepLab-v2."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import kaiming_init, normal_init
from torch import Tensor, nn

from mmlevelset.models.levelset_loss.decode_head import DecodeHead
from mmlevelset.models.levelset_loss.resize import resize_maps
from mmlevelset.registry import MODELS


@MODELS.register_module()
class FCNHead(DecodeHead):
    """Head of fully convolutional networks: the sum of the class scores of one or more stages.

    Each stage has a 1x1 convolution for its scores. The scores of the last stage are resized
    bilinearly to the size of the stage before and added to its scores, and so on. On a backbone of
    stride 32, ``skips`` 0, 1 and 2 are FCN-32s, -16s and -8s. The convolutions of the earlier
    stages start at 0, so that training can go on from a network with fewer skips.

    Args:
        num_classes: See :class:`DecodeHead`.
        in_channels: Channels of all feature maps, or of the map at ``in_index`` if ``skips`` is 0.
        in_index: Index of the last stage.
        skips: Number of stages before the last that add their scores.
        **kwargs: For :class:`DecodeHead`.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        in_index: int = -1,
        skips: int = 0,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, in_index, **kwargs)
        stages = 1
        if not isinstance(in_channels, int):
            stages = in_index % len(in_channels) + 1
        if not isinstance(skips, int) or not 0 <= skips < stages:
            raise ValueError(
                f"skips must be a whole number from 0 to {stages - 1}, the stages of in_channels"
                f" {in_channels!r} before in_index {in_index}, but is {skips!r}"
            )
        self.stages = [in_index - back for back in range(skips + 1)]
        self.dropout = nn.Dropout(self.dropout_ratio)
        self.classifiers = nn.ModuleList(
            nn.Conv2d(self.channels_of(stage), num_classes, 1) for stage in self.stages
        )

    def init_weights(self) -> None:
        normal_init(self.classifiers[0], std=0.01)
        for classifier in self.classifiers[1:]:
            normal_init(classifier, std=0)
        super().init_weights()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, K, h, w) of feature maps, at the size of the earliest stage."""
        logits, *skipped = (
            classifier(self.dropout(features[stage]))
            for stage, classifier in zip(self.stages, self.classifiers, strict=True)
        )
        for scores in skipped:
            logits = scores + resize_maps(logits, scores.shape[2:], self.align_corners)
        return logits


@MODELS.register_module()
class LargeFOVHead(DecodeHead):
    """Head of DeepLab-LargeFOV: VGG's fully connected layers as convolutions.

    The layers are a dilated fc6, a 1x1 fc7 and a 1x1 classifier, with ReLU and dropout after fc6
    and fc7. The classifier starts as Gaussian noise of standard deviation 0.01. fc6 and fc7 start
    from ImageNet weights with ``init_cfg=dict(type="mmlevelset.DecimatedVGG", ...)``, and as in He
    et al. (2015) otherwise.

    Args:
        num_classes: See :class:`DecodeHead`.
        in_channels: See :class:`DecodeHead`.
        in_index: See :class:`DecodeHead`.
        fc_channels: Channels of fc6 and fc7.
        kernel_size: Size of fc6's kernel, odd.
        dilation: Dilation of fc6.
        dropout_ratio: Probability of dropout after fc6 and after fc7.
        **kwargs: For :class:`DecodeHead`.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected
        CRFs, ICLR 2015.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int] = 512,
        in_index: int = -1,
        fc_channels: int = 1024,
        kernel_size: int = 3,
        dilation: int = 12,
        dropout_ratio: float = 0.5,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, in_index, dropout_ratio=dropout_ratio, **kwargs)
        if not isinstance(kernel_size, int) or kernel_size % 2 != 1:
            raise ValueError(f"kernel_size must be an odd number, but is {kernel_size!r}")
        self.fc6 = nn.Conv2d(
            self.channels_of(in_index),
            fc_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
        )
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.classifier = nn.Conv2d(fc_channels, num_classes, 1)

    def init_weights(self) -> None:
        kaiming_init(self.fc6)
        kaiming_init(self.fc7)
        normal_init(self.classifier, std=0.01)
        super().init_weights()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, K, h, w) of the feature map at ``in_index``, at its size."""
        x = features[self.in_index]
        for layer in (self.fc6, self.fc7):
            x = F.dropout(F.relu(layer(x)), self.dropout_ratio, self.training)
        return self.classifier(x)


@MODELS.register_module()
class ASPPHead(DecodeHead):
    """Head of DeepLab-v2 on a ResNet: atrous spatial pyramid pooling.

    The logits are the sum of parallel 3x3 classifiers with different dilations. The classifiers
    start as Gaussian noise of standard deviation 0.01.

    Args:
        num_classes: See :class:`DecodeHead`.
        in_channels: See :class:`DecodeHead`.
        in_index: See :class:`DecodeHead`.
        dilations: The dilation of each classifier.
        **kwargs: For :class:`DecodeHead`.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Chen et al., DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
        Convolution, and Fully Connected CRFs, PAMI 2018.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int] = 2048,
        in_index: int = -1,
        dilations: Sequence[int] = (6, 12, 18, 24),
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, in_index, **kwargs)
        if not dilations or any(not isinstance(step, int) or step < 1 for step in dilations):
            raise ValueError(
                f"dilations must be one or more whole numbers of at least 1, but is {dilations!r}"
            )
        self.dropout = nn.Dropout(self.dropout_ratio)
        self.classifiers = nn.ModuleList(
            nn.Conv2d(self.channels_of(in_index), num_classes, 3, padding=step, dilation=step)
            for step in dilations
        )

    def init_weights(self) -> None:
        for classifier in self.classifiers:
            normal_init(classifier, std=0.01)
        super().init_weights()

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, K, h, w) of the feature map at ``in_index``, at its size."""
        x = self.dropout(features[self.in_index])
        logits = self.classifiers[0](x)
        for classifier in self.classifiers[1:]:
            logits = logits + classifier(x)
        return logits
