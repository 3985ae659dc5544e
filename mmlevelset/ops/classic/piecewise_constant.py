"""Chan-Vese segmentation of images, compatible with scikit-image's ``chan_vese``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmlevelset.ops.checks import check_finite, check_real, check_same_device
from mmlevelset.ops.classic.getreuer_block import Parameters
from mmlevelset.ops.classic.getreuer_solver import solve
from mmlevelset.ops.classic.grid_solver import solve_on_grid
from mmlevelset.ops.classic.images import channels_first, check_count, to_tensor
from mmlevelset.ops.shapes import Spacing, read_spacing

if TYPE_CHECKING:
    from mmlevelset.ops.classic.images import Array

INITIAL = ("checkerboard", "disk", "small disk")

SQUARE = 5
"""Side of a field of the checkerboard, in pixels."""


@torch.no_grad()
def chan_vese(
    image: Array,
    mu: float = 0.25,
    lambda1: float = 1.0,
    lambda2: float = 1.0,
    tol: float = 1e-3,
    max_num_iter: int = 500,
    dt: float = 0.5,
    init_level_set: str | Array = "checkerboard",
    extended_output: bool = False,
    *,
    channel_axis: int | None = None,
    spacing: Spacing = None,
) -> Any:
    r"""Two-region segmentation without edges (Chan and Vese, IEEE Trans. Image Processing, 2001).

    Minimises

    .. math::
        E = \sum \mu\, \delta(\phi) |\nabla\phi| + \frac1C \left( \lambda_1 H(\phi) \|I - c_1\|^2
        + \lambda_2 (1 - H(\phi)) \|I - c_2\|^2 \right), \quad
        H = \frac12 + \frac1\pi \arctan \phi, \quad \delta = \frac{1}{1 + \phi^2}

    where :math:`c_1, c_2` are the mean images inside and outside. The scheme is the semi-implicit
    scheme of Getreuer (Image Processing On Line 2, 2012, eq. 22) in scikit-image's form: a step
    computes all pixels from the same phi, takes the means over sharp regions and replicates the
    border. On a grey image the mask, phi, the energies and their number are scikit-image's, up to
    rounding.

    Args:
        image: Array or tensor of any real type: grey (H, W), vector-valued (C, H, W) or a batch
            (B, C, H, W). Each image is scaled to [0, 1] by its smallest and largest value over all
            channels. With three numbers as ``spacing`` volumes (D, H, W), (C, D, H, W) or
            (B, C, D, H, W).
        mu: Weight of the length, non-negative. Small values keep small objects. In units of the
            spacing, times squared intensities.
        lambda1: Weight of the inside, non-negative.
        lambda2: Weight of the outside, non-negative.
        tol: An image is finished when the root mean square change of phi in an iteration is at most
            this number; non-negative.
        max_num_iter: Largest number of iterations.
        dt: Time step, positive.
        init_level_set: A name: ``checkerboard`` (fields of 5 x 5 pixels), ``disk`` (as wide as the
            shorter side of the image) or ``small disk`` (half as wide); in volumes fields of
            5 x 5 x 5 voxels and balls. Or a level set, positive inside, as an array or a tensor
            (H, W) or (D, H, W), for a batch also with B in front.
        extended_output: Also return phi and the energies.
        channel_axis: The axis of the channels, as in scikit-image; default: they come first. It
            must be given for a photo (H, W, 3) and for more than seven channels.
        spacing: Distances of the pixels along (H, W), or of the voxels along (D, H, W), e.g. in
            millimetres; default: an image with square pixels of side 1. The length, or the area of
            the surface, is measured in these units, and the energy is multiplied by the size of a
            pixel or voxel. Besides the image, about two arrays of its size are held.

    Returns:
        Mask of the inside ``phi > 0``, bool, (H, W) or for a batch (B, H, W): an array for an
        array, a tensor on the image's device for a tensor. With ``extended_output`` the tuple
        (mask, phi, energies). phi has the mask's shape; it is float32 for float16, bfloat16 and
        float32 images, float64 for all others. The computation is in that type, with sums in
        float64. energies is the list of the energies before each iteration, for a batch a list of B
        lists.

    Raises:
        ValueError: A shape, a number or a name is wrong, or a value is not finite.
        TypeError: An argument has the wrong type.

    Note:
        The squared distance is averaged over channels (Chan, Sandberg and Vese, J. Visual
        Communication and Image Representation 11, 2000), so equal channels give the result of a
        single channel. Each image of a batch stops by itself and gets the result that it gets
        alone. On a CUDA device the host checks for the end only every 16 iterations, which one
        launch of a CUDA graph starts where a graph can be captured. Until the check an image that
        has stopped does not change: its phi and its energies end with the first iteration that met
        ``tol``, as on a CPU. No gradient flows. The initial level set decides which of the two
        regions is the inside.

        The scheme amplifies rounding errors far from the contour, where phi is nearly flat. A
        change of the image in the last digit may move phi there by 1e-3 after some 150 iterations,
        as in scikit-image. The mask does not depend on this.

    Example:
        >>> y, x = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
        >>> disc = (x - 30) ** 2 + (y - 30) ** 2 < 15**2
        >>> mask = chan_vese(disc, mu=0.1, init_level_set="disk")
        >>> bool((mask == disc).all())
        True
    """
    parameters = _parameters(mu, lambda1, lambda2, dt, tol, max_num_iter)
    steps = read_spacing(spacing)
    dims = len(steps)
    values = _read_image(image, channel_axis, dims)
    phi = _initial_level_set(init_level_set, values, steps)
    batched = values.ndim == dims + 2
    shape = (1,) * (dims + 2 - values.ndim) + tuple(values.shape)
    scaled = _normalise(values.reshape(shape))
    phi = phi.expand(shape[0], *shape[2:])
    if spacing is None or steps == (1.0, 1.0):
        solution = solve(scaled, phi, parameters, with_energies=extended_output)
    else:
        solution = solve_on_grid(scaled, phi, parameters, steps, extended_output)
    result: Any = solution.phi if batched else solution.phi[0]
    mask = result > 0
    energies: list[list[Any]] = solution.energies
    if not isinstance(image, Tensor):
        mask, result = mask.numpy(), result.numpy()
        # scikit-image's energies are of phi's type.
        energies = [[result.dtype.type(value) for value in one] for one in energies]
    if not extended_output:
        return mask
    return mask, result, energies if batched else energies[0]


def _parameters(
    mu: float, lambda1: float, lambda2: float, dt: float, tol: float, max_num_iter: int
) -> Parameters:
    for name, value in (("mu", mu), ("lambda1", lambda1), ("lambda2", lambda2), ("tol", tol)):
        check_real(name, value, least=0)
    check_real("dt", dt, above=0)
    check_count("max_num_iter", max_num_iter)
    return Parameters(
        float(mu), float(lambda1), float(lambda2), float(dt), float(tol), int(max_num_iter)
    )


def _read_image(image: Array, channel_axis: int | None, dims: int) -> Tensor:
    """Check the image and convert it to the type of the computation."""
    values = channels_first(to_tensor("image", image), channel_axis, dims)
    check_finite(image=values)
    narrow = values.dtype in (torch.float16, torch.bfloat16, torch.float32)
    return values.to(torch.float32 if narrow else torch.float64).contiguous()


def _normalise(image: Tensor) -> Tensor:
    """Scale each image (B, C, *S) to [0, 1] over all channels; a blank image becomes zero."""
    if not len(image):
        return image
    axes = tuple(range(1, image.ndim))
    image = image - image.amin(axes, keepdim=True)
    largest = image.amax(axes, keepdim=True)
    if not bool(largest.isfinite().all()):
        raise ValueError(f"image must have a range that fits into {image.dtype}, but it overflows")
    return image / torch.where(largest > 0, largest, 1.0)


def _initial_level_set(init: str | Array, image: Tensor, steps: tuple[float, ...]) -> Tensor:
    """phi_0 (*S) or (B, *S), in the image's type and on its device."""
    dims = len(steps)
    size = tuple(image.shape[-dims:])
    if isinstance(init, str):
        phi = _named(init, size, steps, image.dtype)
    else:
        phi = to_tensor("init_level_set", init)
        if isinstance(init, Tensor):
            check_same_device(image=image, init_level_set=phi)
        fits = [size, *[(len(image), *size)] * (image.ndim == dims + 2)]
        if tuple(phi.shape) not in fits:
            wanted = " or ".join(str(shape) for shape in fits)
            raise ValueError(f"init_level_set must have shape {wanted}, but has {tuple(phi.shape)}")
    phi = phi.to(image)
    check_finite(init_level_set=phi)
    return phi


