"""The recurrent level set by its equations: one image, one pixel, one step at a time."""

import math

import numpy as np


def curvature(phi: np.ndarray, eta: float) -> np.ndarray:
    """div(grad phi / |grad phi|) with Sobel filters / 8 on phi extended by two pixels."""

    def sobel(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = field.shape
        along_x, along_y = np.zeros((2, height - 2, width - 2))
        for i in range(height - 2):
            for j in range(width - 2):
                for k, weight in enumerate((1, 2, 1)):
                    along_x[i, j] += weight * (field[i + k, j + 2] - field[i + k, j]) / 8
                    along_y[i, j] += weight * (field[i + 2, j + k] - field[i, j + k]) / 8
        return along_x, along_y

    gx, gy = sobel(np.pad(phi, 2, mode="edge"))
    norm = np.sqrt(gx**2 + gy**2 + eta)
    return sobel(gx / norm)[0] + sobel(gy / norm)[1]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def squares(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(I - c)^2 for each channel, c the mean of I under weights."""
    return np.stack([(channel - (inside * channel).sum() / inside.sum()) ** 2 for channel in image])


def recurrent_level_set(image, phi, steps, output, eps=1.0, eta=1e-4, reduction="sum", p=None):
    """Scores (2, H, W) and phi_0..phi_N.

    Args:
        image: (C, H, W).
        phi: phi_0, (H, W).
        steps: for each step its maps by name: U_g, W_g, U_z, U_r, U_h, W_z, W_r, W_h are functions
            of maps (K, H, W), b_z, b_r, b_h the added terms.
        output: phi -> V phi + b_V.
        p: unit vector (K,); the projection of the state on p is phi.
    """
    p = np.ones(1) if p is None else p
    state = p[:, None, None] * phi
    trajectory = [phi]
    for m in steps:
        inside = np.vectorize(lambda v: 0.5 * (1 + 2 / math.pi * math.atan(v / eps)))(phi)
        e1, e2 = squares(image, inside), squares(image, 1 - inside)
        if reduction != "none":
            e1, e2 = e1.sum(0, keepdims=True), e2.sum(0, keepdims=True)
        if reduction == "mean":
            e1, e2 = e1 / len(image), e2 / len(image)
        x = curvature(phi, eta) - m["U_g"](e1) + m["W_g"](e2)
        z = sigmoid(m["U_z"](x) + m["W_z"](state) + m["b_z"])
        r = sigmoid(m["U_r"](x) + m["W_r"](state) + m["b_r"])
        h = np.tanh(m["U_h"](x) + m["W_h"](state * r) + m["b_h"])
        state = z * state + (1 - z) * h
        phi = np.einsum("k,khw->hw", p, state)
        trajectory.append(phi)
    return output(phi), np.stack(trajectory)


def convolve(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(K, H, W) by (L, K, 3, 3), zeros outside, not flipped: (L, H, W)."""
    _, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros((len(weight), height, width))
    for i in range(height):
        for j in range(width):
            result[:, i, j] = (weight * padded[:, i : i + 3, j : j + 3]).sum((1, 2, 3))
    return result


def multiply(maps: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(1, H, W) by (H W, H W): (1, H, W)."""
    return np.array([sum(row * maps.ravel()) for row in matrix]).reshape(maps.shape)
