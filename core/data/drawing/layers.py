"""What a drawn lesion is made of: maps of what absorbs light and of what scatters it.

A lesion is drawn the way light meets skin: maps of what absorbs (melanin, blood, melanin deep in
the dermis that looks blue, keratin) and of what scatters white (scars, scale, veils) are laid over
the skin and turned to colour once, at the end. That is why a network on pale and on dark skin both
look right, and why no diagnosis has a colour of its own that gives it away.

Every map is a (CANVAS, CANVAS) float32 array; structures return values of about 0 to 1. All that is
random comes from the generator that is passed in, so the same generator draws the same lesion.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

CANVAS = 640
"""Side of the square that a lesion and the skin around it are drawn on, in pixels."""

# Optical density in red, green and blue of one unit of each absorber (log skin / stained skin).
ABSORPTION = {
    "melanin": (0.55, 0.86, 1.06),
    "blood": (0.17, 0.95, 0.68),
    "blue": (0.95, 0.68, 0.36),
    "keratin": (0.10, 0.22, 0.80),
}
SCATTER_COLOUR = (238.0, 226.0, 226.0)

Map = np.ndarray


def _blank() -> Map:
    return np.zeros((CANVAS, CANVAS), np.float32)


@dataclass
class Layers:
    """What absorbs and what scatters, each a (CANVAS, CANVAS) float32 map; white is an opacity."""

    melanin: Map = field(default_factory=_blank)
    blood: Map = field(default_factory=_blank)
    blue: Map = field(default_factory=_blank)
    keratin: Map = field(default_factory=_blank)
    white: Map = field(default_factory=_blank)

    def colour(self) -> np.ndarray:
        """Return what white light makes of the layers, (CANVAS, CANVAS, 3) float32 RGB of 0-255."""
        absorbers = cv2.merge([getattr(self, name) for name in ABSORPTION])
        density = cv2.transform(absorbers, -np.array(list(ABSORPTION.values()), np.float32).T)
        return blend(cv2.exp(density) * 255, SCATTER_COLOUR, np.clip(self.white, 0, 1))

    def __add__(self, other: "Layers") -> "Layers":
        names = [*ABSORPTION, "white"]
        return Layers(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True)
class Outline:
    """Where a lesion is. depth is 1 in its middle, 0 on its border and negative outside."""

    depth: Map
    radius: float

    def fade(self, width: float) -> Map:
        """Return 0 outside, rising to 1 at `width` (in radii) within the border."""
        return ramp(self.depth, -0.25 * width, width)


@dataclass(frozen=True)
class Lesion:
    """A drawn lesion: its layers, without the skin, and its (CANVAS, CANVAS) uint8 0/255 mask."""

    layers: Layers
    mask: np.ndarray


def blend(image: np.ndarray, colour: tuple[float, float, float], opacity: Map) -> np.ndarray:
    """Return a float32 RGB image with one colour laid over it; opacity is (H, W), 0 to 1."""
    flat = np.empty_like(image)
    flat[:] = colour
    return cv2.blendLinear(image, flat, 1 - opacity, opacity)


# --- fields and marks ---------------------------------------------------------------------------


def ramp(values: Map, low: float, high: float) -> Map:
    """Return 0 below low, 1 above high and a smooth step between."""
    t = np.clip((values - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def noise(rng: np.random.Generator, cell: float) -> Map:
    """Return smooth noise of unit deviation whose blobs are about `cell` pixels wide."""
    side = int(CANVAS / cell) + 4
    coarse = rng.standard_normal((side, side), dtype=np.float32)
    # Cubic interpolation of white noise loses about a third of its deviation: put it back.
    return cv2.resize(coarse, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC) * 1.35


def patches(rng: np.random.Generator, cell: float, share: float, soft: float = 0.9) -> Map:
    """Return soft-edged patches that cover about `share` of the canvas."""
    field_ = noise(rng, cell) + 0.35 * noise(rng, cell / 3)
    level = np.quantile(field_[::16, ::16], 1 - share)
    return ramp(field_, level - soft / 2, level + soft / 2)


def outline(rng: np.random.Generator, radius: float, irregular: float, rough: float, slim: float = 0.72) -> Outline:
    """Return a closed outline about the middle of the canvas.

    Args:
        rng: The lesion's generator.
        radius: Radius in pixels of the circle with about the same area.
        irregular: Size of the lobes of the border, 0 (an ellipse) to about 0.3.
        rough: Size of the small teeth of the border, 0 to about 0.12.
        slim: The slimmest allowed ratio of the two axes.
    """
    axis = np.linspace(-CANVAS / 2, CANVAS / 2, CANVAS, dtype=np.float32)
    squeeze, turn = rng.uniform(slim, 1) ** 0.5, rng.uniform(0, np.pi)
    # Python floats: a numpy one would turn these arrays, and all that follows, into doubles.
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    x, y = axis[None, :], axis[:, None]
    along = (x * cosine + y * sine) * squeeze
    across = (y * cosine - x * sine) / squeeze
    distance, angle = cv2.cartToPolar(along, across)
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    border = np.ones_like(angles)
    for lobes in range(2, 8):
        border += irregular * rng.normal() / lobes * np.cos(lobes * angles + rng.uniform(0, 6.28))
    border = np.clip(border, 0.45, 1.7) * radius
    reach = border.astype(np.float32).take((angle * (720 / (2 * np.pi))).astype(np.int32), mode="clip")
    depth = 1 - distance / reach + rough * (noise(rng, 34) + 0.6 * noise(rng, 12))
    return Outline(depth, radius)


def jittered_grid(rng: np.random.Generator, spacing: float, jitter: float = 0.42) -> np.ndarray:
    """Return (n, 2) float points x, y: a hexagonal grid with every point moved a little."""
    columns, rows = int(CANVAS / spacing) + 2, int(CANVAS / (spacing * 0.87)) + 2
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(np.float32)
    grid[1::2, :, 0] += 0.5
    points = grid.reshape(-1, 2) + rng.uniform(-jitter, jitter, (columns * rows, 2))
    points = points * (spacing, spacing * 0.87)
    return points[(points.min(axis=1) >= 0) & (points.max(axis=1) < CANVAS - 1)]


def cells(rng: np.random.Generator, spacing: float, jitter: float = 0.42) -> np.ndarray:
    """Return (CANVAS, CANVAS) int32 numbers of the cells (Voronoi) of a jittered grid."""
    x, y = jittered_grid(rng, spacing, jitter).astype(np.int32).T
    seeds = np.full((CANVAS, CANVAS), 255, np.uint8)
    seeds[y, x] = 0
    return cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)[1]


def walls(cells: np.ndarray) -> np.ndarray:
    """Return (CANVAS, CANVAS) uint8: 255 where a cell meets its right or lower neighbour."""
    walls = np.zeros(cells.shape, np.uint8)
    walls[:, :-1] |= (cells[:, :-1] != cells[:, 1:]).view(np.uint8)
    walls[:-1] |= (cells[:-1] != cells[1:]).view(np.uint8)
    return walls * np.uint8(255)


def blur(image: np.ndarray, sigma: float) -> Map:
    """Return an uint8 0-255 drawing as a float map of 0 to 1, blurred by sigma pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32) * np.float32(1 / 255)


def spots(rng: np.random.Generator, where: Map, spacing: float, size: tuple[float, float], keep: float) -> np.ndarray:
    """Return (CANVAS, CANVAS) uint8 round to oval spots, on places where `where` is positive."""
    drawing = np.zeros((CANVAS, CANVAS), np.uint8)
    places = jittered_grid(rng, spacing)
    columns, rows = places.astype(np.int32).T
    places = places[(where[rows, columns] > 0) & (rng.random(len(places)) < keep)]
    widths = 2 * rng.uniform(*size, len(places))
    heights = widths * rng.uniform(0.65, 1, len(places))
    turns, values = rng.uniform(0, 180, len(places)), rng.integers(150, 256, len(places))
    for place, *box, turn, value in zip(places.tolist(), widths, heights, turns, values, strict=True):
        cv2.ellipse(drawing, (place, box, turn), int(value), -1, cv2.LINE_AA)
    return drawing
