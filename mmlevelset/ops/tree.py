"""The tree filter: smoothing along the minimum spanning tree of a map's pixels."""

import functools
import importlib
import math
import warnings
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from mmlevelset.ops import checks, tree_torch
from mmlevelset.ops.arrays import takes_arrays
from mmlevelset.ops.kernels import triton_obstacle
from mmlevelset.ops.transforms import under_transforms, without_derivative


class Tree(NamedTuple):
    """Spanning trees of the pixels of B maps; the root is pixel 0, the top left pixel.

    Pixels are numbered row by row. Functions do not check that the contents are a tree: make trees
    with :func:`minimum_spanning_tree`.

    Attributes:
        parent: Parent of each pixel (B, H, W), int64; the root is its own parent.
        order: Pixels in depth-first order (B, H * W), int64: the root comes first, and the
            descendants of a pixel follow directly after it.
        height: Number of edges from the root to the deepest pixel (B,), int64.
    """

    parent: Tensor
    order: Tensor
    height: Tensor


@takes_arrays
def minimum_spanning_tree(guide: Tensor, *, backend: str = "auto") -> Tree:
    """Minimum spanning trees of the 4-connected pixels of maps (Song et al. 2019).

    The weight of an edge is the squared distance of its two pixels' features. Edges of equal weight
    rank by their number: horizontal edges first, then vertical edges, both row by row. So the tree
    is unique, and the same on all devices and backends.

    Args:
        guide: Features (B, C, H, W), or (C, H, W) of a single map; floating point, a tensor or a
            NumPy array, with C, H and W at least 1. Half precision is computed in float32. Edges of
            NaN features come last.
        backend: ``numba``: Kruskal's algorithm on a CPU, compiled by Numba at the first call.
            ``triton``: Boruvka's algorithm in Triton kernels, on CUDA, not for float64; the host
            never waits. ``torch``: Boruvka's algorithm in plain PyTorch, on any device. ``auto``:
            Numba or Triton where they can run, else PyTorch.

    Returns:
        A :class:`Tree` of B trees, or of one tree without B for (C, H, W). No gradient flows
        through it.

    Raises:
        ValueError: The shape of ``guide`` or the backend is wrong.
        TypeError: ``guide`` is not a floating-point tensor.
        RuntimeError: ``backend="numba"`` or ``backend="triton"`` cannot run.

    Example:
        >>> minimum_spanning_tree(torch.tensor([[[[0.0, 0.0, 9.0], [5.0, 1.0, 8.0]]]])).parent
        tensor([[[0, 0, 5],
                 [4, 1, 4]]])
    """
    if isinstance(guide, Tensor) and guide.ndim == 3:
        tree = minimum_spanning_tree(guide[None], backend=backend)
        return Tree(*(part[0] for part in tree))
    checks.check_shape("guide", guide, ("B", "C", "H", "W"))
    checks.check_floating(guide=guide)
    if 0 in guide.shape[1:]:
        raise ValueError(
            f"guide must have at least one channel and pixel, but has shape {tuple(guide.shape)}"
        )
    _check_backend(backend, guide)
    dtype = checks.accumulation_dtype(guide)
    return Tree(*_spanning_tree(guide.detach().to(dtype), backend))


