"""Pictures of label maps: the image, the truth and the predictions side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from mmlevelset.ops.checks import check_shape
from mmlevelset.visualization.panels import Panel, check_image, to_tensor

IGNORED_COLOR = (224, 224, 192)
"""Colour of pixels without a label (red, green, blue), as in Pascal VOC's maps."""


def color_labels(
    labels: Tensor | np.ndarray, palette: Sequence[Sequence[int]], ignore_index: int = 255
) -> np.ndarray:
    """Paint a label map in the colours of its classes.

    Args:
        labels: (H, W), integers in 0..K-1 or ``ignore_index``.
        palette: K colours (red, green, blue) in 0..255.
        ignore_index: The value of pixels without a label. Their colour is :data:`IGNORED_COLOR`.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        ValueError: The map is not 2-D, or holds a label without a colour.
    """
    labels = to_tensor(labels)
    check_shape("labels", labels, ("H", "W"))
    indices = labels.long().numpy()
    labelled = indices != ignore_index
    unknown = np.unique(indices[labelled & ((indices < 0) | (indices >= len(palette)))])
    if len(unknown):
        raise ValueError(
            f"labels must be 0 to {len(palette) - 1}, for the {len(palette)} colours of palette,"
            f" or {ignore_index}, and include {unknown.tolist()}"
        )
    colors = np.array([*palette, IGNORED_COLOR], np.uint8)[:, ::-1]
    return colors[np.where(labelled, indices, len(palette))]


def semantic_panels(
    image: np.ndarray,
    predictions: Mapping[str, Tensor | np.ndarray],
    gt: Tensor | np.ndarray | None = None,
    *,
    palette: Sequence[Sequence[int]],
    ignore_index: int = 255,
) -> list[Panel]:
    """Return panels of an image, its true label map and any number of predicted label maps.

    Args:
        image: (H, W, 3) uint8, BGR.
        predictions: A mapping from titles to predicted label maps (H, W).
        gt: The true label map (H, W).
        palette: K colours (red, green, blue) in 0..255.
        ignore_index: The value of pixels without a label.

    Raises:
        ValueError: The shapes do not fit, a label has no colour, or the image is no BGR image.
    """
    check_image(image)
    maps = dict(predictions) if gt is None else {"ground truth": gt, **predictions}
    panels = [Panel(image, "image")]
    for title, labels in maps.items():
        labels = to_tensor(labels)
        check_shape(f"label map {title!r}", labels, image.shape[:2])
        panels.append(Panel(color_labels(labels, palette, ignore_index), title))
    return panels
