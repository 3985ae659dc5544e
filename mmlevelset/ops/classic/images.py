"""Images, initial level sets, options and results of the classic solvers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from mmlevelset.ops.arrays import check_array
from mmlevelset.ops.checks import check_finite, check_real, check_same_device
from mmlevelset.ops.shapes import NAMES

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray | Tensor

INITIAL = ("box", "disk", "small disk", "checkerboard")

STEP_HEIGHT = 2.0
"""A mask becomes phi = +-2 (c_0 of Li et al.), so no distance has to be computed."""

FULL_SCALE = 255.0

MOST_COLOURS = 4
"""Channels of a photo with transparency."""

MOST_CHANNELS = 7
"""More slices than that make a volume, if nothing says that they are channels."""


@dataclass(frozen=True)
class Image:
    """An image's ``values`` (B, C, H, W) in [0, 255], and its form, which the result takes."""

    values: Tensor
    batched: bool
    numpy: bool


def read_image(image: Array, channel_axis: int | None = None) -> Image:
    """Check an image, and scale it to [0, 255] by its smallest and largest value.

    The papers' settings are for eight-bit images. Scaled images of any range can use them, and
    brightness and contrast have no effect. A blank image becomes zero.
    """
    numpy = not isinstance(image, Tensor)
    values = channels_first(to_tensor("image", image), channel_axis)
    check_finite(image=values)
    narrow = values.dtype in (torch.float16, torch.bfloat16, torch.float32)
    values = values.to(torch.float32 if narrow else torch.float64)
    batched = values.ndim == 4
    values = values.reshape((1,) * (4 - values.ndim) + tuple(values.shape))
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    # Halved, because the range of finite values may overflow.
    spread = high / 2 - low / 2
    share = (values / 2 - low / 2) / torch.where(spread > 0, spread, 1.0)
    return Image(FULL_SCALE * share, batched, numpy)


def channels_first(values: Tensor, channel_axis: int | None, dims: int = 2) -> Tensor:
    """The image as (*S), (C, *S) or (B, C, *S), where S are the sizes of two or three axes.

    Without ``channel_axis`` channels come first. Few colours in the last place, or many channels in
    the first, are refused: the image is likely a photo with its colours last, or a volume.
    """
    axes = ", ".join(NAMES[dims])
    shape, extra = tuple(values.shape), values.ndim - dims
    if extra not in (0, 1, 2) or 0 in shape[-1 - dims :]:
        positive = " and ".join(("C, " + axes).rsplit(", ", 1))
        raise ValueError(
            f"image must have shape ({axes}), (C, {axes}) or (B, C, {axes}), with {positive} "
            f"positive, but has {shape}"
        )
    if channel_axis is not None:
        valid = isinstance(channel_axis, Integral) and not isinstance(channel_axis, bool)
        if not valid or not -values.ndim <= channel_axis < values.ndim:
            raise ValueError(
                f"channel_axis must be an axis of the image of shape {shape}, but is "
                f"{channel_axis!r}"
            )
        if not extra:
            raise ValueError(
                f"channel_axis must be None for an image without channels, but is {channel_axis} "
                f"for shape {shape}"
            )
        return values.movedim(int(channel_axis), extra - 1)
    if extra and shape[-1] <= MOST_COLOURS < shape[extra - 1]:
        raise ValueError(
            f"channel_axis must be given for an image of shape {shape}: -1 if the last axis holds "
            f"its colours, {extra - 1} if it has {shape[extra - 1]} channels"
        )
    if extra == 1 and dims == 2 and shape[0] > MOST_CHANNELS:
        raise ValueError(
            f"channel_axis must be 0 for an image of {shape[0]} channels, shape {shape}; a volume "
            "(D, H, W) is for chan_vese with three numbers as spacing"
        )
    return values


