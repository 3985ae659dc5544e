"""The level-set loss: the Chan-Vese energy of each class's soft region on the label map."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmlevelset.models.common import check_not_negative, mean_count, warmup_share
from mmlevelset.ops import dirac, heaviside
from mmlevelset.ops.checks import (
    accumulation_dtype,
    check_floating,
    check_same_device,
    check_shape,
)
from mmlevelset.registry import MODELS

KINDS = ("tanh", "arctan", "step")
REDUCTIONS = ("sum", "image", "pixel")
# Number of values that are processed at once. On a CPU the values fit its caches. On a GPU they are
# enough that the GPU does not wait for the host. To save memory, they are at most a fraction of the
# logits.
TOGETHER_ON_CPU, TOGETHER_ON_GPU = 1 << 18, 1 << 21
TOGETHER_OF_LOGITS = 1 / 8


@MODELS.register_module()
class LevelSetLoss(nn.Module):
    r"""Level-set energy of a semantic network's probabilities, added to the cross-entropy loss.

    Let P be the softmax of the logits. For each image and each class l in its labels, background
    included, the level set is :math:`\phi_l = P_l - 1/2`. With the class's binary label map
    :math:`G_l` and its means :math:`c_1` inside and :math:`c_2` outside of the level set, the
    energy over the labelled pixels is
    :math:`E_l = \sum H(\phi_l) (G_l - c_1)^2 + (1 - H(\phi_l)) (G_l - c_2)^2`.
    A class that the image's labels lack has no term.

    Energies are counted on maps of ``map_size`` pixels. The energies of a map of H x W pixels are
    multiplied by the area of ``map_size`` over H * W. So ``loss_weight`` means the same at every
    size of the maps: equal logits and labels at another size have, but for resampling, the same
    loss. At 41 x 41 the loss is the paper's plain sum over pixels. DeepLab-v2's crops of 321 pixels
    have logits of this size.

    The loss has the call arguments of the losses in mmsegmentation's heads and in
    :class:`~mmlevelset.models.levelset_loss.LossSum`.

    Args:
        eps: Width of the Heaviside function, in units of probability. Default 1/20, the paper's
            value for ``tanh``; the paper's value for ``arctan`` is 20. ``step`` ignores it.
        kind: Heaviside function: ``tanh`` (eq. 6), ``arctan`` or ``step``. The gradient of a step
            is zero, so ``step`` passes gradients on as the identity does.
        reduction: ``sum`` is the sum over pixels, classes and images. ``image`` is the mean over
            images of their sums. ``pixel`` is the sum divided by the batch's number of labelled
            pixels, or by the sum of their weights. In distributed training the batch is the batch
            of all processes, and the mean of the processes' losses is the loss.
        loss_weight: Factor on the loss, lambda of eq. 8. Default 4e-4, the paper's.
        ignore_index: Label of pixels that are left out.
        loss_name: Name in the logs of mmsegmentation's heads. Only values with ``loss`` in their
            name are trained.
        map_size: Height and width in pixels of the maps for which ``loss_weight`` is stated, for
            ``sum`` and ``image``. With None the energies of all maps are plain sums over pixels.
        warmup_iters: In training the weight grows evenly from 0 during these first iterations of
            mmengine's runner. The energy is the same when a class and its outside change places, so
            a weight that outweighs cross-entropy from the start can fix them the wrong way round.
            Training without a runner is an error, not a weight of 0.

    Raises:
        ValueError: A setting is out of its range.

    Reference:
        Kim et al. 2019, eqs. 5-8.
    """

    def __init__(
        self,
        eps: float = 0.05,
        kind: str = "tanh",
        reduction: str = "sum",
        loss_weight: float = 4e-4,
        ignore_index: int = 255,
        loss_name: str = "loss_level_set",
        map_size: Sequence[int] | None = (41, 41),
        warmup_iters: int = 0,
    ) -> None:
        super().__init__()
        check_not_negative(warmup_iters=warmup_iters)
        _check_heaviside(eps, kind)
        _check_reduction("reduction", reduction)
        _check_map_size(map_size)
        self.eps = eps
        self.kind = kind
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.ignore_index = ignore_index
        self.loss_name = loss_name
        self.map_size = map_size
        self.warmup_iters = warmup_iters

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the loss, a scalar; 0 with zero gradients if no pixel is labelled.

        Args:
            pred: Logits (B, K, H, W) of K >= 2 classes.
            target: Labels (B, H, W), integers from 0 to K - 1, or ``ignore_index``.
            weight: Weights (B, H, W) of the pixels in all sums, at least 0.
            ignore_index: Replaces the constructor's ``ignore_index``.
            reduction_override: Replaces the constructor's ``reduction``. ``none``, which samplers
                ask for, is an error: there is no loss of a single pixel.

        Returns:
            Scalar float32, or float64 if the logits are float64.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: A shape does not fit, a label is neither a class nor ignored, or the
                reduction is not known.
        """
        reduction = self.reduction
        if reduction_override is not None:
            _check_reduction("reduction_override", reduction_override)
            reduction = reduction_override
        ignore_index = self.ignore_index if ignore_index is None else ignore_index
        energy = level_set_energy(pred, target, self.eps, self.kind, ignore_index, weight)
        total = energy.sum()
        if reduction == "pixel":
            labelled = _mass(target.long(), ignore_index, weight, energy.dtype).sum()
            return self._weight() * total / mean_count(labelled)
        if self.map_size is not None:
            total = total * (math.prod(self.map_size) / max(math.prod(target.shape[1:]), 1))
        factor = get_world_size() if reduction == "sum" else 1 / max(len(pred), 1)
        return self._weight() * total * factor

    def _weight(self) -> float:
        return self.loss_weight * (warmup_share(self.warmup_iters) if self.training else 1)

    def extra_repr(self) -> str:
        names = (
            "eps",
            "kind",
            "reduction",
            "loss_weight",
            "warmup_iters",
            "map_size",
            "ignore_index",
        )
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


