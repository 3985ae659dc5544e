"""Argument checks of the public functions; each error names the argument."""

import math
from numbers import Real

import torch
from torch import Tensor


def check_shape(name: str, tensor: Tensor, shape: tuple[int | str, ...]) -> None:
    """Raise unless ``tensor`` is a tensor of this shape; a string stands for any size."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, but is {type(tensor).__name__}")
    fits = tensor.ndim == len(shape) and all(
        isinstance(want, str) or want == have
        for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(f"{name} must have shape ({wanted}), but has {tuple(tensor.shape)}")


def check_number(name: str, value: object) -> float:
    """Raise TypeError unless ``value`` is a real number; return it as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, but is {type(value).__name__}")
    return float(value)


def check_real(
    name: str, value: object, *, least: float = -math.inf, above: float = -math.inf
) -> None:
    """Raise unless ``value`` is a finite number, at least ``least`` and greater than ``above``."""
    number = check_number(name, value)
    if math.isfinite(number) and number >= least and number > above:
        return
    kind = "finite"
    if above == 0:
        kind = "positive and finite"
    elif least == 0:
        kind = "non-negative and finite"
    raise ValueError(f"{name} must be {kind}, but is {value}")


def check_floating(**tensors: Tensor | None) -> None:
    """Raise TypeError for the first tensor that is not floating point."""
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, but is {tensor.dtype}")


def check_same_device(**tensors: Tensor | None) -> None:
    """Raise ValueError unless all tensors live on one device."""
    present = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if len({tensor.device for tensor in present.values()}) > 1:
        where = ", ".join(f"{name} on {tensor.device}" for name, tensor in present.items())
        raise ValueError(f"all tensors must be on one device, but are: {where}")


def check_finite(**tensors: Tensor | None) -> None:
    """Raise ValueError for the first tensor that has a NaN or an infinity.

    The check waits for the device, so public functions offer it as an option.
    """
    for name, tensor in tensors.items():
        if tensor is None or bool(tensor.isfinite().all()):
            continue
        index = tuple((~tensor.isfinite()).nonzero()[0].tolist())
        raise ValueError(
            f"{name} must be finite, but has {int(tensor.isnan().sum())} NaN and "
            f"{int(tensor.isinf().sum())} infinite values, the first at index {index}"
        )


def check_positive(**tensors: Tensor | None) -> None:
    """Raise ValueError for the first tensor with a NaN or a value that is not above zero.

    The check waits for the device, so public functions offer it as an option.
    """
    for name, tensor in tensors.items():
        if tensor is None or bool((tensor > 0).all()):
            continue
        value, position = tensor.detach().flatten().min(0)
        index = tuple(int(i) for i in torch.unravel_index(position, tensor.shape))
        raise ValueError(
            f"{name} must be positive, but its smallest value is {value.item():g} at index {index}"
        )


def accumulation_dtype(*tensors: Tensor) -> torch.dtype:
    """Dtype of sums and level sets: float64 if a tensor is float64, else float32."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if wide else torch.float32
