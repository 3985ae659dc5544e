"""What the log shows of an evolution: its settings, its movement, the size of its terms.

Values are means over the pixels of each region; phi is in units of the truncation range.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NEAR = 0.5
"""Terms are measured where phi is smaller than this: near the contour."""


def settings_log(settings: Any) -> dict[str, Tensor]:
    """Return the settings of M regions by name, (M,) each.

    Args:
        settings: A NamedTuple of tensors (M,), or (M, N) for one value a step. The value of step n
            gets the name ``name_n``.
    """
    log = {}
    for name, values in settings._asdict().items():
        value = values.detach()
        if value.ndim == 1:
            log[name] = value
        else:
            log |= {f"{name}_{n}": step for n, step in enumerate(value.unbind(1), 1)}
    return log


def movement_log(trajectory: Tensor) -> dict[str, Tensor]:
    """Return ``moved_n``, the mean of |phi_n - phi_{n-1}|, (M,), of phi_0..phi_N (M, N+1, H, W)."""
    moved = trajectory.diff(dim=1).abs().mean((2, 3))
    return {f"moved_{n}": step for n, step in enumerate(moved.unbind(1), 1)}


def terms_log(trajectory: Tensor, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``term_NAME``, the mean size of each term near the contour, over all steps.

    Args:
        trajectory: phi_0..phi_N (M, N+1, H, W).
        terms: What each term adds to phi in each step (M, N, H, W), by name.
    """
    near = trajectory[:, :-1].abs() < NEAR
    count = near.sum((1, 2, 3)).clamp(min=1)
    return {
        f"term_{name}": torch.where(near, term.abs(), 0).sum((1, 2, 3)) / count
        for name, term in terms.items()
    }