@takes_arrays
def tree_filter(
    x: Tensor, tree: Tree, guide: Tensor, sigma: float | None = None, *, backend: str = "auto"
) -> Tensor:
    r"""Maps filtered along spanning trees (Song et al. 2019).

    .. math::
        y_i = \sum_j S_{ij} x_j \Big/ \sum_j S_{ij}, \quad
        S_{ij} = \prod_{e \in \mathrm{path}(i, j)} \exp(-d_e / \sigma)

    where :math:`d_e` is the squared distance of the guide's features at the two ends of the tree's
    edge e.

    Args:
        x: Maps (B, K, H, W), or (K, H, W) with a tree and a guide without B; floating point, a
            tensor or a NumPy array. The K maps of an image share its tree.
        tree: B trees of H by W pixels, from :func:`minimum_spanning_tree`.
        guide: Features (B, C, H, W) for the weights, floating point; the tree may come from others.
        sigma: Scale of the squared distances, positive; None means 1.
        backend: ``numba``: two sweeps in linear time on a CPU, compiled by Numba at the first call.
            ``torch``: pointer doubling in plain PyTorch, on any device; sums towards the root are
            held in fixed point, so each run gives the same result, with a resolution of at worst
            V 2^-59 of the largest value of a map of V pixels. ``triton``: the same in Triton
            kernels, on CUDA, not for float64; the host never waits. ``auto``: Numba or Triton where
            they can run, else PyTorch.

    Returns:
        Maps in the shape of x; float32, or float64 if ``x`` or ``guide`` is float64. Gradients
        reach ``x`` and ``guide``.

    Raises:
        ValueError: A shape, a device, ``sigma`` or the backend is wrong.
        TypeError: ``x`` or ``guide`` is not a floating-point tensor, ``tree`` is not a
            :class:`Tree` of int64 tensors, or ``sigma`` is not a number.
        RuntimeError: ``backend="numba"`` or ``backend="triton"`` cannot run, or a second derivative
            is requested.

    Example:
        >>> image = torch.tensor([[[[0.0, 0.0, 9.0, 9.0]]]])
        >>> tree_filter(image.new_tensor([[[[0, 1, 2, 4]]]]), minimum_spanning_tree(image), image)
        tensor([[[[0.5000, 0.5000, 3.0000, 3.0000]]]])
    """
    if not isinstance(tree, Tree):
        raise TypeError(f"tree must be a Tree, but is {type(tree).__name__}")
    if isinstance(x, Tensor) and x.ndim == 3:
        if not isinstance(guide, Tensor) or guide.ndim != 3:
            checks.check_shape("guide", guide, ("C", *x.shape[1:]))
        one = Tree(*(part[None] for part in tree))
        return tree_filter(x[None], one, guide[None], sigma, backend=backend)[0]
    _check(x, tree, guide, sigma)
    _check_backend(backend, x)
    dtype = checks.accumulation_dtype(x, guide)
    distance = _tree_distances(guide.to(dtype), tree.parent)
    weight = torch.exp(distance / -(1.0 if sigma is None else float(sigma)))
    result, _ = _filtering(
        x.to(dtype).flatten(2),
        weight,
        tree.parent.flatten(1),
        tree.order,
        tree.height,
        backend,
    )
    return result.unflatten(2, x.shape[2:])


def _tree_distances(guide: Tensor, parent: Tensor) -> Tensor:
    """Squared feature distances (B, V) of pixels to their parents; the root's has no meaning.

    Each pixel takes its entry from the distances of all neighbours, and no two pixels share an
    entry. If the parents' features were gathered instead, their gradients would be sums in no fixed
    order.
    """
    height, width = parent.shape[1:]
    right = (guide[..., 1:] - guide[..., :-1]).square().sum(1)
    down = (guide[..., 1:, :] - guide[..., :-1, :]).square().sum(1)
    all_edges = torch.stack((pad(right, (0, 1)), pad(down, (0, 0, 0, 1))), 1).flatten(1)
    pixel = torch.arange(height * width, device=guide.device)
    parent = parent.flatten(1)
    vertical = (parent - pixel).abs() == width
    return all_edges.gather(1, torch.minimum(parent, pixel) + height * width * vertical)


