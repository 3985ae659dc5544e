"""A hook that gives the trackers of a run pictures of its evolutions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.visualization import MLflowVisBackend
from torch import nn

from mmlevelset.registry import HOOKS
from mmlevelset.visualization.panels import draw_panels
from mmlevelset.visualization.results import comparison_panels, evolution_panels


@HOOKS.register_module()
class EvolutionPictureHook(Hook):
    """After each validation, draw phi_0..phi_N on the first images of the validation set.

    The strips go to all trackers of ``visualizer.vis_backends`` as images ``evolution_N``, N from
    0. A model without level sets, but with masks before and after a refinement, gives these two. A
    model with neither gives nothing. The images are predicted again, so scores and their time do
    not change. docs/trackers.md shows a config.

    Args:
        images: Number of images, 1 or more.
        objects: The most objects of an image, the best first, 1 or more.
        score_thr: Objects of a lower score are left out, in [0, 1].
        size: Longer side of a panel in pixels, 32 or more.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.EvolutionPictureHook", images=4)]
    """

    priority = "LOWEST"

    def __init__(
        self, images: int = 2, objects: int = 5, score_thr: float = 0.3, size: int = 256
    ) -> None:
        for name, value, least in (
            ("images", images, 1),
            ("objects", objects, 1),
            ("size", size, 32),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number from {least} on, but is {value!r}")
        if not 0 <= score_thr <= 1:
            raise ValueError(f"score_thr must be in 0..1, but is {score_thr!r}")
        self.images, self.objects = images, objects
        self.score_thr, self.size = score_thr, size

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the strips."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        dataset = runner.val_dataloader.dataset
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        step = runner.epoch if by_epoch else runner.iter
        with level_sets_asked(model), torch.no_grad():
            for number in range(min(self.images, len(dataset))):
                (sample,) = model.test_step(pseudo_collate([dataset[number]]))
                load = Compose(dataset.pipeline.transforms[:1])
                image = load(dataset.get_data_info(number))["img"]
                strip = self._strip(image, sample.get("pred_instances"))
                if strip is not None:
                    _add(runner, f"evolution_{number}", strip, step)

    def _strip(self, image: np.ndarray, found: Any) -> np.ndarray | None:
        """Return the strip of an image in RGB; None if the model has no evolution."""
        if found is None or "scores" not in found:
            return None
        order = found.scores.argsort(descending=True)
        found = found[order[found.scores[order] >= self.score_thr][: self.objects]].cpu()
        if "level_sets" in found:
            refined = found.get("refined_level_sets")
            panels = evolution_panels(image, found.level_sets, found.bboxes, refined=refined)
        elif "initial_masks" in found:
            masks = dict(initial=found.initial_masks, final=found.masks)
            panels = comparison_panels(image, masks)
        else:
            return None
        return np.ascontiguousarray(draw_panels([panels], self.size)[:, :, ::-1])


@contextmanager
def level_sets_asked(model: nn.Module) -> Iterator[None]:
    """Let the heads of RoIs predict their level sets or initial masks meanwhile."""
    heads = [one for one in model.modules() if isinstance(one, BaseRoIHead) and one.with_mask]
    before = [dict(head.test_cfg) for head in heads]
    try:
        for head in heads:
            head.test_cfg.update(initial_masks=True, level_sets=True)
        yield
    finally:
        for head, settings in zip(heads, before, strict=True):
            head.test_cfg.clear()
            head.test_cfg.update(settings)


def _add(runner: Runner, name: str, image: np.ndarray, step: int) -> None:
    for backend in runner.visualizer._vis_backends.values():
        if isinstance(backend, MLflowVisBackend):
            # MLflow's images have no step, and need the ending of a file.
            backend.add_image(f"{name}_{step}.png", image)
        else:
            backend.add_image(name, image, step)
