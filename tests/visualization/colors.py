import numpy as np
from matplotlib.colors import to_rgb


def drawn_box(picture: np.ndarray, color: str) -> list[int]:
    """x1, y1, x2, y2 of the pixels close to a colour."""
    bgr = 255 * np.array(to_rgb(color))[::-1]
    y, x = (np.abs(picture - bgr).max(-1) < 40).nonzero()
    return [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
