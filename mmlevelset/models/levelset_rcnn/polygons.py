import numpy as np
from torch import Tensor

from mmlevelset.ops.checks import check_shape
from mmlevelset.ops.contours import contours


def level_set_polygons(phi: Tensor, boxes: Tensor) -> list[list[np.ndarray]]:
    """Outlines of objects in pixels of the image, from level sets on the grids of their boxes.

    Args:
        phi: Level sets (n, h, w), floating point, positive inside. Sample (i, j) lies at
            x = x1 + (j + 0.5) (x2 - x1) / w, y = y1 + (i + 0.5) (y2 - y1) / h.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the image, exclusive right and bottom edges.

    Returns:
        n lists of closed polygons (P, 2) float64 of (x, y), as
        :func:`mmlevelset.ops.contours.contours` gives them: outer boundaries have a positive
        signed area, holes a negative one. An object that fills its box ends on the box's edge.

    Raises:
        ValueError: The shapes do not fit, or phi or a box is not finite.
    """
    check_shape("phi", phi, ("n", "h", "w"))
    check_shape("boxes", boxes, (len(phi), 4))
    if not boxes.isfinite().all():
        raise ValueError("boxes must be finite, but hold NaN or infinity")
    corners = boxes.detach().double().cpu().numpy()
    samples = np.array([phi.shape[2], phi.shape[1]])
    return [
        [corner[:2] + (line + 0.5) / samples * (corner[2:] - corner[:2]) for line in lines]
        for corner, lines in zip(corners, contours(phi), strict=True)
    ]
