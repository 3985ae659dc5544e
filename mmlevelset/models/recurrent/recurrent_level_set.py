"""The recurrent level set: a Chan-Vese evolution with a gated recurrent unit as its update."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.models.common import check_choice, check_positive_integers
from mmlevelset.models.recurrent import initial as starts
from mmlevelset.models.recurrent.gates import ConvMap, GridMap, RecurrentCell, conv_cell, dense_cell
from mmlevelset.models.recurrent.result import Segmentation, segmentation_loss
from mmlevelset.ops import curvature, heaviside, region_means
from mmlevelset.ops.checks import check_floating, check_same_device, check_shape
from mmlevelset.registry import MODELS

CHOICES = {
    "gate": ("dense", "conv"),
    "initial": starts.KINDS,
    "reduction": ("sum", "mean", "none"),
    "supervise": ("last", "all"),
}


@MODELS.register_module()
class RecurrentLevelSet(BaseModule):
    r"""Recurrent level set (RLS; Le et al., Recurrent Level Set Networks, 2019, section 3).

    For t = 1..N, with c1 and c2 the means of I inside and outside of phi_{t-1}:

    .. math::
        x_t &= \kappa(\phi_{t-1}) - U_g (I - c_1)^2 + W_g (I - c_2)^2 \\
        z_t &= \sigma(U_z x_t + W_z \phi_{t-1} + b_z) \\
        r_t &= \sigma(U_r x_t + W_r \phi_{t-1} + b_r) \\
        h_t &= \tanh(U_h x_t + W_h (\phi_{t-1} * r_t) + b_h) \\
        \phi_t &= z_t * \phi_{t-1} + (1 - z_t) * h_t

    The scores of background and foreground are :math:`V \phi_N + b_V`. The means, the curvature
    and the Heaviside function come from :mod:`mmlevelset.ops`. All computations have the
    parameters' dtype, under autocast too.

    With ``hidden_channels`` K > 1 the state has K channels: phi is its projection on a learned unit
    vector p, and phi_0 enters as p phi_0, so that its projection is phi_0.

    Args:
        gate: ``dense``, the paper's: each U, W and V is a matrix over all pixels, for images of
            one size. ``conv``: 3 x 3 convolutions, for any size.
        size: Height and width of a dense network's images; None for convolutions.
        in_channels: C, channels of I.
        hidden_channels: K, for convolutions; 1 in the paper.
        num_steps: N.
        tied: All steps share their weights; else each step has its own. All steps share V.
        initial: phi_0 if :meth:`forward` gets none: ``random`` (the paper's), uniform noise in
            [-1, 1], new in each training step and fixed for each size in evaluation; ``discs``, a
            grid of discs.
        num_discs: Discs along each side of the image; 1 is a disc in the middle, for crops around
            an object.
        reduction: How (I - c)^2 is reduced over the channels of I: ``sum``, ``mean``, or for
            convolutions ``none``: U_g and W_g then see every channel.
        eps: Width of the Heaviside function (arctan) of phi (our choice); phi has values about 1.
        eta: See :func:`mmlevelset.ops.curvature`.
        supervise: ``last``: the loss of the last step's scores; ``all``: the mean loss of N steps.

    Raises:
        ValueError: An argument is out of its range, or does not fit the gate.
    """

    def __init__(
        self,
        gate: str = "dense",
        size: Sequence[int] | None = None,
        in_channels: int = 3,
        hidden_channels: int = 1,
        num_steps: int = 5,
        tied: bool = True,
        initial: str = "random",
        num_discs: int = 4,
        reduction: str = "sum",
        eps: float = 0.1,
        eta: float = 1e-4,
        supervise: str = "last",
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        values = dict(gate=gate, initial=initial, reduction=reduction, supervise=supervise)
        for name, value in values.items():
            check_choice(name, value, CHOICES[name])
        check_positive_integers(
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            num_steps=num_steps,
            num_discs=num_discs,
        )
        for name, width in dict(eps=eps, eta=eta).items():
            if not width > 0:
                raise ValueError(f"{name} must be positive, but is {width!r}")
        self.size = check_size(size) if gate == "dense" else None
        if gate == "conv" and size is not None:
            raise ValueError(
                f"size must be None with gate 'conv', which takes any size, but is {size!r}"
            )
        if gate == "dense" and hidden_channels != 1:
            raise ValueError(
                f"hidden_channels must be 1 with gate 'dense', but is {hidden_channels}"
            )
        if gate == "dense" and reduction == "none":
            raise ValueError("reduction must be 'sum' or 'mean' with gate 'dense', but is 'none'")
        self.in_channels = in_channels
        self.num_steps = num_steps
        self.tied = tied
        self.initial = initial
        self.num_discs = num_discs
        self.eps, self.eta = eps, eta
        self.supervise = supervise
        if self.size is not None:
            make: Callable[[], RecurrentCell] = partial(dense_cell, self.size, reduction)
            self.output: GridMap | ConvMap = GridMap(self.size, ((-1,), (1,)), bias=True)
        else:
            make = partial(conv_cell, hidden_channels, in_channels, reduction)
            self.output = ConvMap(1, 1, ((-1,), (1,)), bias=True)
        self.cells = nn.ModuleList(make() for _ in range(1 if tied else num_steps))
        self.direction: nn.Parameter | None = None
        if hidden_channels > 1:
            self.direction = nn.Parameter(torch.eye(hidden_channels)[0])

    def forward(self, image: Tensor, initial: Tensor | None = None) -> Segmentation:
        """Segment M images.

        Args:
            image: I, (M, C, H, W), floating point, of values about 1 (normalised).
            initial: phi_0, (M, H, W), positive inside, of values about 1.

        Returns:
            Logits (M, 2, H, W) of the last step, and phi_0..phi_N (N+1, M, H, W).

        Raises:
            TypeError: An argument is not floating point.
            ValueError: A shape or a device does not fit.
        """
        size = ("H", "W") if self.size is None else self.size
        check_shape("image", image, ("M", self.in_channels, *size))
        if initial is not None:
            check_shape("initial", initial, (image.shape[0], *image.shape[2:]))
        check_floating(image=image, initial=initial)
        check_same_device(image=image, initial=initial)
        with torch.autocast(image.device.type, enabled=False):
            image = image.to(self.output.weight.dtype)
            phi = self._start(image) if initial is None else initial.to(image)
            direction = None if self.direction is None else F.normalize(self.direction, dim=0)
            state = phi[:, None]
            if direction is not None:
                state = state * direction[:, None, None]
            cells: list[Any] = list(self.cells)
            forces = [cell.data_term(image) for cell in cells]
            steps = list(zip(cells, forces, strict=True)) * (self.num_steps if self.tied else 1)
            trajectory = [phi]
            for cell, force in steps:
                means = region_means(image, heaviside(phi, self.eps))
                state = cell(state, curvature(phi, self.eta)[:, None] + force(*means))
                phi = state[:, 0]
                if direction is not None:
                    phi = torch.einsum("k,mkhw->mhw", direction, state)
                trajectory.append(phi)
            return Segmentation(self.classify(phi), torch.stack(trajectory))

    def classify(self, phi: Tensor) -> Tensor:
        """Return the logits V phi + b_V (M, 2, H, W) of level sets (M, H, W)."""
        return self.output(phi[:, None])

    def loss(self, result: Segmentation, target: Tensor, ignore_index: int = 255) -> Tensor:
        """Return the cross-entropy, a scalar; see :func:`segmentation_loss`.

        Args:
            result: Result of :meth:`forward`.
            target: (M, H, W), bool or integers: 0 background, 1 foreground.
            ignore_index: The value of pixels without a label.
        """
        if self.supervise == "last":
            return segmentation_loss(result.logits, target, ignore_index)
        check_shape("target", target, tuple(result.trajectory.shape[1:]))
        steps = result.trajectory[1:]
        with torch.autocast(steps.device.type, enabled=False):
            logits = self.classify(steps.flatten(0, 1))
        return segmentation_loss(logits, target.repeat(len(steps), 1, 1), ignore_index)

    def _start(self, image: Tensor) -> Tensor:
        count, _, height, width = image.shape
        if self.initial == "random":
            return starts.random_level_sets(count, (height, width), image, not self.training)
        return starts.disc_level_sets(count, (height, width), image, self.num_discs)


def check_size(size: Sequence[int] | None) -> tuple[int, int]:
    """Return height and width as a tuple; raise ValueError unless both are positive integers."""
    if (
        not isinstance(size, Sequence)
        or len(size) != 2
        or not all(isinstance(side, int) and side > 0 for side in size)
    ):
        raise ValueError(f"size must be a height and a width in pixels, but is {size!r}")
    return size[0], size[1]