def initial_level_set(init: str | Array, image: Image) -> Tensor:
    """Initial level sets (B, H, W) from a name, a mask of the inside or a level set."""
    count, _, height, width = image.values.shape
    if isinstance(init, str):
        if init not in INITIAL:
            names = ", ".join(repr(name) for name in INITIAL)
            raise ValueError(f"init_level_set must be one of {names}, or an array, but is {init!r}")
        phi = _named(init, height, width).to(image.values.device)
    else:
        phi = to_tensor("init_level_set", init)
        if isinstance(init, Tensor):
            check_same_device(image=image.values, init_level_set=phi)
        fits = [(height, width)] + [(count, height, width)] * image.batched
        if tuple(phi.shape) not in fits:
            wanted = " or ".join(str(shape) for shape in fits)
            raise ValueError(f"init_level_set must have shape {wanted}, but has {tuple(phi.shape)}")
        # Integers of NumPy are floating point by now.
        whole = getattr(init.dtype, "kind", "") in ("i", "u") or not phi.is_floating_point()
        if whole and phi.dtype != torch.bool:
            raise TypeError(
                "init_level_set must be bool (a mask) or floating point (a level set), but is "
                f"{init.dtype}"
            )
        phi = phi.to(image.values.device)
    if phi.dtype == torch.bool:
        phi = STEP_HEIGHT * (2.0 * phi - 1.0)
    phi = phi.to(image.values.dtype)
    check_finite(init_level_set=phi)
    # A copy, so that zero iterations do not return the caller's array.
    return phi.expand(count, height, width).clone(memory_format=torch.contiguous_format)


def give_result(image: Image, phi: Tensor, energies: list[list[float]], extended: bool) -> Any:
    """The mask, or (mask, phi, energies), in the form of the image."""

    def convert(tensor: Tensor) -> Array:
        return tensor.cpu().numpy() if image.numpy else tensor

    if not image.batched:
        phi = phi[0]
    mask = convert(phi > 0)
    if not extended:
        return mask
    return mask, convert(phi), energies if image.batched else energies[0]


def check_loop(tol: float, max_num_iter: int, mu: float, dt: float) -> None:
    """Check the options of all solvers, and that the step of the distance term is stable."""
    check_real("mu", mu, least=0)
    check_real("dt", dt, above=0)
    check_real("tol", tol, least=0)
    check_count("max_num_iter", max_num_iter)
    if mu * dt >= 0.25:
        raise ValueError(f"dt must be less than 1 / (4 mu) = {0.25 / mu:g}, but is {dt}")


def check_count(name: str, value: int) -> None:
    """Raise unless ``value`` is an integer that is not negative."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, but is {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must be non-negative, but is {value}")


def to_tensor(name: str, array: Array) -> Tensor:
    """The values as a tensor: NumPy floats up to 32 bits as float32, other numbers as float64."""
    if isinstance(array, Tensor):
        if array.is_complex():
            raise TypeError(f"{name} must be real, but is {array.dtype}")
        return array.detach()
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array or a tensor, but is {type(array).__name__}")
    check_array(name, array)
    kind, size = array.dtype.kind, array.dtype.itemsize
    wanted = np.bool_ if kind == "b" else np.float32 if kind == "f" and size <= 4 else np.float64
    # A copy, because torch refuses other byte orders, negative strides and read-only memory.
    return torch.from_numpy(np.array(array, dtype=wanted, order="C"))


def _named(name: str, height: int, width: int) -> Tensor:
    y = torch.arange(height)[:, None]
    x = torch.arange(width)
    if name == "box":
        margin_y, margin_x = max(1, height // 10), max(1, width // 10)
        rows = (y >= margin_y) & (y < height - margin_y)
        return rows & (x >= margin_x) & (x < width - margin_x)
    if name == "checkerboard":
        return torch.sin(math.pi / 5 * y) * torch.sin(math.pi / 5 * x) > 0
    radius = min(height, width) / (4 if name == "small disk" else 2)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    return (y - middle_y) ** 2 + (x - middle_x) ** 2 < radius**2
