"""Region statistics of the Chan-Vese model: means inside and outside, and the energy."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from mmlevelset.ops import checks
from mmlevelset.ops.arrays import takes_arrays
from mmlevelset.ops.shapes import Spacing, flat, lead, read_spacing
from mmlevelset.ops.transforms import under_transforms, without_derivative

MINIMUM_AREA = 1e-5
"""Smallest divisor of a region's sums, in pixels, so that empty regions have finite means."""


@takes_arrays
def region_means(
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None = None,
    *,
    spacing: Spacing = None,
    check_finite: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Mean feature inside and outside (Chan and Vese 2001; LevelSet R-CNN eq. 9).

    :math:`c_1 = \sum B H F / \sum B H` and :math:`c_2 = \sum B (1-H) F / \sum B (1-H)`.

    Args:
        features: F, (M, C, H, W), or (C, H, W) shared by all regions; floating point, a tensor or a
            NumPy array. float64 features may be as large as 1e150, others have any finite value.
        inside: H, soft indicators (M, H, W) in [0, 1], floating point. Instead of M any number of
            leading dimensions, also none.
        domain: B, non-negative weights (M, H, W), e.g. a box per region; default: all ones.
        spacing: Three numbers say that the regions are volumes (M, D, H, W) in features
            (M, C, D, H, W) or (C, D, H, W). Their values have no effect on means.
        check_finite: Raise if an argument holds a NaN or an infinity; waits for the device.

    Returns:
        c1 and c2, each (M, C); float32, or float64 if an argument is float64. Sums are held in
        float64. An area below ``MINIMUM_AREA`` is replaced by this value: the mean of an empty
        region is 0, and no gradient flows through its area.

    Raises:
        ValueError: A shape or a device is wrong, or ``check_finite`` found a NaN or an infinity.
        TypeError: An argument is not a floating-point tensor.

    Example:
        >>> image, inside = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), torch.tensor([[[1.0, 1, 0, 0]]])
        >>> region_means(image, inside)
        (tensor([[1.5000]]), tensor([[3.5000]]))
    """
    dims = len(read_spacing(spacing))
    dtype = _check(dims, features, inside, domain)
    if check_finite:
        checks.check_finite(features=features, inside=inside, domain=domain)
    channels = features.shape[-1 - dims]
    sums = _sums(*_as_rows(dims, features, inside, domain), None, False)
    means = sums[..., :channels] / sums[..., channels:].clamp(min=MINIMUM_AREA)
    first, second = means.to(dtype).unbind(1)
    leading = inside.shape[: inside.ndim - dims]
    return first.reshape(*leading, channels), second.reshape(*leading, channels)


@takes_arrays
def region_energy(
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None = None,
    lambda1: float | Tensor = 1.0,
    lambda2: float | Tensor = 1.0,
    *,
    spacing: Spacing = None,
    check_finite: bool = False,
) -> Tensor:
    r"""Chan-Vese region energy (LevelSet R-CNN eq. 6, without the length).

    :math:`E = \sum B (\lambda_1 H \|F-c_1\|^2 + \lambda_2 (1-H) \|F-c_2\|^2)`, summed over channels
    and pixels, with the optimal means.

    One matrix product gives the sums of :math:`BH`, :math:`BHF` and :math:`BH\|F\|^2` of all
    regions, and one product gives the gradient of each argument. A contiguous argument is not
    copied, and no tensor has the size (M, C, H, W) when the regions share their features. The
    expanded square cancels where features vary little about a large mean. So products and sums are
    held in float64, whatever the arguments, autocast and TensorFloat-32 settings are.

    Args:
        features: F, (M, C, H, W), or (C, H, W) shared by all regions; floating point, a tensor or a
            NumPy array. float64 features may be as large as 1e150, others have any finite value.
        inside: H, soft indicators (M, H, W) in [0, 1], floating point. Instead of M any number of
            leading dimensions, also none.
        domain: B, non-negative weights (M, H, W); default: all ones.
        lambda1: Weight of the inside, non-negative, a number or (M,).
        lambda2: Weight of the outside, non-negative, a number or (M,).
        spacing: Distances of the pixels along (H, W): the energy is multiplied by the area of a
            pixel. Or distances of the voxels along (D, H, W), for regions (M, D, H, W) in features
            (M, C, D, H, W) or (C, D, H, W): the energy is multiplied by the volume of a voxel.
        check_finite: Raise if an argument holds a NaN or an infinity; waits for the device.

    Returns:
        Energies (M,), not negative; float32, or float64 if an argument is float64. Gradients reach
        features, inside, domain and the weights, also where the energy is 0. A gradient beyond the
        range of its argument's type is infinite. The rounding error is at most about 1e-13 of the
        energy of one constant, the mean of F over the map. The means are
        :math:`c = a + \sum w (F-a) / \max(\sum w, A)`, where a is the mean of F over the map and A
        is ``MINIMUM_AREA``. So an empty region has energy 0, and no gradient flows through an area
        below A.

    Raises:
        ValueError: A shape, a device or a weight is wrong, or ``check_finite`` found a NaN or an
            infinity.
        TypeError: An argument is not a floating-point tensor, or a weight is not a number.
        RuntimeError: A second derivative is requested.

    Example:
        >>> image, box = torch.zeros(3, 8, 8), torch.ones(1, 8, 8)
        >>> image[:, 2:6, 2:6] = 1
        >>> region_energy(image, torch.full((1, 8, 8), 0.5), box)  # 48 x (1/4)^2 + 16 x (3/4)^2
        tensor([36.])
        >>> region_energy(image, image[:1], box)
        tensor([0.])
    """
    steps = read_spacing(spacing)
    dims = len(steps)
    dtype = _check(dims, features, inside, domain, lambda1=lambda1, lambda2=lambda2)
    if check_finite:
        named = ("lambda1", lambda1), ("lambda2", lambda2)
        weights = {name: weight for name, weight in named if isinstance(weight, Tensor)}
        checks.check_finite(features=features, inside=inside, domain=domain, **weights)
    channels = features.shape[-1 - dims]
    rows = _as_rows(dims, features, inside, domain)
    # Only the clamped area makes the result depend on the centre, so the centre needs no gradient.
    # Sums of huge float32 features would be infinite.
    centre = rows[0].detach().mean((-2, -1), dtype=torch.float64)
    sums = _sums(*rows, centre, True)
    first, area, square = sums.split([channels, 1, 1], 2)
    means = first / area.clamp(min=MINIMUM_AREA)
    energy = square[..., 0] - ((2 * first - area * means) * means).sum(2)
    # Rounding can make the energy negative. A clamp would take the gradient from it.
    energy = energy + (energy.clamp(min=0) - energy).detach()
    energy = energy.view(*inside.shape[: inside.ndim - dims], 2)
    total = lambda1 * energy[..., 0] + lambda2 * energy[..., 1]
    return (math.prod(steps) * total).to(dtype)


def _check(
    dims: int,
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None,
    **weights: float | Tensor,
) -> torch.dtype:
    """Check the arguments and return the dtype of the result."""
    leading = lead("inside", inside, dims)
    shape = tuple(inside.shape)
    grid = shape[len(leading) :]
    if isinstance(features, Tensor) and features.ndim == dims + 1:
        checks.check_shape("features", features, ("C", *grid))
    else:
        checks.check_shape("features", features, (*leading, "C", *grid))
    if domain is not None:
        checks.check_shape("domain", domain, shape)
    tensors = {"features": features, "inside": inside, "domain": domain}
    for name, weight in weights.items():
        if isinstance(weight, Tensor):
            if weight.ndim or weight.device != inside.device:
                checks.check_shape(name, weight, leading)
            tensors[name] = weight
        elif isinstance(weight, bool) or not isinstance(weight, Real):
            kind = type(weight).__name__
            raise TypeError(f"{name} must be a number or a tensor, but is {kind}")
        elif not 0 <= weight < math.inf:
            raise ValueError(f"{name} must be non-negative and finite, but is {weight}")
    checks.check_floating(**tensors)
    checks.check_same_device(**tensors)
    return checks.accumulation_dtype(*(t for t in tensors.values() if t is not None))


def _as_rows(
    dims: int, features: Tensor, inside: Tensor, domain: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features (C, Y, X) or (M, C, Y, X), and maps (M, Y, X): a volume is an image of D H rows."""

    def rows(tensor: Tensor, kept: int) -> Tensor:
        tensor = flat(tensor, dims + kept)
        return tensor.flatten(1 + kept, 2 + kept) if dims == 3 else tensor

    if features.ndim == dims + 1:
        features = rows(features, 1)[0]
    else:
        features = rows(features, 1)
    return features, rows(inside, 0), None if domain is None else rows(domain, 0)


