"""Pictures of results: the evolution of level sets, and predicted beside true masks."""

from collections.abc import Mapping, Sequence

import numpy as np
from mmdet.structures.mask import encode_mask_results
from pycocotools import mask as mask_util
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmlevelset.ops.boxes import level_set_polygons
from mmlevelset.ops.checks import check_shape
from mmlevelset.visualization.panels import (
    Panel,
    check_image,
    draw_panels,
    instance_colors,
    mask_polygons,
    to_tensor,
)


def evolution_panels(
    image: np.ndarray,
    level_sets: Tensor | np.ndarray,
    bboxes: Tensor | np.ndarray,
    gt: Tensor | np.ndarray | None = None,
    colors: Sequence[str] | None = None,
    gt_colors: Sequence[str] | None = None,
    refined: Tensor | np.ndarray | None = None,
) -> list[Panel]:
    """Return the panels of :func:`draw_evolution`."""
    check_image(image)
    level_sets, bboxes = to_tensor(level_sets).float(), to_tensor(bboxes)
    check_shape("level_sets", level_sets, ("n", "N+1", "h", "w"))
    named = {rf"$\phi_{{{step}}}$": phi for step, phi in enumerate(level_sets.unbind(1))}
    if refined is not None:
        named["refined"] = to_tensor(refined).float()
    panels = [
        Panel(image, title, level_set_polygons(phi, bboxes), list(colors or []))
        for title, phi in named.items()
    ]
    if gt is not None:
        panels.append(_mask_panel(image, "ground truth", gt, gt_colors))
    return panels


def draw_evolution(
    image: np.ndarray,
    level_sets: Tensor | np.ndarray,
    bboxes: Tensor | np.ndarray,
    gt: Tensor | np.ndarray | None = None,
    *,
    colors: Sequence[str] | None = None,
    gt_colors: Sequence[str] | None = None,
    refined: Tensor | np.ndarray | None = None,
    size: int = 420,
) -> np.ndarray:
    """Draw the zero contours of phi_0, ..., phi_N over an image, a panel for each, in a row.

    Args:
        image: (H, W, 3) uint8, BGR.
        level_sets: (n, N+1, h, w), positive inside, on the grids of the n boxes, as in
            ``pred_instances.level_sets``.
        bboxes: (n, 4) as x1, y1, x2, y2 in pixels of the image.
        gt: True masks (m, H, W), drawn in a last panel.
        colors: Matplotlib colours of the n objects; by default ten colours in turn.
        gt_colors: Matplotlib colours of the m true objects; by default ten colours in turn.
        refined: Level sets (n, h, w) after a refinement, as in
            ``pred_instances.refined_level_sets``; drawn in a panel "refined".
        size: Length in pixels of the longer side of a panel.

    Returns:
        (H', W', 3) uint8, BGR.

    Raises:
        ValueError: The shapes do not fit, or the image is no BGR image.
    """
    panels = evolution_panels(image, level_sets, bboxes, gt, colors, gt_colors, refined)
    return draw_panels([panels], size)


def comparison_panels(
    image: np.ndarray,
    masks: Mapping[str, Tensor | np.ndarray],
    gt: Tensor | np.ndarray | None = None,
) -> list[Panel]:
    """Return the panels of :func:`draw_comparison`."""
    check_image(image)
    panels = [Panel(image, "image")]
    if gt is not None:
        panels.append(_mask_panel(image, "ground truth", gt))
    for title, found in masks.items():
        colors = None if gt is None else matched_colors(found, gt)
        panels.append(_mask_panel(image, title, found, colors))
    return panels


def draw_comparison(
    image: np.ndarray,
    masks: Mapping[str, Tensor | np.ndarray],
    gt: Tensor | np.ndarray | None = None,
    *,
    size: int = 420,
) -> np.ndarray:
    """Draw the image, the true masks and any number of predictions side by side.

    Args:
        image: (H, W, 3) uint8, BGR.
        masks: A mapping from titles to predicted masks (n, H, W). A mask has the colour of the true
            object that :func:`match_masks` assigns to it.
        gt: True masks (m, H, W).
        size: Length in pixels of the longer side of a panel.

    Returns:
        (H', W', 3) uint8, BGR.

    Raises:
        ValueError: The shapes do not fit, or the image is no BGR image.
    """
    return draw_panels([comparison_panels(image, masks, gt)], size)


def match_masks(
    masks: Tensor | np.ndarray, gt: Tensor | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assign masks (n, H, W) to true masks (m, H, W) so that the sum of the IoUs is greatest.

    Returns:
        For each pair: the index of the mask, the index of the true mask, and their IoU, which is
        above 0.
    """
    rles, true_rles = (encode_mask_results(to_tensor(maps).bool().numpy()) for maps in (masks, gt))
    overlap = mask_util.iou(rles, true_rles, [0] * len(true_rles))
    iou = np.reshape(overlap, (len(rles), len(true_rles)))
    first, second = linear_sum_assignment(iou, maximize=True)
    found = iou[first, second] > 0
    first, second = first[found], second[found]
    return first, second, iou[first, second]


def matched_colors(masks: Tensor | np.ndarray, gt: Tensor | np.ndarray) -> list[str]:
    """Return colours of masks (n, H, W). A mask without a true mask has a colour of its own."""
    count = len(gt)
    spare = iter(instance_colors(count + len(masks))[count:])
    first, second, _ = match_masks(masks, gt)
    known = dict(zip(first.tolist(), second.tolist(), strict=True))
    palette = instance_colors(count)
    return [palette[known[i]] if i in known else next(spare) for i in range(len(masks))]


def _mask_panel(
    image: np.ndarray,
    title: str,
    masks: Tensor | np.ndarray,
    colors: Sequence[str] | None = None,
) -> Panel:
    masks = to_tensor(masks)
    check_shape(f"masks of {title!r}", masks, ("n", *image.shape[:2]))
    return Panel(image, title, mask_polygons(masks), list(colors or []))