def level_set_energy(
    pred: Tensor,
    target: Tensor,
    eps: float = 0.05,
    kind: str = "tanh",
    ignore_index: int | None = 255,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Return the energy :math:`E_l` of each image and class.

    The arguments are as in :class:`LevelSetLoss`. G is 0 or 1, so with the areas :math:`A_1` inside
    and :math:`A_2` outside :math:`E_l = A_1 c_1 (1 - c_1) + A_2 c_2 (1 - c_2)`. The term of an
    empty region is 0. The gradient is exact, and the energy is once differentiable. Besides the
    logits' gradient, the memory does not grow with the batch.

    Returns:
        Energies (B, K) in pixels, at least 0; 0 for a class that the image lacks. float32, or
        float64 if the logits are float64.
    """
    _check_heaviside(eps, kind)
    check_shape("pred", pred, ("B", "K", "H", "W"))
    check_floating(pred=pred)
    batch, classes, *size = pred.shape
    if classes < 2:
        raise ValueError(
            f"pred must have the logits of at least 2 classes (background is one), but has "
            f"{classes}: probabilities are a softmax, not a sigmoid"
        )
    check_shape("target", target, (batch, *size))
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must hold integer labels, but is {target.dtype}")
    if weight is not None:
        check_shape("weight", weight, (batch, *size))
    check_same_device(pred=pred, target=target, weight=weight)
    if pred.numel() == 0:
        return pred.sum((2, 3), dtype=accumulation_dtype(pred))
    target = target.long()  # uint8 would take -1 for 255
    present = _present(target, classes, ignore_index)
    mass = _mass(target, ignore_index, weight, accumulation_dtype(pred))
    return _Energy.apply(pred, target.int(), mass, present, eps, kind)


class _Group(NamedTuple):
    """A range of images, its range of pairs (image, class), and each image's number of pairs."""

    images: slice
    pairs: slice
    counts: list[int]


class _Energy(torch.autograd.Function):
    """The energy with its own gradient. The gradient computes the softmax again to save memory.

    The means minimise the energy, so they are constants in the gradient: dE/dH is
    (G - c1)^2 - (G - c2)^2. G is 0 or 1, so dE/dH has two values for each pair of image and class.
    The two values are saved for the backward pass, beside the logits and the labels. The term of
    an empty region has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        mass: Tensor,
        present: Tensor,
        eps: float,
        kind: str,
    ) -> Tensor:
        groups = _groups(present[:, 0], logits)
        present = present.to(logits.device)
        image, label = present.unbind(1)
        energies, slopes = [], []
        for group in groups:
            probabilities = torch.softmax(logits[group.images], 1, dtype=mass.dtype)
            maps = probabilities.flatten(0, 1).index_select(0, _rows(present, group, logits))
            del probabilities
            for part, pairs in _parts(maps, group, _together(logits)):
                inside, weight = _sides(labels, mass, image[pairs], label[pairs])
                weights = torch.stack((inside, ~inside)) * weight
                region = heaviside(part - 0.5, eps, kind)
                true, false = _sum(weights * region)
                missed, rest = _sum(weights * (1 - region))
                first, second = _means(true, false), _means(missed, rest)
                energies.append(first[0] * false + second[0] * rest)
                slopes.append(first.flip(0).square() - second.flip(0).square())
        ctx.save_for_backward(logits, labels, mass, present, torch.cat(slopes, 1))
        ctx.groups, ctx.eps, ctx.kind = groups, eps, kind
        energy = logits.new_zeros(logits.shape[:2], dtype=mass.dtype)
        energy[image, label] = torch.cat(energies).to(energy)
        return energy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_energy: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, mass, present, slopes = ctx.saved_tensors
        image, label = present.unbind(1)
        slopes = (slopes * grad_energy[image, label]).to(mass)[..., None, None]
        gradient = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        for group in ctx.groups:
            if logits.dtype == mass.dtype:
                slot = gradient[group.images]
                probabilities = torch.softmax(logits[group.images], 1, out=slot)
            else:
                probabilities = torch.softmax(logits[group.images], 1, dtype=mass.dtype)
                probabilities = probabilities.contiguous()  # flatten must give a view
            rows = _rows(present, group, logits)
            maps = probabilities.flatten(0, 1).index_select(0, rows)
            for part, pairs in _parts(maps, group, _together(logits)):
                steepness = _steepness(part, ctx.eps, ctx.kind)
                part.mul_(steepness)
                inside, weight = _sides(labels, mass, image[pairs], label[pairs])
                part.mul_(weight)
                part.mul_(torch.where(inside, *slopes[:, pairs], out=weight))
            # The softmax's gradient P_k (g_k - sum_l P_l g_l) overwrites P. g_k is zero for absent
            # classes. `maps` holds P_k g_k of the present classes.
            total = torch.stack([some.sum(0) for some in maps.split(group.counts)])
            probabilities.mul_(total.neg_()[:, None])
            probabilities.flatten(0, 1).index_add_(0, rows, maps)
            if logits.dtype != mass.dtype:
                gradient[group.images] = probabilities
        return gradient, None, None, None, None, None


def _present(target: Tensor, classes: int, ignore_index: int | None) -> Tensor:
    """Return the pairs (n, 2) of image and class that occur in the labels, int64 on the CPU.

    Raises:
        ValueError: A label is neither a class nor ``ignore_index``.
    """
    bins = classes + 3  # labels below 0, the classes, labels above them, ignored labels
    place = target.clamp(-1, classes).add_(1)
    if ignore_index is not None:
        place.masked_fill_(target == ignore_index, bins - 1)
    place += bins * torch.arange(len(target), device=target.device)[:, None, None]
    counts = torch.bincount(place.flatten(), minlength=bins * len(target)).cpu()
    counts = counts.view(len(target), bins)
    if counts[:, [0, -2]].any():
        wrong = (target < 0) | (target >= classes)
        if ignore_index is not None:
            wrong &= target != ignore_index
        raise ValueError(
            f"target must have labels from 0 to {classes - 1}, or {ignore_index} where it is "
            f"ignored, but has {int(target[wrong][0])}"
        )
    return counts[:, 1:-2].nonzero()


def _mass(
    target: Tensor, ignore_index: int | None, weight: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Return the weights of the pixels (B, H, W); 0 for ignored pixels."""
    if ignore_index is None:
        return torch.ones_like(target, dtype=dtype) if weight is None else weight.to(dtype)
    labelled = target != ignore_index
    if weight is None:
        return labelled.to(dtype)
    return torch.where(labelled, weight, 0).to(dtype)


def _together(logits: Tensor) -> int:
    """Return the number of maps (H, W) that are processed at once, at least 1."""
    values = TOGETHER_ON_CPU if logits.device.type == "cpu" else TOGETHER_ON_GPU
    return max(1, int(min(values, TOGETHER_OF_LOGITS * logits.numel())) // logits[0, 0].numel())


def _groups(image: Tensor, logits: Tensor) -> list[_Group]:
    """Split the batch into groups of images that are processed at once, at least one image each."""
    counts = torch.bincount(image, minlength=len(logits)).tolist()
    most = _together(logits)
    groups, start, pair = [], 0, 0
    for end in range(1, len(counts) + 1):
        if end == len(counts) or sum(counts[start : end + 1]) > most:
            held = counts[start:end]
            groups.append(_Group(slice(start, end), slice(pair, pair + sum(held)), held))
            start, pair = end, pair + sum(held)
    return groups


def _rows(present: Tensor, group: _Group, logits: Tensor) -> Tensor:
    """Return the index of each of the group's pairs in the maps (n * K, H, W) of its images."""
    image, label = present[group.pairs].unbind(1)
    return (image - group.images.start) * logits.shape[1] + label


def _parts(maps: Tensor, group: _Group, most: int) -> Iterator[tuple[Tensor, slice]]:
    """Yield parts of at most ``most`` of the group's maps (n, H, W), with the range of pairs."""
    start = group.pairs.start
    for part in maps.split(most):
        yield part, slice(start, start + len(part))
        start += len(part)


def _sides(labels: Tensor, mass: Tensor, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return G of each pair as bool, and the weights of its pixels, both (n, H, W)."""
    inside = labels.index_select(0, image) == label[:, None, None]
    return inside, mass.index_select(0, image)


def _sum(maps: Tensor) -> Tensor:
    """Return the sums of maps (..., H, W) in float64, without a float64 copy of the maps."""
    return maps.sum(-1).sum(-1, dtype=torch.float64)


def _means(of_class: Tensor, of_others: Tensor) -> Tensor:
    """Return the mean of G over a region and 1 minus the mean; both 0 for an empty region."""
    area = of_class + of_others
    return torch.stack((of_class, of_others)) / area.where(area > 0, 1)


def _steepness(probabilities: Tensor, eps: float, kind: str) -> Tensor:
    if kind == "step":
        return torch.ones_like(probabilities)
    return dirac(probabilities - 0.5, eps, kind)


def _check_heaviside(eps: float, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, but is {kind!r}")
    if not 0 < eps < math.inf:
        raise ValueError(f"eps must be positive and finite, but is {eps!r}")


def _check_reduction(name: str, value: str) -> None:
    if value not in REDUCTIONS:
        raise ValueError(
            f"{name} must be one of {', '.join(REDUCTIONS)}, but is {value!r}: regions have an "
            "energy, single pixels have none"
        )


def _check_map_size(map_size: object) -> None:
    if map_size is None:
        return
    sides = tuple(map_size) if isinstance(map_size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(
            f"map_size must be a height and a width in pixels, or None, but is {map_size!r}"
        )
