"""Rendering of the generated data set: outlines, textures, light and noise.

It needs NumPy and OpenCV only. Coordinates are in pixels: pixel ``i`` covers ``[i, i + 1)``, with
its centre at ``i + 0.5``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray
KINDS = ("ellipse", "polygon", "star", "ring", "spider", "split")

# The smallest radius in pixels at which the kinds of outlines are still distinguishable.
_MIN_RADIUS = {
    "ellipse": 6.0,
    "polygon": 7.0,
    "star": 9.0,
    "ring": 8.0,
    "spider": 15.0,
    "split": 9.0,
}
_MAX_DIAMETER = 2 / 3  # of the image's shorter side
_MIN_VISIBLE_AREA = 40  # pixels
_MIN_VISIBLE_FRACTION = 0.4  # of an object's area inside the image
_MIN_INSIDE_FRACTION = 0.65  # of an object's whole area
_PLACEMENTS = 12  # attempts for one object
_MIN_COLOUR_DISTANCE = 0.3  # in RGB, each channel in [0, 1]


@dataclass(frozen=True)
class Rendering:
    """One rendered image with its exact masks.

    Attributes:
        image: uint8 ``(H, W, 3)``, BGR.
        ids: uint8 ``(H, W)``, 0 for background, ``k + 1`` where object ``k`` is visible.
        kinds: The kind of each object, one of :data:`KINDS`.
    """

    image: Array
    ids: Array
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class _Object:
    kind: str
    top: int
    left: int
    inside: Array  # bool (h, w): the pixel's centre is inside the outline
    coverage: Array  # float32 (h, w): the share of the pixel that is inside

    @property
    def window(self) -> tuple[slice, slice]:
        h, w = self.inside.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


# --- outlines -------------------------------------------------------------------------------------
# Each function returns a function of local coordinates, in which the outline fits the unit circle.
# Its value is positive inside. Near the outline, it is about a distance. `radius` is in pixels:
# thin parts keep a visible width.

Outline = Callable[[Array, Array], Array]


def _ellipse(rng: np.random.Generator, radius: float) -> Outline:
    del radius
    aspect = rng.uniform(0.55, 1.0)
    return lambda x, y: 1 - np.hypot(x, y / aspect)


def _polygon(rng: np.random.Generator, radius: float) -> Outline:
    del radius
    corners = int(rng.integers(3, 6))
    angles = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.2, 0.2, corners)) / corners
    following = np.roll(angles, -1) + 2 * np.pi * (np.arange(corners) == corners - 1)
    normals = (angles + following) / 2
    offsets = np.cos((following - angles) / 2)

    def signed(x: Array, y: Array) -> Array:
        sides = [
            d - (x * math.cos(a) + y * math.sin(a)) for a, d in zip(normals, offsets, strict=True)
        ]
        return np.minimum.reduce(sides)

    return signed


def _fold(x: Array, y: Array, count: int, twist: float = 0.0) -> tuple[Array, Array]:
    """Return the coordinates along and across (not negative) the nearest of ``count`` rays."""
    r = np.hypot(x, y)
    sector = 2 * np.pi / count
    angle = np.abs((np.arctan2(y, x) + twist * r) % sector - sector / 2)
    return r * np.cos(angle), r * np.sin(angle)


def _star(rng: np.random.Generator, radius: float) -> Outline:
    points = int(rng.integers(4, 7 if radius > 14 else 6))
    notch = rng.uniform(0.38, 0.52)
    tip = np.array([1.0, 0.0])
    valley = notch * np.array([math.cos(math.pi / points), math.sin(math.pi / points)])
    edge = (valley - tip) / np.linalg.norm(valley - tip)

    def signed(x: Array, y: Array) -> Array:
        along, across = _fold(x, y, points)
        return edge[1] * (tip[0] - along) + edge[0] * across

    return signed


def _ring(rng: np.random.Generator, radius: float) -> Outline:
    aspect = rng.uniform(0.7, 1.0)
    hole = min(rng.uniform(0.45, 0.7), 1 - 2.5 / (radius * aspect))

    def signed(x: Array, y: Array) -> Array:
        r = np.hypot(x, y / aspect)
        return np.minimum(1 - r, r - hole)

    return signed


def _spider(rng: np.random.Generator, radius: float) -> Outline:
    arms = int(rng.integers(5, 8 if radius > 24 else 6))
    twist = rng.uniform(-1.0, 1.0)
    body = rng.uniform(0.28, 0.4)
    half_width = max(rng.uniform(0.05, 0.08), 1.25 / radius)

    def signed(x: Array, y: Array) -> Array:
        along, across = _fold(x, y, arms, twist)
        arm = np.minimum(half_width * (1.25 - 0.5 * along) - across, 1 - along)
        return np.maximum(body - np.hypot(x, y), arm)

    return signed


def _split(rng: np.random.Generator, radius: float) -> Outline:
    """Return a rounded outline that is cut into two or three separate parts."""
    aspect = rng.uniform(0.6, 0.95)
    power = rng.uniform(2.0, 4.0)
    half_gap = max(rng.uniform(0.07, 0.13), 1.6 / radius)
    cuts = (-0.36, 0.36) if radius > 16 and rng.random() < 0.5 else (rng.uniform(-0.2, 0.2),)

    def signed(x: Array, y: Array) -> Array:
        body = 1 - (np.abs(x) ** power + np.abs(y / aspect) ** power) ** (1 / power)
        return np.minimum.reduce([body] + [np.abs(x - cut) - half_gap for cut in cuts])

    return signed


_OUTLINES: dict[str, Callable[[np.random.Generator, float], Outline]] = {
    "ellipse": _ellipse,
    "polygon": _polygon,
    "star": _star,
    "ring": _ring,
    "spider": _spider,
    "split": _split,
}


def _rasterise(
    outline: Outline,
    centre: tuple[float, float],
    radius: float,
    angle: float = 0.0,
    bend: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> tuple[int, int, Array, Array]:
    """Return the outline on the pixel grid, in a window that holds all of it.

    Args:
        outline: In local coordinates.
        centre: (x, y) of the local origin in pixels.
        radius: Pixels of one local unit.
        angle: Angle of the local x axis in the image, in radians.
        bend: Amplitude (local units) and the two phases of a smooth warp.

    Returns:
        The window's top row and left column; a bool map of the pixels with their centre inside; and
        the share of each pixel that is inside (float32).
    """
    reach = math.ceil(radius * 1.15 + 2)
    left, top = math.floor(centre[0]) - reach, math.floor(centre[1]) - reach
    xs = (left + np.arange(2 * reach + 1) + 0.5 - centre[0]) / radius
    ys = ((top + np.arange(2 * reach + 1) + 0.5 - centre[1]) / radius)[:, None]
    x = math.cos(angle) * xs + math.sin(angle) * ys
    y = math.cos(angle) * ys - math.sin(angle) * xs
    amplitude, phase_x, phase_y = bend
    x, y = x + amplitude * np.sin(2.3 * y + phase_x), y + amplitude * np.sin(2.3 * x + phase_y)
    signed = outline(x, y)
    slope_y, slope_x = np.gradient(signed)
    distance = signed / np.maximum(np.hypot(slope_x, slope_y), 1e-6)
    return top, left, signed > 0, np.clip(distance + 0.5, 0, 1).astype(np.float32)


def _draw_object(rng: np.random.Generator, kind: str, height: int, width: int) -> _Object | None:
    """Return an object of random outline and place, None if too little of it is in the image."""
    low, high = _MIN_RADIUS[kind], _MAX_DIAMETER * min(height, width) / 2
    radius = math.exp(rng.uniform(math.log(min(low, high)), math.log(high)))
    outline = _OUTLINES[kind](rng, radius)
    angle = rng.uniform(0, 2 * np.pi)
    bend = (rng.uniform(0, 0.09), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi))
    centre = (rng.uniform(0, width), rng.uniform(0, height))
    top, left, inside, coverage = _rasterise(outline, centre, radius, angle, bend)

    rows = slice(max(-top, 0), max(height - top, 0))
    columns = slice(max(-left, 0), max(width - left, 0))
    if inside[rows, columns].sum() < _MIN_INSIDE_FRACTION * inside.sum():
        return None
    return _Object(
        kind,
        top + rows.start,
        left + columns.start,
        inside[rows, columns],
        coverage[rows, columns],
    )


def _place_objects(
    rng: np.random.Generator,
    kinds: Sequence[str],
    count: int,
    height: int,
    width: int,
    occlusion: float,
) -> tuple[list[_Object], Array]:
    """Return objects from back to front, at least one if ``count`` > 0, and the map of ids."""
    objects: list[_Object] = []
    full_areas: list[int] = []
    ids = np.zeros((height, width), np.uint8)
    for _ in range(count):
        kind = str(rng.choice(kinds))
        may_cover = rng.random() < occlusion
        for _ in range(_PLACEMENTS if objects else 1000):
            candidate = _draw_object(rng, kind, height, width)
            if candidate is None:
                continue
            area = int(candidate.inside.sum())
            below = ids[candidate.window]
            if area < _MIN_VISIBLE_AREA or (not may_cover and below[candidate.inside].any()):
                continue
            painted = ids.copy()
            painted[candidate.window][candidate.inside] = len(objects) + 1
            visible = np.bincount(painted.ravel(), minlength=len(objects) + 2)[1:]
            wanted = [max(_MIN_VISIBLE_AREA, _MIN_VISIBLE_FRACTION * a) for a in full_areas]
            if all(v >= w for v, w in zip(visible, wanted, strict=False)):
                objects.append(candidate)
                full_areas.append(area)
                ids = painted
                break
    return objects, ids


# --- textures -------------------------------------------------------------------------------------
# Each function returns a float32 (h, w) pattern in about [0, 1] that mixes an object's colours.


def _smooth_noise(rng: np.random.Generator, h: int, w: int, scale: float) -> Array:
    """Return value noise of about unit range, with features of ``scale`` pixels."""
    grid = rng.random((math.ceil(h / scale) + 3, math.ceil(w / scale) + 3), dtype=np.float32)
    shift_x, shift_y = rng.uniform(0.5, 1.5, 2)
    matrix = np.array([[1 / scale, 0, shift_x], [0, 1 / scale, shift_y]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(grid, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _coordinate(rng: np.random.Generator, h: int, w: int) -> tuple[Array, Array]:
    angle = rng.uniform(0, 2 * np.pi)
    x = np.arange(w, dtype=np.float32)
    y = np.arange(h, dtype=np.float32)[:, None]
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _soft_step(x: Array, width: float) -> Array:
    return np.clip(x / np.float32(width) + np.float32(0.5), 0, 1)


def _fractal(rng: np.random.Generator, h: int, w: int) -> Array:
    scale = rng.uniform(10, 40)
    total = np.zeros((h, w), np.float32)
    for octave in range(4):
        total += _smooth_noise(rng, h, w, max(scale / 2**octave, 1.5)) * 0.55**octave
    return (total - 0.9) * 0.9 + 0.5


def _stripes(rng: np.random.Generator, h: int, w: int) -> Array:
    u, _ = _coordinate(rng, h, w)
    wobble = _smooth_noise(rng, h, w, 30) * np.float32(rng.uniform(0, 6))
    return _soft_step(np.sin((u + wobble) * np.float32(2 * np.pi / rng.uniform(5, 14))), 1.2)


def _checks(rng: np.random.Generator, h: int, w: int) -> Array:
    u, v = _coordinate(rng, h, w)
    k = np.float32(2 * np.pi / rng.uniform(9, 20))
    return _soft_step(np.sin(u * k) * np.sin(v * k), 0.5)


def _spots(rng: np.random.Generator, h: int, w: int) -> Array:
    return _soft_step(_smooth_noise(rng, h, w, rng.uniform(3, 8)) - 0.6, 0.25)


def _cells(rng: np.random.Generator, h: int, w: int) -> Array:
    """Return Voronoi cells of random grey, darker at their borders."""
    count = int(np.clip(h * w / rng.uniform(80, 350), 3, 60))
    seeds = np.full((h, w), 255, np.uint8)
    seeds[rng.integers(0, h, count), rng.integers(0, w, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, cv2.DIST_MASK_5)
    grey = rng.random(int(labels.max()) + 1, dtype=np.float32)[labels]
    return 0.25 + 0.75 * grey - np.clip(distance * 0.02, 0, 0.25)


def _gradient(rng: np.random.Generator, h: int, w: int) -> Array:
    u, _ = _coordinate(rng, h, w)
    span = max(float(np.ptp(u)), 1.0)
    return (u - u.min()) / span + 0.2 * (_smooth_noise(rng, h, w, 4) - 0.5)


def _grain(rng: np.random.Generator, h: int, w: int) -> Array:
    return 0.7 * _smooth_noise(rng, h, w, rng.uniform(1.2, 2.5)) + 0.15


_TEXTURES = (_fractal, _stripes, _checks, _spots, _cells, _gradient, _grain)


def _colour(rng: np.random.Generator) -> Array:
    hue = 6 * rng.random() - np.array([0.0, 2.0, 4.0])
    saturation, value = rng.uniform(0.1, 0.75), rng.uniform(0.25, 0.95)
    vivid = np.clip(np.abs((hue + 3) % 6 - 3) - 1, 0, 1)
    return (value * (1 - saturation + saturation * vivid)).astype(np.float32)


def _colour_apart(rng: np.random.Generator, others: Sequence[Array]) -> Array:
    """Return a colour at a visible distance from the others, or the farthest of several tries."""
    best, best_distance = _colour(rng), -1.0
    for _ in range(12):
        colour = _colour(rng)
        distance = min(float(np.linalg.norm(colour - other)) for other in others)
        if distance > best_distance:
            best, best_distance = colour, distance
        if distance > _MIN_COLOUR_DISTANCE:
            break
    return best


def _paint(rng: np.random.Generator, h: int, w: int, colour: Array, texture: int) -> Array:
    """Return a textured patch ``(h, w, 3)`` with a mean colour of about ``colour``."""
    pattern = _TEXTURES[texture](rng, h, w)
    if rng.random() < 0.35:  # two tones of different hue, else of different brightness
        partner = 0.6 * colour + 0.4 * _colour(rng)
    else:
        partner = colour * np.float32(rng.choice([rng.uniform(0.5, 0.75), rng.uniform(1.25, 1.6)]))
    step = (partner - colour).astype(np.float32)
    return (colour - 0.5 * step) + pattern[..., None] * step


# --- the image ------------------------------------------------------------------------------------


def _background(rng: np.random.Generator, h: int, w: int) -> tuple[Array, list[Array], list[int]]:
    """Return a canvas of one to three textures with smooth borders, their colours and numbers."""
    colours = [_colour(rng)]
    textures = [int(rng.integers(len(_TEXTURES)))]
    canvas = _paint(rng, h, w, colours[0], textures[0])
    for _ in range(int(rng.choice(3, p=[0.45, 0.4, 0.15]))):
        colour = 0.6 * colours[0] + 0.4 * _colour(rng)
        texture = int(rng.integers(len(_TEXTURES)))
        region = _soft_step(_smooth_noise(rng, h, w, 0.45 * min(h, w)) - 0.55, 0.06)
        canvas += region[..., None] * (_paint(rng, h, w, colour, texture) - canvas)
        colours.append(colour)
        textures.append(texture)
    return canvas, colours, textures


def _shade(rng: np.random.Generator, patch: Array, strength: float) -> None:
    h, w = patch.shape[:2]
    u, _ = _coordinate(rng, h, w)
    slope = np.float32(strength * rng.uniform(0, 0.5) / max(float(np.ptp(u)), 1.0))
    patch *= (1 + slope * (u - u.mean()))[..., None]


def _cast_shadow(rng: np.random.Generator, canvas: Array, item: _Object, strength: float) -> None:
    h, w = canvas.shape[:2]
    dx, dy = rng.uniform(-5, 5, 2)
    blur = rng.uniform(1.5, 4)
    depth = np.float32(strength * rng.uniform(0.15, 0.4))
    margin = 16
    top, left = max(item.top - margin, 0), max(item.left - margin, 0)
    bottom = min(item.top + item.inside.shape[0] + margin, h)
    right = min(item.left + item.inside.shape[1] + margin, w)
    matrix = np.array([[1, 0, item.left - left + dx], [0, 1, item.top - top + dy]])
    shadow = cv2.warpAffine(item.coverage, matrix, (right - left, bottom - top))
    shadow = cv2.GaussianBlur(shadow, (0, 0), blur)
    canvas[top:bottom, left:right] *= 1 - depth * shadow[..., None]


def render(
    rng: np.random.Generator,
    size: tuple[int, int],
    kinds: Sequence[str],
    count: int,
    *,
    noise: float,
    light: float,
    occlusion: float,
    camouflage: float,
) -> Rendering:
    """Render one image from a random generator.

    Args:
        rng: Source of every random choice.
        size: (width, height) in pixels.
        kinds: Kinds to choose from.
        count: Number of objects to place. Without room fewer are placed, but at least one unless
            ``count`` is 0.
        noise: Scale of pixel noise and blur; 0 for none.
        light: Scale of uneven light, shading and cast shadows; 0 for none.
        occlusion: Probability in [0, 1] that an object may cover objects behind it.
        camouflage: Probability in [0, 1] that an object has the background's hue and
            differs from it by texture and a little brightness only.
    """
    width, height = size
    objects, ids = _place_objects(rng, kinds, count, height, width, occlusion)
    canvas, colours, textures = _background(rng, height, width)
    background_colour = colours[0]
    for item in objects:
        texture = int(rng.integers(len(_TEXTURES)))
        if rng.random() < camouflage:
            tint = rng.choice([rng.uniform(0.65, 0.85), rng.uniform(1.2, 1.4)])
            colour = background_colour * np.float32(tint)
            while texture == textures[0]:
                texture = int(rng.integers(len(_TEXTURES)))
        else:
            colour = _colour_apart(rng, colours)
        colours.append(colour)
        h, w = item.inside.shape
        patch = _paint(rng, h, w, colour, texture)
        _shade(rng, patch, light)
        if rng.random() < 0.4:
            _cast_shadow(rng, canvas, item, light)
        behind = canvas[item.window]
        behind += item.coverage[..., None] * (patch - behind)

    lamp = _smooth_noise(rng, height, width, 0.7 * max(height, width)) - np.float32(0.5)
    canvas *= np.exp(np.float32(light * rng.uniform(0.3, 1.3)) * lamp)[..., None]
    blur = noise * rng.uniform(0, 0.7)
    if blur > 0.2:
        canvas = cv2.GaussianBlur(canvas, (0, 0), blur)
    sigma = np.float32(noise * rng.uniform(0.01, 0.05))
    canvas = canvas + sigma * rng.standard_normal(canvas.shape, dtype=np.float32)
    image = np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
    return Rendering(np.ascontiguousarray(image), ids, tuple(item.kind for item in objects))
