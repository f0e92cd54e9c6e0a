"""The structures that dermatoscopy names, each a map of about 0 to 1."""

import cv2
import numpy as np

from core.data.drawing.layers import CANVAS, Map, Outline, blur, cells, noise, patches, ramp, spots, walls


def pigment_network(rng: np.random.Generator, spacing: float, width: float = 1.7) -> Map:
    """Return the honeycomb of brown lines over rete ridges; holes are `spacing` pixels apart."""
    return np.clip(blur(walls(cells(rng, spacing)), width) * (1.9 * width), 0, 1.3)


def globules(rng: np.random.Generator, where: Map, spacing: float = 15) -> Map:
    """Return round brown clods, evenly spread over `where`."""
    return blur(spots(rng, where, spacing, (spacing * 0.24, spacing * 0.40), 0.85), 1.6)


def irregular_dots(rng: np.random.Generator, where: Map, keep: float = 0.3) -> Map:
    """Return dark dots of uneven size, unevenly spread."""
    uneven = where * (noise(rng, 70) > -0.1)
    return blur(spots(rng, uneven, 19, (1.5, 6.0), keep), 1.2)


def streaks(rng: np.random.Generator, shape: Outline) -> Map:
    """Return radial lines and bulbs on one side of the border (radial streaming, pseudopods)."""
    drawing = np.zeros((CANVAS, CANVAS), np.uint8)
    middle, facing = CANVAS / 2, rng.uniform(0, 2 * np.pi)
    ys, xs = np.nonzero(np.abs(shape.depth) < 0.02)
    angles = np.arctan2(ys - middle, xs - middle)
    for angle in facing + rng.normal(0, 0.6, 26):
        nearest = int(np.argmin(np.abs(np.angle(np.exp(1j * (angles - angle))))))
        start = np.array([xs[nearest], ys[nearest]], np.float64)
        away = (start - middle) / (np.hypot(*(start - middle)) + 1e-6)
        away += rng.normal(0, 0.18, 2)
        tip = start + away * shape.radius * rng.uniform(0.05, 0.16)
        tail = start - away * shape.radius * 0.2
        near, far = (tuple(int(v) for v in point) for point in (tail, tip))
        cv2.line(drawing, near, far, 230, int(rng.integers(1, 4)), cv2.LINE_AA)
        cv2.circle(drawing, far, int(rng.integers(1, 4)), 230, -1, cv2.LINE_AA)
    return blur(drawing, 1.5)


def blue_white_veil(rng: np.random.Generator, shape: Outline, share: float = 0.35) -> Map:
    """Return one or two structureless cloudy areas inside the lesion."""
    return patches(rng, shape.radius * 0.8, share, 1.7) * ramp(shape.depth, 0.08, 0.4)


def arborising_vessels(rng: np.random.Generator, shape: Outline, trunks: int) -> Map:
    """Return sharp red vessels that branch like a tree and get thinner with every branch."""
    drawing = np.zeros((CANVAS, CANVAS), np.uint8)
    for _ in range(trunks):
        bearing = rng.uniform(0, 2 * np.pi)
        away = np.array([np.cos(bearing), np.sin(bearing)])
        start = CANVAS / 2 + away * shape.radius * rng.uniform(0.6, 0.95)
        heading = bearing + np.pi + rng.normal(0, 0.6)
        _grow_vessel(rng, drawing, start, heading, shape.radius * rng.uniform(0.7, 1.1), 3)
    return blur(drawing, 0.9) * ramp(shape.depth, -0.15, 0.05)


