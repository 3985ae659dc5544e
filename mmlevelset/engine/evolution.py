"""A hook that warns when an evolution no longer does anything."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmlevelset.registry import HOOKS


@HOOKS.register_module()
class EvolutionHook(Hook):
    """Warn once when a learned setting stays at a bound, or when an evolution moves nothing.

    Level-set heads log their settings and the movement of each step. A setting at a bound has
    next to no gradient. An evolution that moves nothing leaves the initial mask as it is. Neither
    shows in the losses.

    Args:
        patience: Iterations in a row after which the hook warns.
        margin: How near to a bound a mean counts as at the bound, as a share of the range.
        least_movement: Smallest movement of all steps together, a mean over pixels, in truncation
            ranges.

    Raises:
        ValueError: An argument is not positive.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.EvolutionHook", patience=100)]
    """

    def __init__(
        self, patience: int = 100, margin: float = 0.02, least_movement: float = 2e-3
    ) -> None:
        for name, value in dict(
            patience=patience, margin=margin, least_movement=least_movement
        ).items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, but is {value}")
        self.patience = patience
        self.margin = margin
        self.least_movement = least_movement
        self._ranges: dict[str, tuple[float, float]] = {}
        self._counts: dict[str, int] = {}

    def before_train(self, runner: Runner) -> None:
        """Find the bounds of the settings that are learned."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._ranges, self._counts = {}, {}
        for module in model.modules():
            ranges = getattr(module, "learned_ranges", None)
            if isinstance(ranges, dict):
                self._ranges |= ranges

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Count the iterations in a row, and warn."""
        outputs = outputs or {}
        steps = [name for name in outputs if _is_step(name, "moved")]
        if not steps or "mask_rois" not in outputs:
            return
        ranges = {
            name: ends
            for name in outputs
            for key, ends in self._ranges.items()
            if _is_step(name, key)
        }
        names = ["mask_rois", *steps, *ranges]
        numbers = torch.stack([outputs[name].float() for name in names]).tolist()
        values = dict(zip(names, numbers, strict=True))
        if not values["mask_rois"]:
            return
        moved = [values[name] for name in steps]
        if self._lasts("moved", sum(moved) < self.least_movement):
            runner.logger.warning(
                f"The evolution has moved nothing for {self.patience} iterations: moved_1 to"
                f" moved_{len(moved)} are together {sum(moved):.2g} truncation ranges. So initial"
                " and final masks hardly differ. See term_* and the settings in the log."
            )
        for name, (low, high) in ranges.items():
            value = values[name]
            near = self.margin * (high - max(low, 0))
            at = next((end for end in (low, high) if abs(value - end) < near), None)
            if self._lasts(name, at is not None):
                runner.logger.warning(
                    f"The learned setting {name} has been at its bound {at:g} for"
                    f" {self.patience} iterations: its mean is {value:.3g}, its range"
                    f" {max(low, 0):g} to {high:g}."
                )

    def _lasts(self, name: str, now: bool) -> bool:
        """Whether something is so for the ``patience``-th time in a row; True only once a run."""
        count = self._counts.get(name, 0)
        if count >= self.patience:
            return False
        self._counts[name] = count + 1 if now else 0
        return self._counts[name] == self.patience


def _is_step(name: str, setting: str) -> bool:
    """Whether a name in the log is that of a setting, or of its value in one step."""
    return name == setting or (
        name.startswith(f"{setting}_") and name[len(setting) + 1 :].isdigit()
    )
