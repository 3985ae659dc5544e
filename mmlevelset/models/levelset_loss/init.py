"""Initial weights from files or URLs, with an error where nothing could be loaded."""

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
    """mmengine's ``Pretrained``, with a clear error where it fails or would load nothing.

    Written ``init_cfg=dict(type="mmlevelset.Pretrained", checkpoint=...)``. Weights of the
    checkpoint without a counterpart in the module, and the other way round, are logged. The
    module's parts are initialised before, so that nothing overwrites what was loaded.

    Args:
        checkpoint: File or URL of a state dict, or of a checkpoint that has one as ``state_dict``.
            torchvision's files are at ``https://download.pytorch.org/models/``.
        prefix: Only the weights whose names start so are taken, and the prefix is removed:
            ``backbone`` for the backbone of a whole model.
        map_location: Device that the checkpoint is read to.
        option: Where the checkpoint stands in a model's config, for the error's advice; default:
            the backbone's.

    Raises:
        OSError: The checkpoint cannot be read.
        ValueError: None of its weights fits the module.
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
                f" {type(module).__name__}, which needs {_shapes(own)}; it has {_shapes(weights)}"
            )
        load_state_dict(module, weights, strict=False, logger="current")
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())

    def convert(self, weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """The checkpoint's weights as the module names and shapes them."""
        return weights

    def _read(self, module: nn.Module) -> dict[str, Tensor]:
        try:
            checkpoint = CheckpointLoader.load_checkpoint(
                str(self.checkpoint), self.map_location, logger="current"
            )
        except (OSError, RuntimeError, EOFError, UnpicklingError, ImportError, KeyError) as error:
            raise OSError(
                f"init_cfg.checkpoint {self.checkpoint!r} of {type(module).__name__} cannot be"
                f" read ({type(error).__name__}: {error}). Without a network, download it elsewhere"
                f" and pass, as a rule, --cfg-options {self.option}=FILE"
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
    """Initialises :class:`LargeFOVHead` from the fully connected layers of an ImageNet VGG.

    DeepLab's decimation (Chen et al., ICLR 2015, section 3.1): fc6, a 7x7 convolution over pool5,
    keeps the evenly spaced taps of its smaller kernel (0, 3 and 6 for 3x3), and fc6 and fc7 keep
    every 4th of their 4096 channels for 1024.

    Args:
        checkpoint: File or URL of VGG in torchvision's layout, with ``classifier.0`` and
            ``classifier.3``.
        prefix: See :class:`Pretrained`.
        map_location: See :class:`Pretrained`.
        option: See :class:`Pretrained`; default: the decode head's.

    Raises:
        OSError: The checkpoint cannot be read.
        TypeError: The module has no convolutions ``fc6`` and ``fc7``.
        ValueError: The checkpoint has no such layers, or they do not fit the module.
    """

    option = "model.decode_head.init_cfg.checkpoint"

    def convert(self, weights: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """``classifier.0`` and ``classifier.3`` as ``fc6`` and ``fc7``."""
        for name in ("fc6", "fc7"):
            if not isinstance(getattr(module, name, None), nn.Conv2d):
                raise TypeError(
                    f"DecimatedVGG initialises the convolutions fc6 and fc7 of a LargeFOVHead, but"
                    f" {type(module).__name__} has no {name}"
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
                f"fc6 of {type(module).__name__} has {in_channels} input and {channels} output"
                f" channels, which must be those of classifier.0 in init_cfg.checkpoint"
                f" {self.checkpoint!r}, {fc6.shape[1] // 49} and a divisor of {fc6.shape[0]}"
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