def _grow_vessel(
    rng: np.random.Generator,
    drawing: np.ndarray,
    start: np.ndarray,
    heading: float,
    length: float,
    thickness: int,
) -> None:
    """Draw one meandering vessel and, from points along it, thinner ones, until they are hairs."""
    steps = max(4, int(length / 9))
    headings = heading + np.cumsum(rng.normal(0, 0.28, steps))
    moves = np.stack([np.cos(headings), np.sin(headings)], 1) * (length / steps)
    path = start + np.cumsum(moves, axis=0)
    fixed = np.round(np.vstack([start, path]) * 8).astype(np.int32)
    cv2.polylines(drawing, [fixed], False, 110 + 45 * thickness, thickness, cv2.LINE_AA, shift=3)
    if thickness == 1:
        return
    for index in rng.choice(steps, size=min(steps, 3), replace=False):
        turn = rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
        reach = length * rng.uniform(0.35, 0.6)
        _grow_vessel(rng, drawing, path[index], headings[index] + turn, reach, thickness - 1)


def ovoid_nests(rng: np.random.Generator, shape: Outline, keep: float) -> Map:
    """Return the well-defined blue-grey ovals of a pigmented basal cell carcinoma."""
    near_border = (shape.depth > 0.08) & (shape.depth < 0.8)
    big = spots(rng, near_border, 36, (4, 15), keep)
    return np.maximum(blur(big, 3.0), blur(spots(rng, near_border, 17, (1.5, 4), keep / 2), 1.2))


def ulceration(rng: np.random.Generator, shape: Outline) -> Map:
    """Return a small sore with a ragged edge, somewhere off the middle."""
    sore = np.zeros((CANVAS, CANVAS), np.uint8)
    place = tuple(int(v) for v in CANVAS / 2 + rng.normal(0, 0.22, 2) * shape.radius)
    cv2.circle(sore, place, int(shape.radius * rng.uniform(0.12, 0.26)), 255, -1)
    return ramp(blur(sore, 9) + 0.13 * noise(rng, 14), 0.42, 0.62)


def strawberry_pattern(rng: np.random.Generator, spacing: float) -> tuple[Map, Map]:
    """Return (red, white): a red net between follicles, and the pale plug of each follicle."""
    follicles = cells(rng, spacing, 0.3)
    inside = cv2.distanceTransform(255 - walls(follicles), cv2.DIST_L2, 3)
    plug = ramp(inside, spacing * 0.22, spacing * 0.36)
    return 1 - ramp(inside, spacing * 0.10, spacing * 0.34), plug


def scale(rng: np.random.Generator, share: float) -> Map:
    """Return dry white flakes: fine grain, gathered in patches, with hard edges."""
    flakes = ramp(noise(rng, 6) + 0.9 * noise(rng, 24), 0.5, 1.9)
    return flakes * patches(rng, 70, share, 0.8)


def milia_like_cysts(rng: np.random.Generator, where: Map, keep: float) -> Map:
    """Return small bright round dots with a soft rim: keratin cysts seen through the surface."""
    return blur(spots(rng, where, 30, (2.2, 5.5), keep), 1.8)


def comedo_openings(rng: np.random.Generator, where: Map, keep: float) -> Map:
    """Return dark, sharply cut plugs of keratin."""
    return blur(spots(rng, where, 34, (3, 8), keep), 1.1)


def fissures(rng: np.random.Generator, cell: float) -> Map:
    """Return the furrows of a brain-like surface: the zero lines of a smooth field."""
    swirl = noise(rng, cell) + 0.35 * noise(rng, cell / 2.5)
    return 1 - ramp(np.abs(swirl), 0.04, 0.55)


def scar_patch(rng: np.random.Generator, shape: Outline, extent: float) -> Map:
    """Return the white scar-like middle of a dermatofibroma, with bright strands through it."""
    wobble = shape.depth + 0.05 * noise(rng, 30)
    strands = 1 - ramp(np.abs(noise(rng, 17)), 0.06, 0.5)
    return ramp(wobble, 1 - extent, 1 - extent * 0.35) * (0.72 + 0.28 * strands)


def lagoons(rng: np.random.Generator, where: Map, spacing: float) -> tuple[Map, Map]:
    """Return (blood, septa): round pools of blood, each of its own depth, and what lies between."""
    sizes = (spacing * 0.34, spacing * 0.6)
    pools = blur(spots(rng, where, spacing, sizes, 0.97), spacing * 0.07 + 0.8)
    return pools, 1 - ramp(pools, 0.1, 0.55)
