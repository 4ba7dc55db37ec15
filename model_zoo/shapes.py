"""Drawn shapes in cluttered pictures, with the exact pixels of every class.

`sample` draws pictures with one to four objects (circle, square, triangle, star, cross, ring) of random colour,
size and rotation, partly hiding each other, among things that are none of them: textures, gradients, squiggles and
amoeba-like blobs painted in the same colours as the objects. Only the outline tells the class. Because the generator
knows which pixels belong to which class, the masks are exact, and a test can ask how much of the relevance for
"triangle" lies on triangles.

    pictures = sample(16, seed=0)
    pictures.images, pictures.labels, pictures.masks
    pairs = sample(16, seed=0, present=("triangle", "circle"))    # both in every picture

Everything is drawn from signed distances (negative inside an outline, in pixels): half a pixel around zero gives the
smooth edge, the sign gives the mask.
"""

import colorsys
from typing import NamedTuple

import numpy as np
from PIL import Image

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZE = 96


class Pictures(NamedTuple):
    """Pictures with their truth.

    Attributes:
        images: uint8 (n, size, size, 3), RGB.
        labels: float32 (n, 6), 1 where at least one object of that class of `CLASSES` can be seen.
        masks: bool (n, 6, size, size), the visible pixels of each class; no pixel belongs to two classes.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def sample(
    n: int, seed: int, size: int = SIZE, min_objects: int = 1, max_objects: int = 4, present: tuple[str, ...] = ()
) -> Pictures:
    """Draws `n` pictures; the same arguments always give the same pixels.

    Picture i depends only on the seed and on i, so the first ten of a hundred are the ten of `sample(10, ...)`.

    Args:
        n: number of pictures.
        seed: non-negative int; different seeds give independent pictures.
        size: height and width in pixels, at least 48. The network of the zoo takes 96.
        min_objects, max_objects: bounds of the number of objects in a picture. An object that finds no free place
            is left out, so a crowded picture may hold fewer; never less than the classes in `present` and one.
        present: names from `CLASSES`; every picture holds exactly one object of each and no other class
            (min_objects and max_objects then do not count).

    Returns:
        `Pictures` (images, labels, masks).

    Raises:
        ValueError: a class name that does not exist, a size below 48, or bounds that contradict each other.
    """
    unknown = [name for name in present if name not in CLASSES]
    if unknown or len(set(present)) != len(present):
        raise ValueError(f"present must hold different names out of {CLASSES}; got {tuple(present)}.")
    if size < 48:
        raise ValueError(f"size must be at least 48 pixels, or the shapes cannot be distinguished; got {size}.")
    if n < 0 or not 1 <= min_objects <= max_objects:
        raise ValueError(
            f"Expected n >= 0 and 1 <= min_objects <= max_objects; got n={n}, min_objects={min_objects}, "
            f"max_objects={max_objects}."
        )
    images = np.empty((n, size, size, 3), np.uint8)
    masks = np.empty((n, len(CLASSES), size, size), bool)
    for i in range(n):
        rng = np.random.default_rng((seed, i))
        if present:
            kinds = [CLASSES.index(name) for name in present]
            rng.shuffle(kinds)
        else:
            kinds = rng.integers(len(CLASSES), size=rng.integers(min_objects, max_objects + 1)).tolist()
        images[i], masks[i] = _picture(rng, size, kinds, keep_all=bool(present))
    return Pictures(images, np.asarray(masks.any(axis=(2, 3)), np.float32), masks)


# ---- one picture ----------------------------------------------------------------------------------------------------


def _picture(rng, size, kinds, keep_all):
    places = _places(rng, size, len(kinds), keep_all)
    canvas = _background(rng, size)
    mask = np.zeros((len(CLASSES), size, size), bool)
    for _ in range(rng.integers(2, 6)):
        _paint_squiggle(canvas, rng, thickness=rng.uniform(0.8, 2.2))
    for _ in range(rng.integers(2, 5)):
        _paint_blob(canvas, rng)
    for kind, (y, x, radius) in zip(kinds, places, strict=False):
        inside = _paint_shape(canvas, rng, CLASSES[kind], y, x, radius)
        mask &= ~inside
        mask[kind] |= inside
    if rng.random() < 0.35:  # a thin line across everything: objects in front are hidden too, not only those behind
        mask &= ~_paint_squiggle(canvas, rng, thickness=rng.uniform(0.7, 1.3))
    canvas += rng.normal(0, rng.uniform(0.005, 0.025), canvas.shape)
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8), mask


def _places(rng, size, count, keep_all):
    """Centres and radii; outlines may overlap a little, never so much that an object cannot be recognised."""
    largest = 0.2
    while True:
        places = []
        for _ in range(count):
            for _ in range(30):
                radius = size * rng.uniform(0.115, largest)
                y, x = rng.uniform(radius * 1.1, size - radius * 1.1, 2)
                if all(np.hypot(y - b, x - a) > 0.85 * (radius + r) for b, a, r in places):
                    places.append((y, x, radius))
                    break
        if len(places) == count or not keep_all:
            return places
        largest = max(0.12, largest * 0.9)  # too crowded for large objects: start again with smaller ones


def _background(rng, size):
    """Two colours flowing into each other, cloudy noise, sometimes stripes."""
    v, u = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * u + np.sin(angle) * v
    hue, value = rng.random(), rng.uniform(0.3, 0.85)
    first = _colour(hue, rng.uniform(0.05, 0.5), value)
    second = _colour(hue + rng.normal(0, 0.12), rng.uniform(0.05, 0.5), np.clip(value + rng.normal(0, 0.2), 0.15, 0.95))
    mix = np.clip(slope + 0.5 + 0.35 * _clouds(rng, size, rng.integers(3, 7)), 0, 1)[..., None]
    canvas = first * (1 - mix) + second * mix
    canvas += rng.uniform(0.02, 0.08) * _clouds(rng, size, rng.integers(10, 30))[..., None]
    if rng.random() < 0.4:
        angle = rng.uniform(0, np.pi)
        wave = np.sin((np.cos(angle) * u + np.sin(angle) * v) * rng.uniform(25, 75) + 2 * _clouds(rng, size, 4))
        canvas += rng.uniform(0.02, 0.06) * wave[..., None]
    return canvas.astype(np.float32)


def _clouds(rng, size, cells):
    """Smooth noise of about unit variance, `cells` bumps across."""
    grid = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def _colour(hue, saturation, value):
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)


# ---- painting -------------------------------------------------------------------------------------------------------


def _paint_shape(canvas, rng, kind, y, x, radius):
    """Paints one object and returns the pixels it covers, bool (size, size)."""
    angle = rng.uniform(0, 2 * np.pi)
    return _paint(canvas, rng, y, x, radius, lambda u, v: OUTLINES[kind](u, v, radius), angle)


def _paint_blob(canvas, rng):
    size = len(canvas)
    radius = size * rng.uniform(0.05, 0.14)
    y, x = rng.uniform(0, size, 2)
    # several waves of different frequency on a circle: bent and dented, so that it is never one of the shapes
    waves = [(k, rng.uniform(0.14, 0.26), rng.uniform(0, 2 * np.pi)) for k in (2, 3, rng.integers(4, 7))]

    def distance(u, v):
        theta = np.arctan2(v, u)
        return np.hypot(u, v) - radius * (0.9 + sum(a * np.cos(k * theta + p) for k, a, p in waves))

    _paint(canvas, rng, y, x, radius * 1.8, distance, 0.0)


def _paint(canvas, rng, y, x, reach, distance, angle):
    """Fills the outline given by `distance(u, v)`, with a soft shadow, in a colour that stands out from what is there.

    Objects and blobs go through here alike: neither colour nor shadow nor edge distinguishes them.
    """
    size = len(canvas)
    rows = slice(max(0, int(y - reach) - 5), min(size, int(y + reach) + 7))
    columns = slice(max(0, int(x - reach) - 5), min(size, int(x + reach) + 7))
    patch = canvas[rows, columns]
    v, u = np.mgrid[rows, columns].astype(np.float32)
    u, v = u - np.float32(x), v - np.float32(y)

    def turned(u, v):
        return distance(np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u)

    shadow = np.clip(0.5 - turned(u - 1, v - 1.5) / 5, 0, 1)[..., None]
    patch *= 1 - rng.uniform(0.15, 0.35) * shadow
    d = turned(u, v)
    around = patch.mean(axis=(0, 1))
    for _ in range(20):
        colour = _colour(rng.random(), rng.uniform(0.25, 0.95), rng.uniform(0.25, 1.0))
        if np.abs(colour - around).sum() > 0.7:
            break
    light = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0, 0.22) * (np.cos(light) * u + np.sin(light) * v) / reach
    fill = colour * shade[..., None]
    if rng.random() < 0.4:  # a rim, darker or lighter than the filling
        rim = colour * rng.uniform(0.45, 0.7) if rng.random() < 0.6 else 1 - (1 - colour) * rng.uniform(0.35, 0.6)
        inner = np.clip(-d - rng.uniform(1.2, 2.2) + 0.5, 0, 1)[..., None]
        fill = fill * inner + rim * (1 - inner)
    cover = np.clip(0.5 - d, 0, 1)[..., None]
    patch *= 1 - cover
    patch += cover * fill
    inside = np.zeros((size, size), bool)
    inside[rows, columns] = d < 0
    return inside


def _paint_squiggle(canvas, rng, thickness):
    """A straight or wavy line of limited length; returns the pixels it covers."""
    size = len(canvas)
    v, u = np.mgrid[:size, :size].astype(np.float32)
    y, x = rng.uniform(0.1, 0.9, 2) * size
    angle = rng.uniform(0, np.pi)
    u, v = u - np.float32(x), v - np.float32(y)
    along, across = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    height, frequency = rng.uniform(0, 0.06) * size, rng.uniform(4, 14) / size
    phase, half_length = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.6) * size
    steepness = height * frequency * np.cos(frequency * along + phase)
    d = np.abs(across - height * np.sin(frequency * along + phase)) / np.sqrt(1 + steepness**2) - thickness
    d = np.maximum(d, np.abs(along) - half_length)
    cover = np.clip(0.5 - d, 0, 1)[..., None]
    canvas *= 1 - cover
    canvas += cover * _colour(rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.15, 1.0))
    return d < 0


# ---- outlines: signed distance in pixels at (u, v) from the centre, for a shape that reaches about `radius` ---------


def _circle(u, v, radius):
    return np.hypot(u, v) - 0.88 * radius


def _ring(u, v, radius):
    return np.abs(np.hypot(u, v) - 0.72 * radius) - 0.2 * radius


def _square(u, v, radius):
    return np.maximum(np.abs(u), np.abs(v)) - 0.76 * radius


def _triangle(u, v, radius):
    return np.maximum(-v, 0.5 * v + np.sqrt(0.75) * np.abs(u)) - 0.55 * radius


def _star(u, v, radius):
    """Five points: by symmetry only the edge from one tip to the next dent has to be looked at."""
    tenth = np.pi / 5
    theta = np.abs((np.arctan2(v, u) + tenth) % (2 * tenth) - tenth)
    rho = np.hypot(u, v)
    tip, dent = 1.08 * radius, 0.47 * radius
    edge = np.array([dent * np.cos(tenth) - tip, dent * np.sin(tenth)])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return (rho * np.cos(theta) - tip) * normal[0] + rho * np.sin(theta) * normal[1]


def _cross(u, v, radius):
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(u, v) - 0.95 * radius, np.minimum(u, v) - 0.3 * radius)


OUTLINES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}