def _named(
    name: str, size: tuple[int, ...], steps: tuple[float, ...], dtype: torch.dtype
) -> Tensor:
    if name not in INITIAL:
        names = ", ".join(repr(name) for name in INITIAL)
        raise ValueError(f"init_level_set must be one of {names}, or an array, but is {name!r}")
    axes = [
        torch.arange(n, dtype=torch.float64).view(-1, *[1] * (len(size) - 1 - k))
        for k, n in enumerate(size)
    ]
    if name == "checkerboard":
        fields = [torch.sin(axis.to(dtype) * (math.pi / SQUARE)) for axis in axes]
        return math.prod(fields[1:], start=fields[0])
    middles = [(n - 1) // 2 for n in size]
    radius = min(middle * step for middle, step in zip(middles, steps, strict=True))
    if radius == 0:
        pixels = " x ".join(map(str, size))
        raise ValueError(
            f"init_level_set={name!r} needs an image of at least {' x '.join(['3'] * len(size))} "
            f"pixels, but image has {pixels}"
        )
    squares = [
        ((axis - middle) * step).square()
        for axis, middle, step in zip(axes, middles, steps, strict=True)
    ]
    distance = sum(squares[1:], start=squares[0]).sqrt()
    if name == "disk":
        return (radius - distance) / radius
    return (radius / 2 - distance) / (radius / 2 * 3)
