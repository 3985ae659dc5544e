"""Base of semantic heads: class scores, trained losses and monitored losses."""

import re
from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.models.common import mean_count
from mmlevelset.models.levelset_loss.resize import resize_maps, shrink_labels
from mmlevelset.registry import MODELS

CROSS_ENTROPY = dict(type="mmdet.CrossEntropyLoss", avg_non_ignore=True)


class DecodeHead(BaseModule):
    """Base of heads that turn a backbone's features into class scores (logits).

    As in mmsegmentation, a loss is called as ``loss(logits, labels, weight=None,
    ignore_index=ignore_index)`` with logits (B, K, H, W) and labels (B, H, W). mmdet's
    CrossEntropyLoss needs ``avg_non_ignore=True`` to be a mean over the labelled pixels; in
    distributed training the mean is over the pixels of all processes.

    Args:
        num_classes: K, at least 2, the background included.
        in_channels: Channels of the feature map at ``in_index``, or of all feature maps.
        in_index: Index of the feature map that is read; negative numbers count from the last.
        loss_decode: A loss, or several losses; their sum is trained. A loss with ``loss_weight=0``
            is left out. A loss is logged by its ``loss_name``, or by its type: ``loss_ce`` for
            mmdet's CrossEntropyLoss.
        monitor: Losses that are logged and not trained. In their name ``energy`` takes the place
            of ``loss``: ``energy_level_set``. They see the same maps as ``loss_decode``.
        ignore_index: Label of the pixels without a label.
        dropout_ratio: Probability of dropout in training.
        loss_size: Size at which the losses are taken. ``full``: on logits resized to the labels.
            ``logits``: on labels shrunk to the logits, as DeepLab was trained.
        align_corners: Whether logit i of a network of stride s lies at pixel s * i. It does in
            networks of odd kernels, such as ResNet and :class:`DeepLabVGG`. In networks of even
            kernels, such as the poolings of VGG, logit i lies in the middle of s pixels.
            :class:`SemanticSegmentor` pads images to fit.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        in_index: int = -1,
        *,
        loss_decode: dict | Sequence[dict] = CROSS_ENTROPY,
        monitor: dict | Sequence[dict] = (),
        ignore_index: int = 255,
        dropout_ratio: float = 0.0,
        loss_size: str = "full",
        align_corners: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not isinstance(num_classes, int) or num_classes < 2:
            raise ValueError(
                f"num_classes must be a whole number of at least 2, the background included, but"
                f" is {num_classes!r}"
            )
        if loss_size not in ("full", "logits"):
            raise ValueError(f"loss_size must be 'full' or 'logits', but is {loss_size!r}")
        if not 0 <= dropout_ratio < 1:
            raise ValueError(f"dropout_ratio must lie in [0, 1), but is {dropout_ratio!r}")
        if not isinstance(in_channels, int) and not -len(in_channels) <= in_index < len(
            in_channels
        ):
            raise ValueError(
                f"in_index must be an index of the {len(in_channels)} in_channels, but is"
                f" {in_index!r}"
            )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.in_index = in_index
        self.stages = [in_index]  # the feature maps that the head reads
        self.ignore_index = ignore_index
        self.dropout_ratio = dropout_ratio
        self.loss_size = loss_size
        self.align_corners = align_corners
        self.losses = _build_losses(loss_decode)
        self.monitors = _build_losses(monitor)
        if not self.losses:
            raise ValueError(
                "loss_decode must have a loss with a loss_weight other than 0, "
                f"but is {loss_decode!r}"
            )
        for name in (_loss_name(loss) for loss in (*self.losses, *self.monitors)):
            if "loss" not in name:
                raise ValueError(
                    f"loss_name must contain 'loss', or it is not trained, but is {name!r}"
                )

    @abstractmethod
    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, K, h, w) of feature maps (B, C_i, h_i, w_i)."""

    def loss(self, logits: Tensor, labels: Tensor, monitor: bool = True) -> dict[str, Tensor]:
        """Return the losses by name, and the monitored losses without a gradient.

        Args:
            logits: (B, K, h, w).
            labels: Integers (B, H, W).
            monitor: Whether the monitored losses are evaluated.
        """
        if self.loss_size == "full":
            logits = resize_maps(logits, labels.shape[1:], self.align_corners)
        else:
            logits = resize_maps(logits, logits.shape[2:])
            labels = shrink_labels(labels, logits.shape[2:], self.align_corners)
        losses = self._evaluate(self.losses, logits, labels)
        if monitor:
            with torch.no_grad():
                watched = self._evaluate(self.monitors, logits, labels)
            losses |= {name.replace("loss", "energy"): value for name, value in watched.items()}
        return losses

    def _evaluate(self, losses: nn.ModuleList, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for loss in losses:
            value = loss(logits, labels, weight=None, ignore_index=self.ignore_index)
            if getattr(loss, "avg_non_ignore", False):
                labelled = (labels != self.ignore_index).sum(dtype=torch.float32)
                value = value * (labelled / mean_count(labelled))
            name = _loss_name(loss)
            values[name] = values[name] + value if name in values else value
        return values

    def channels_of(self, index: int) -> int:
        """Channels of the feature map at ``index``."""
        return self.in_channels if isinstance(self.in_channels, int) else self.in_channels[index]


def _build_losses(configs: dict | Sequence[dict]) -> nn.ModuleList:
    configs = [configs] if isinstance(configs, dict) else configs
    return nn.ModuleList(
        MODELS.build(config) for config in configs if config.get("loss_weight") != 0
    )


def _loss_name(loss: nn.Module) -> str:
    name = getattr(loss, "loss_name", None)
    if name is not None:
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(loss).__name__.replace("Loss", "")).lower()
    return "loss_ce" if words == "cross_entropy" else f"loss_{words}"