@torch.library.custom_op("mmlevelset::minimum_spanning_tree", mutates_args=())
def _spanning_tree(guide: Tensor, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    """Parents (B, H, W), order (B, H * W) and height (B,)."""
    height, width = guide.shape[2:]
    name = _resolve(backend, guide)
    module = _module(name)
    if name == "triton":  # its kernels compute the weights themselves
        parent, order, heights = module.spanning_tree(guide)
    else:
        parent, order, heights = module.spanning_tree(_edge_weights(guide), height, width)
    return parent.unflatten(1, (height, width)), order, heights


@_spanning_tree.register_fake
def _(guide, backend):
    batch, _, height, width = guide.shape
    return tuple(
        guide.new_empty(shape, dtype=torch.int64)
        for shape in ((batch, height, width), (batch, height * width), (batch,))
    )


def _edge_weights(guide: Tensor) -> Tensor:
    """Squared feature distances (B, E) of neighbours, horizontal ones first.

    Channels are added one by one, each operation on its own, so that all devices round alike.
    """
    height, width = guide.shape[2:]
    right = guide.new_zeros(len(guide), height, width - 1)
    down = guide.new_zeros(len(guide), height - 1, width)
    for channel in guide.unbind(1):
        step = channel[..., 1:] - channel[..., :-1]
        right += step.mul_(step)
        step = channel[..., 1:, :] - channel[..., :-1, :]
        down += step.mul_(step)
    return torch.cat((right.flatten(1), down.flatten(1)), 1).nan_to_num_(math.inf, math.inf)


@torch.library.custom_op("mmlevelset::tree_filter", mutates_args=())
def _filter(
    x: Tensor, weight: Tensor, parent: Tensor, order: Tensor, height: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    """S x / S 1 (B, K, V) and, in float64, S 1 (B, V), from weights to the parents (B, V)."""
    return _implementation(backend, x).forward(x, weight, parent, order, height)


@_filter.register_fake
def _(x, weight, parent, order, height, backend):
    return x.new_empty(x.shape), weight.new_empty(weight.shape, dtype=torch.float64)


@torch.library.custom_op("mmlevelset::tree_filter_backward", mutates_args=())
def _filter_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    parent: Tensor,
    order: Tensor,
    height: Tensor,
    result: Tensor,
    norm: Tensor,
    backend: str,
    needs_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weights; the second has no elements if it is not needed."""
    backward = _implementation(backend, x).backward
    return backward(grad, x, weight, parent, order, height, result, norm, needs_weight)


@_filter_backward.register_fake
def _(grad, x, weight, parent, order, height, result, norm, backend, needs_weight):
    return x.new_empty(x.shape), x.new_empty(weight.shape if needs_weight else (0, 0))


def _setup_context(ctx, inputs, output):
    *tensors, backend = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*tensors, *output)
    ctx.backend = backend


def _backward(ctx, grad, _):
    needs_weight = ctx.needs_input_grad[1]
    grad_x, grad_weight = _filtering_backward(grad, *ctx.saved_tensors, ctx.backend, needs_weight)
    return grad_x, grad_weight if needs_weight else None, None, None, None, None


_filter.register_autograd(_backward, setup_context=_setup_context)
_filtering_backward = without_derivative("tree_filter", _filter_backward)
_filtering = under_transforms("tree_filter", _filter, _setup_context, _backward)


def _implementation(backend: str, tensor: Tensor) -> ModuleType:
    """Return the module that runs on a tensor."""
    return _module(_resolve(backend, tensor))


def _module(name: str) -> ModuleType:
    """Return a backend's module; Numba and Triton are imported only where they are used."""
    if name == "torch":
        return tree_torch
    modules = {"numba": "mmlevelset.ops.tree_numba", "triton": "mmlevelset.ops.kernels.tree"}
    return importlib.import_module(modules[name])


def _resolve(backend: str, tensor: Tensor) -> str:
    """Return the backend that runs on a tensor in the dtype of the computation."""
    if backend == "torch":
        return "torch"
    by_device = {"cpu": "numba", "cuda": "triton"}.get(tensor.device.type, "torch")
    wanted = by_device if backend == "auto" else backend
    if wanted == "torch":
        return "torch"
    obstacle = _numba_obstacle() if wanted == "numba" else triton_obstacle(tensor)
    if not obstacle:
        return wanted
    if backend != "auto":
        raise RuntimeError(f"backend={backend!r} cannot run here: {obstacle}")
    if wanted == "triton" and tensor.dtype != torch.float64:
        warnings.warn(f"tree filters run in plain PyTorch: {obstacle}", stacklevel=2)
    return "torch"


@functools.cache
def _numba_obstacle() -> str:
    """Return why Numba cannot run on this machine, and warn of it; empty if Numba can run."""
    try:
        importlib.import_module("numba")
    except ImportError as error:  # absent, or in conflict with the installed NumPy
        warnings.warn(f"tree filters are slow without numba ({error})", stacklevel=2)
        return f"numba cannot be imported ({error})"
    return ""


def _check_backend(backend: str, tensor: Tensor) -> None:
    if backend not in ("auto", "numba", "torch", "triton"):
        raise ValueError(
            f"backend must be 'auto', 'numba', 'torch' or 'triton', but is {backend!r}"
        )
    if backend == "numba" and tensor.device.type != "cpu":
        where = tensor.device
        raise RuntimeError(f"backend='numba' cannot run here: the tensors are on {where}")


def _check(x: Tensor, tree: Tree, guide: Tensor, sigma: float | None) -> None:
    checks.check_shape("x", x, ("B", "K", "H", "W"))
    batch, _, height, width = x.shape
    checks.check_shape("guide", guide, (batch, "C", height, width))
    checks.check_floating(x=x, guide=guide)
    if 0 in guide.shape[1:]:
        raise ValueError(
            f"guide must have at least one channel and pixel, but has shape {tuple(guide.shape)}"
        )
    checks.check_shape("tree.parent", tree.parent, (batch, height, width))
    checks.check_shape("tree.order", tree.order, (batch, height * width))
    checks.check_shape("tree.height", tree.height, (batch,))
    for name, indices in tree._asdict().items():
        if indices.dtype != torch.int64:
            raise TypeError(f"tree.{name} must be int64, but is {indices.dtype}")
    checks.check_same_device(
        x=x, guide=guide, **{f"tree.{name}": part for name, part in tree._asdict().items()}
    )
    if sigma is None:
        return
    checks.check_real("sigma", sigma, above=0)
