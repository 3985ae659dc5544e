"""Initial weights from files or URLs, with an error if nothing was loaded."""

from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.model import PretrainedInit, update_init_info
from mmengine.runner.checkpoint import CheckpointLoader, load_state_dict
from torch import Tensor, nn

from mmlevelset.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class Pretrained(PretrainedInit):
    """mmengine's ``Pretrained`` with an error if the checkpoint cannot be read or no weight fits.

    In a config: ``init_cfg=dict(type="mmlevelset.Pretrained", checkpoint=...)``. Weights that only
    the checkpoint has, or only the module, are logged. The module's children are initialised
    first, so that their initialisation does not overwrite loaded weights.

    Args:
        checkpoint: File or URL of a state dict, or of a checkpoint with the key ``state_dict``.
            torchvision's files are at ``https://download.pytorch.org/models/``.
        prefix: Load only the weights whose names start with this prefix, without the prefix. For
            example ``backbone`` loads the backbone of a whole model.
        map_location: Device on which the checkpoint is loaded.
        option: Config key of the checkpoint, named in the error message. Default: the key of the
            backbone's checkpoint.

    Raises:
        OSError: The checkpoint cannot be read.
        ValueError: No weight of the checkpoint fits the module.
    """

    option = "model.backbone.init_cfg.checkpoint"

    def __init__(
        self,
        checkpoint: str,
        prefix: str | None = None,
        map_location: str = "cpu",
        option: str | None = None,
    ) -> None:
        super().__init__(checkpoint, prefix, map_location)
        self.option = option or self.option

    def __call__(self, module: nn.Module) -> None:
        """Initialise a module in place."""
        child: Any
        for child in module.children():
            if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
                child.init_weights()
                child.is_init = True
        weights = self.convert(self._read(module), module)
        own = module.state_dict()
        if not any(key in own and own[key].shape == weights[key].shape for key in weights):
            of_prefix = "" if self.prefix is None else f" with prefix {self.prefix!r}"
            raise ValueError(
                f"init_cfg.checkpoint {self.checkpoint!r}{of_prefix} has no weight that fits"
                f" {type(module).__name__}: the module needs {_shapes(own)}, the checkpoint has"
                f" {_shapes(weights)}"
            )
        load_state_dict(module, weights, strict=False, logger="current")
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())

    def convert(self, weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Return the checkpoint's weights with the names and shapes of the module."""
        return weights

    def _read(self, module: nn.Module) -> dict[str, Tensor]:
        try:
            checkpoint = CheckpointLoader.load_checkpoint(
                str(self.checkpoint), self.map_location, logger="current"
            )
        except (OSError, RuntimeError, EOFError, UnpicklingError, ImportError, KeyError) as error:
            raise OSError(
                f"init_cfg.checkpoint {self.checkpoint!r} of {type(module).__name__} cannot be"
                f" read ({type(error).__name__}: {error}). Without a network, download the file"
                f" elsewhere and pass, in most configs, --cfg-options {self.option}=FILE"
            ) from error
        if not isinstance(checkpoint, Mapping):
            raise ValueError(
                f"init_cfg.checkpoint {self.checkpoint!r} must be a state dict, but is a"
                f" {type(checkpoint).__name__}"
            )
        weights = {
            key.removeprefix("module."): value
            for key, value in checkpoint.get("state_dict", checkpoint).items()
            if isinstance(value, Tensor)
        }
        if self.prefix is None:
            return weights
        prefix = self.prefix.removesuffix(".") + "."
        return {
            key.removeprefix(prefix): value
            for key, value in weights.items()
            if key.startswith(prefix)
        }


@WEIGHT_INITIALIZERS.register_module()
class DecimatedVGG(Pretrained):
    """Initial weights of :class:`LargeFOVHead` from the fully connected layers of an ImageNet VGG.

    VGG's fc6 is a 7x7 convolution over pool5. DeepLab's decimation keeps evenly spaced taps of the
    7x7 kernel (0, 3 and 6 for a 3x3 kernel) and evenly spaced channels of fc6 and fc7 (every 4th
    of 4096 for 1024).

    Args:
        checkpoint: File or URL of VGG in torchvision's layout, with ``classifier.0`` and
            ``classifier.3``.
        prefix: See :class:`Pretrained`.
        map_location: See :class:`Pretrained`.
        option: See :class:`Pretrained`. Default: the key of the decode head's checkpoint.

    Raises:
        OSError: The checkpoint cannot be read.
        TypeError: The module has no convolutions ``fc6`` and ``fc7``.
        ValueError: The checkpoint has no fully connected layers, or they do not fit the module.

    Reference:
        Chen et al., ICLR 2015, section 3.1.
    """

    option = "model.decode_head.init_cfg.checkpoint"

    def convert(self, weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Return ``classifier.0`` and ``classifier.3``, decimated, as ``fc6`` and ``fc7``."""
        for name in ("fc6", "fc7"):
            if not isinstance(getattr(module, name, None), nn.Conv2d):
                raise TypeError(
                    f"DecimatedVGG needs a module with the convolutions fc6 and fc7, such as"
                    f" LargeFOVHead, but {type(module).__name__} has no {name}"
                )
        names = [f"classifier.{layer}.{kind}" for layer in (0, 3) for kind in ("weight", "bias")]
        missing = [name for name in names if name not in weights]
        if missing:
            raise ValueError(
                f"init_cfg.checkpoint {self.checkpoint!r} must have the fully connected layers of"
                f" a VGG in torchvision's layout, but has no {', '.join(missing)}"
            )
        fc6, bias6, fc7, bias7 = (weights[name] for name in names)
        channels, in_channels, size, _ = module.state_dict()["fc6.weight"].shape
        if fc6.shape[1] != in_channels * 49 or fc6.shape[0] % channels:
            raise ValueError(
                f"fc6 of {type(module).__name__} must have {fc6.shape[1] // 49} input channels, and"
                f" a divisor of {fc6.shape[0]} as output channels, to fit classifier.0 of"
                f" init_cfg.checkpoint {self.checkpoint!r}, but has {in_channels} and {channels}"
            )
        step = fc6.shape[0] // channels
        taps = torch.linspace(0, 6, size).round().long() if size > 1 else torch.tensor([3])
        kernels = fc6[::step].reshape(channels, in_channels, 7, 7)
        return {
            "fc6.weight": kernels[:, :, taps][:, :, :, taps],
            "fc6.bias": bias6[::step],
            "fc7.weight": fc7[::step, ::step, None, None],
            "fc7.bias": bias7[::step],
        }


def _shapes(weights: Mapping[str, Tensor], most: int = 3) -> str:
    listed = [f"{key} {tuple(value.shape)}" for key, value in list(weights.items())[:most]]
    more = len(weights) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "") if listed else "none"