@torch.library.custom_op("mmlevelset::region_sums", mutates_args=())
def _region_sums(
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None,
    centre: Tensor | None,
    squares: bool,
) -> Tensor:
    """Sums of F - centre, 1 and, with ``squares``, |F - centre|^2, weighted by BH and by B(1-H).

    The result is (M, 2, C+1), or (M, 2, C+2) with ``squares``, float64. The centre gets no
    gradient.
    """
    features, inside, domain = _flat(features, inside, domain)
    columns = features.shape[-2] + 1 + squares
    sums = features.new_zeros(len(inside), 2, columns, dtype=torch.float64)
    for piece in _pieces(features, inside):
        weights = piece.weights(inside, domain).flatten(1, 2)
        products = weights @ piece.columns(features, centre, squares).transpose(1, 2)
        piece.add(sums, products.unflatten(1, (2, -1)))
    return sums


@_region_sums.register_fake
def _(features, inside, domain, centre, squares):
    columns = features.shape[-3] + 1 + squares
    return features.new_empty(inside.shape[0], 2, columns, dtype=torch.float64)


@torch.library.custom_op("mmlevelset::region_sums_backward", mutates_args=())
def _region_sums_backward(
    grad: Tensor,
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None,
    centre: Tensor | None,
    squares: bool,
    needs_features: bool,
    needs_inside: bool,
    needs_domain: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of features, inside and domain; a gradient that is not needed has no elements."""
    needs = needs_features, needs_inside, needs_domain
    grads = _empty_gradients(features, inside, domain, *needs)
    if len(inside) == 0:
        grads[0].zero_()
    features, inside, domain = _flat(features, inside, domain)
    grad_features, grad_inside, grad_domain = (g.flatten(-2) for g in grads)
    channels = features.shape[-2]
    for piece in _pieces(features, inside):
        columns = piece.columns(features, centre, squares)
        slopes = piece.regions_of(grad)
        if needs_features:
            weights = piece.weights(inside, domain).flatten(1, 2)
            by_column = slopes.flatten(1, 2).transpose(1, 2) @ weights
            by_feature = by_column[:, :channels]
            if squares:
                by_square = by_column[:, channels + 1, None]
                by_feature.addcmul_(columns[:, :channels], by_square, value=2)
            piece.features(grad_features).copy_(by_feature)
        if needs_inside or needs_domain:
            by_inside = (slopes[:, 0] - slopes[:, 1]) @ columns
            if needs_domain:
                share = piece.maps(inside).double()
                by_domain = torch.addcmul(slopes[:, 1] @ columns, by_inside, share)
                piece.maps(grad_domain).copy_(by_domain)
            if needs_inside:
                if domain is not None:
                    by_inside = by_inside * piece.maps(domain)  # in float64: no overflow here
                piece.maps(grad_inside).copy_(by_inside)
    return grads


@_region_sums_backward.register_fake
def _(grad, features, inside, domain, centre, squares, *needs):
    return _empty_gradients(features, inside, domain, *needs)


def _empty_gradients(
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None,
    needs_features: bool,
    needs_inside: bool,
    needs_domain: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    domain = inside if domain is None else domain
    return (
        features.new_empty(features.shape if needs_features else (0, 0)),
        inside.new_empty(inside.shape if needs_inside else (0, 0)),
        domain.new_empty(domain.shape if needs_domain else (0, 0)),
    )


def _setup_context(ctx, inputs, output):
    *tensors, ctx.squares = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):
    needs = ctx.needs_input_grad[:3]
    grads = _sums_backward(grad, *ctx.saved_tensors, ctx.squares, *needs)
    return *(g if need else None for g, need in zip(grads, needs, strict=True)), None, None


_region_sums.register_autograd(_backward, setup_context=_setup_context)
_NAME = "the mean or the energy of a region"
_sums_backward = without_derivative(_NAME, _region_sums_backward)
_sums = under_transforms(_NAME, _region_sums, _setup_context, _backward)


def _flat(
    features: Tensor, inside: Tensor, domain: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    return features.flatten(-2), inside.flatten(1), None if domain is None else domain.flatten(1)


@dataclass(frozen=True)
class _Piece:
    """Some pixels of all regions if the regions share their features, else of some regions.

    Products are batched. Regions with features of their own form the batch. If the regions share
    features, segments of the pixels form the batch: one product with few rows and columns and very
    many pixels would use a small part of a GPU.
    """

    shared: bool
    regions: slice
    pixels: slice
    segments: int

    def maps(self, maps: Tensor) -> Tensor:
        """View (batch, regions, pixels) of (M, P)."""
        if self.shared:
            return self._segmented(maps)
        return maps[self.regions, None, self.pixels]

    def features(self, features: Tensor) -> Tensor:
        """View (batch, C, pixels) of (C, P) or (M, C, P)."""
        if self.shared:
            return self._segmented(features)
        return features[self.regions, :, self.pixels]

    def _segmented(self, rows: Tensor) -> Tensor:
        return rows[:, self.pixels].unflatten(1, (self.segments, -1)).transpose(0, 1)

    def weights(self, inside: Tensor, domain: Tensor | None) -> Tensor:
        """BH and B(1-H), (batch, 2, regions, pixels), float64."""
        some = self.maps(inside)
        batch, regions, pixels = some.shape
        weights = some.new_empty(batch, 2, regions, pixels, dtype=torch.float64)
        first, second = weights.unbind(1)
        first.copy_(some)
        if domain is None:
            second.fill_(1)
        else:
            second.copy_(self.maps(domain))
            first.mul_(second)
        second.sub_(first)
        return weights

    def columns(self, features: Tensor, centre: Tensor | None, squares: bool) -> Tensor:
        """F - centre, 1 and, with ``squares``, |F - centre|^2: (batch, C+1 or C+2, pixels)."""
        some = self.features(features)
        batch, channels, pixels = some.shape
        columns = some.new_empty(batch, channels + 1 + squares, pixels, dtype=torch.float64)
        columns[:, :channels] = some
        if centre is not None:
            columns[:, :channels] -= (centre if self.shared else centre[self.regions])[..., None]
        columns[:, channels] = 1
        if squares:
            columns[:, channels + 1] = columns[:, :channels].square().sum(1)
        return columns

    def add(self, sums: Tensor, products: Tensor) -> None:
        """Add (batch, 2, regions, columns) to (M, 2, columns)."""
        sums[self.regions] += products.sum(0).transpose(0, 1) if self.shared else products[:, :, 0]

    def regions_of(self, sums: Tensor) -> Tensor:
        """View (batch or 1, 2, regions, columns) of (M, 2, columns)."""
        return sums.transpose(0, 1)[None] if self.shared else sums[self.regions, :, None]


def _limits(device: torch.device) -> tuple[int, int | None]:
    """Elements of the largest temporary tensor, and pixels in a segment (None: all)."""
    # On a CPU such a tensor fits into the cache; on a GPU it is small beside the regions' maps.
    return (2**19, None) if device.type == "cpu" else (2**22, 2048)


def _pieces(features: Tensor, inside: Tensor) -> Iterator[_Piece]:
    count, pixels = inside.shape
    if count == 0:
        return
    numbers, segment = _limits(inside.device)
    if features.ndim == 2:
        length = max(numbers // (2 * count), segment or 1024)
        start = 0
        while start < pixels:
            ahead = min(length, pixels - start)
            # Pixels that fill no segment come last, in a piece of their own.
            segments = max(1, ahead // segment) if segment else 1
            stop = start + (segments * segment if segment and ahead >= segment else ahead)
            yield _Piece(True, slice(None), slice(start, stop), segments)
            start = stop
        return
    channels = max(1, features.shape[1])
    regions = max(1, numbers // max(1, channels * pixels))
    length = max(numbers // channels, 1024)
    for first in range(0, count, regions):
        for start in range(0, pixels, length):
            some = slice(start, min(start + length, pixels))
            yield _Piece(False, slice(first, first + regions), some, 1)
