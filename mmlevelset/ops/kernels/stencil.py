"""Device functions on level sets: Heaviside, curvature and its adjoint.

The curvature is the Sobel divergence of the normalised Sobel gradient of a map that is extended by
two repeated pixels. So the gradient is also needed on a frame of one pixel around the map. The two
filters are two launches; the vectors between them are maps (2, H+2, W+2), x before y.
A function with arguments ``row`` and ``column`` works on one pixel per lane.
"""

import triton
import triton.language as tl


@triton.jit
def heaviside(phi, eps):
    """H(phi) and H(-phi) of kind ``arctan``; both keep their relative precision near zero."""
    size = tl.abs(phi)
    ratio = tl.minimum(size, eps) / tl.maximum(size, eps)
    square = ratio * ratio
    # Minimax polynomial of atan(x) / x on [0, 1] in powers of x^2, with an error of 9e-8.
    angle = -4.780602e-3 * square + 2.4557669e-2
    angle = angle * square - 5.9905523e-2
    angle = angle * square + 9.9428198e-2
    angle = angle * square - 0.14029444
    angle = angle * square + 0.19971380
    angle = angle * square - 0.33332094
    angle = angle * square + 0.99999991
    angle *= ratio * 0.31830989
    far = tl.where(size > eps, angle, 0.5 - angle)
    near = 1 - far
    return tl.where(phi > 0, near, far), tl.where(phi > 0, far, near)


@triton.jit
def _read(pointer, row, column, height, width, REPEAT: tl.constexpr):
    """Values of a map; outside the map the border's values (REPEAT) or zero."""
    if REPEAT:
        row = tl.minimum(tl.maximum(row, 0), height - 1)
        column = tl.minimum(tl.maximum(column, 0), width - 1)
        return tl.load(pointer + row * width + column)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return tl.load(pointer + row * width + column, mask=inside, other=0.0)


@triton.jit
def _sobel(pointer, row, column, height, width, REPEAT: tl.constexpr):
    """Both Sobel filters / 8 at pixels of the frame: row in -1..H, column in -1..W."""
    nw = _read(pointer, row - 1, column - 1, height, width, REPEAT)
    ne = _read(pointer, row - 1, column + 1, height, width, REPEAT)
    sw = _read(pointer, row + 1, column - 1, height, width, REPEAT)
    se = _read(pointer, row + 1, column + 1, height, width, REPEAT)
    north = _read(pointer, row - 1, column, height, width, REPEAT)
    south = _read(pointer, row + 1, column, height, width, REPEAT)
    west = _read(pointer, row, column - 1, height, width, REPEAT)
    east = _read(pointer, row, column + 1, height, width, REPEAT)
    along_x = (ne - nw + se - sw + 2 * (east - west)) * 0.125
    along_y = (sw - nw + se - ne + 2 * (south - north)) * 0.125
    return along_x, along_y


@triton.jit
def gradient(phi, row, column, height, width, eta):
    """Gradient (x, y) of phi on the frame, and its 1 / norm."""
    x, y = _sobel(phi, row, column, height, width, True)
    return x, y, tl.rsqrt(x * x + y * y + eta)


@triton.jit
def pull_normal(x, y, scale, change, row, column, height, width):
    """Derivative of sum(change * curvature) with respect to the gradient (x, y), on the frame.

    A Sobel filter is odd, so it is minus its own adjoint.
    """
    back_x, back_y = _sobel(change, row, column, height, width, False)
    radial = (x * back_x + y * back_y) * scale * scale
    return (x * radial - back_x) * scale, (y * radial - back_y) * scale


@triton.jit
def divergence(vectors, row, column, height, width):
    """Sobel divergence at pixels of the map, of vectors on the frame."""
    pitch = width + 2
    x = vectors + (row + 1) * pitch + column + 1
    y = x + (height + 2) * pitch
    along_x = tl.load(x + 1 - pitch) - tl.load(x - 1 - pitch)
    along_x += 2 * (tl.load(x + 1) - tl.load(x - 1))
    along_x += tl.load(x + 1 + pitch) - tl.load(x - 1 + pitch)
    along_y = tl.load(y + pitch - 1) - tl.load(y - pitch - 1)
    along_y += 2 * (tl.load(y + pitch) - tl.load(y - pitch))
    along_y += tl.load(y + pitch + 1) - tl.load(y - pitch + 1)
    return (along_x + along_y) * 0.125


@triton.jit
def pull_phi(vectors, row, column, height, width):
    """Derivative with respect to phi on the map, from that with respect to its gradient (frame).

    A repeated pixel adds its derivative to the border pixel that it copies. So at the first pixel
    the filter [-1, 0, 1] becomes [0, 1, 1], and [1, 2, 1] becomes [4, 3, 1].
    """
    pitch = width + 2
    top = tl.where(row == 0, 1.0, 0.0)
    bottom = tl.where(row == height - 1, 1.0, 0.0)
    left = tl.where(column == 0, 1.0, 0.0)
    right = tl.where(column == width - 1, 1.0, 0.0)
    centre = vectors + (row + 1) * pitch + column + 1
    x0, y0 = _pull_row(centre - pitch, height, pitch, left, right)
    x1, y1 = _pull_row(centre, height, pitch, left, right)
    x2, y2 = _pull_row(centre + pitch, height, pitch, left, right)
    smooth = (1 + 3 * top) * x0 + (2 + top + bottom) * x1 + (1 + 3 * bottom) * x2
    slope = (1 - top) * y0 + (bottom - top) * y1 - (1 - bottom) * y2
    return (smooth + slope) * 0.125


@triton.jit
def _pull_row(centre, height, pitch, left, right):
    """Filter three pixels of a row: x with the difference filter, y with the smoothing filter."""
    x = (1 - left) * tl.load(centre - 1) + (right - left) * tl.load(centre)
    x -= (1 - right) * tl.load(centre + 1)
    centre += (height + 2) * pitch
    y = (1 + 3 * left) * tl.load(centre - 1) + (2 + left + right) * tl.load(centre)
    y += (1 + 3 * right) * tl.load(centre + 1)
    return x, y
