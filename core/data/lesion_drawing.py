"""Draw one synthetic skin lesion: a dermatoscopic cartoon of each of the seven diagnoses.

A lesion is drawn the way light meets skin: maps of what absorbs (melanin, blood, melanin deep in
the dermis that looks blue, keratin) and of what scatters white (scars, scale, veils) are laid over
the skin and turned to colour once, at the end. That is why a network on pale and on dark skin both
look right, and why no diagnosis has a colour of its own that gives it away.

Every map is a (CANVAS, CANVAS) float32 array; structures return values of about 0 to 1. All that is
random comes from the generator that is passed in, so the same generator draws the same lesion.
"""

from collections.abc import Callable
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


def outline(
    rng: np.random.Generator, radius: float, irregular: float, rough: float, slim: float = 0.72
) -> Outline:
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
    reach = border.astype(np.float32).take(
        (angle * (720 / (2 * np.pi))).astype(np.int32), mode="clip"
    )
    depth = 1 - distance / reach + rough * (noise(rng, 34) + 0.6 * noise(rng, 12))
    return Outline(depth, radius)


def _jittered_grid(rng: np.random.Generator, spacing: float, jitter: float = 0.42) -> np.ndarray:
    """Return (n, 2) float points x, y: a hexagonal grid with every point moved a little."""
    columns, rows = int(CANVAS / spacing) + 2, int(CANVAS / (spacing * 0.87)) + 2
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(np.float32)
    grid[1::2, :, 0] += 0.5
    points = grid.reshape(-1, 2) + rng.uniform(-jitter, jitter, (columns * rows, 2))
    points = points * (spacing, spacing * 0.87)
    return points[(points.min(axis=1) >= 0) & (points.max(axis=1) < CANVAS - 1)]


def _cells(rng: np.random.Generator, spacing: float, jitter: float = 0.42) -> np.ndarray:
    """Return (CANVAS, CANVAS) int32 numbers of the cells (Voronoi) of a jittered grid."""
    x, y = _jittered_grid(rng, spacing, jitter).astype(np.int32).T
    seeds = np.full((CANVAS, CANVAS), 255, np.uint8)
    seeds[y, x] = 0
    labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    return labels


def _walls(cells: np.ndarray) -> np.ndarray:
    """Return (CANVAS, CANVAS) uint8: 255 where a cell meets its right or lower neighbour."""
    walls = np.zeros(cells.shape, np.uint8)
    walls[:, :-1] |= (cells[:, :-1] != cells[:, 1:]).view(np.uint8)
    walls[:-1] |= (cells[:-1] != cells[1:]).view(np.uint8)
    return walls * np.uint8(255)


def _blur(image: np.ndarray, sigma: float) -> Map:
    """Return an uint8 0-255 drawing as a float map of 0 to 1, blurred by sigma pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.float32) * np.float32(1 / 255)


def _spots(
    rng: np.random.Generator, where: Map, spacing: float, size: tuple[float, float], keep: float
) -> np.ndarray:
    """Return (CANVAS, CANVAS) uint8 round to oval spots, on places where `where` is positive."""
    drawing = np.zeros((CANVAS, CANVAS), np.uint8)
    places = _jittered_grid(rng, spacing)
    columns, rows = places.astype(np.int32).T
    places = places[(where[rows, columns] > 0) & (rng.random(len(places)) < keep)]
    widths = 2 * rng.uniform(*size, len(places))
    heights = widths * rng.uniform(0.65, 1, len(places))
    turns, values = rng.uniform(0, 180, len(places)), rng.integers(150, 256, len(places))
    for place, *box, turn, value in zip(
        places.tolist(), widths, heights, turns, values, strict=True
    ):
        cv2.ellipse(drawing, (place, box, turn), int(value), -1, cv2.LINE_AA)
    return drawing


# --- the structures that dermatoscopy names -------------------------------------------------------


def pigment_network(rng: np.random.Generator, spacing: float, width: float = 1.7) -> Map:
    """Return the honeycomb of brown lines over rete ridges; holes are `spacing` pixels apart."""
    return np.clip(_blur(_walls(_cells(rng, spacing)), width) * (1.9 * width), 0, 1.3)


def globules(rng: np.random.Generator, where: Map, spacing: float = 15) -> Map:
    """Return round brown clods, evenly spread over `where`."""
    return _blur(_spots(rng, where, spacing, (spacing * 0.24, spacing * 0.40), 0.85), 1.6)


def irregular_dots(rng: np.random.Generator, where: Map, keep: float = 0.3) -> Map:
    """Return dark dots of uneven size, unevenly spread."""
    uneven = where * (noise(rng, 70) > -0.1)
    return _blur(_spots(rng, uneven, 19, (1.5, 6.0), keep), 1.2)


def streaks(rng: np.random.Generator, shape: Outline, count: int = 26) -> Map:
    """Return radial lines and bulbs on one side of the border (radial streaming, pseudopods)."""
    drawing = np.zeros((CANVAS, CANVAS), np.uint8)
    middle, facing = CANVAS / 2, rng.uniform(0, 2 * np.pi)
    ys, xs = np.nonzero(np.abs(shape.depth) < 0.02)
    angles = np.arctan2(ys - middle, xs - middle)
    for angle in facing + rng.normal(0, 0.6, count):
        nearest = int(np.argmin(np.abs(np.angle(np.exp(1j * (angles - angle))))))
        start = np.array([xs[nearest], ys[nearest]], np.float64)
        away = (start - middle) / (np.hypot(*(start - middle)) + 1e-6)
        away += rng.normal(0, 0.18, 2)
        tip = start + away * shape.radius * rng.uniform(0.05, 0.16)
        tail = start - away * shape.radius * 0.2
        ends = [tuple(int(v) for v in point) for point in (tail, tip)]
        cv2.line(drawing, *ends, 230, int(rng.integers(1, 4)), cv2.LINE_AA)
        cv2.circle(drawing, ends[1], int(rng.integers(1, 4)), 230, -1, cv2.LINE_AA)
    return _blur(drawing, 1.5)


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
    return _blur(drawing, 0.9) * ramp(shape.depth, -0.15, 0.05)


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
    big = _spots(rng, near_border, 36, (4, 15), keep)
    return np.maximum(_blur(big, 3.0), _blur(_spots(rng, near_border, 17, (1.5, 4), keep / 2), 1.2))


def ulceration(rng: np.random.Generator, shape: Outline) -> Map:
    """Return a small sore with a ragged edge, somewhere off the middle."""
    sore = np.zeros((CANVAS, CANVAS), np.uint8)
    place = tuple(int(v) for v in CANVAS / 2 + rng.normal(0, 0.22, 2) * shape.radius)
    cv2.circle(sore, place, int(shape.radius * rng.uniform(0.12, 0.26)), 255, -1)
    return ramp(_blur(sore, 9) + 0.13 * noise(rng, 14), 0.42, 0.62)


def strawberry_pattern(rng: np.random.Generator, spacing: float) -> tuple[Map, Map]:
    """Return (red, white): a red net between follicles, and the pale plug of each follicle."""
    cells = _cells(rng, spacing, 0.3)
    inside = cv2.distanceTransform(255 - _walls(cells), cv2.DIST_L2, 3)
    plug = ramp(inside, spacing * 0.22, spacing * 0.36)
    return 1 - ramp(inside, spacing * 0.10, spacing * 0.34), plug


def scale(rng: np.random.Generator, share: float) -> Map:
    """Return dry white flakes: fine grain, gathered in patches, with hard edges."""
    flakes = ramp(noise(rng, 6) + 0.9 * noise(rng, 24), 0.5, 1.9)
    return flakes * patches(rng, 70, share, 0.8)


def milia_like_cysts(rng: np.random.Generator, where: Map, keep: float) -> Map:
    """Return small bright round dots with a soft rim: keratin cysts seen through the surface."""
    return _blur(_spots(rng, where, 30, (2.2, 5.5), keep), 1.8)


def comedo_openings(rng: np.random.Generator, where: Map, keep: float) -> Map:
    """Return dark, sharply cut plugs of keratin."""
    return _blur(_spots(rng, where, 34, (3, 8), keep), 1.1)


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
    pools = _blur(_spots(rng, where, spacing, sizes, 0.97), spacing * 0.07 + 0.8)
    return pools, 1 - ramp(pools, 0.1, 0.55)


# --- the seven diagnoses --------------------------------------------------------------------------


def _bend(rng: np.random.Generator, layers: Layers, mask: np.ndarray) -> tuple[Layers, np.ndarray]:
    """Bend all maps together by a few pixels: nothing in skin is a perfect circle or polygon."""
    x, y = np.meshgrid(*[np.arange(CANVAS, dtype=np.float32)] * 2)
    x += 3.0 * noise(rng, 60) + 0.7 * noise(rng, 14)
    y += 3.0 * noise(rng, 60) + 0.7 * noise(rng, 14)
    absorbers = cv2.merge([getattr(layers, name) for name in ABSORPTION])
    absorbers = cv2.remap(absorbers, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rest = cv2.merge([layers.white, mask.astype(np.float32)])
    rest = cv2.remap(rest, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bent = Layers(*cv2.split(absorbers), np.ascontiguousarray(rest[..., 0]))
    return bent, (rest[..., 1] > 127).astype(np.uint8) * np.uint8(255)


def _finish(rng: np.random.Generator, shape: Outline, layers: Layers) -> Lesion:
    """Return the lesion with the mask that a person would draw: one piece, rounded teeth."""
    mask = (shape.depth > 0).astype(np.uint8) * np.uint8(255)
    layers, mask = _bend(rng, layers, mask)
    smooth = (cv2.GaussianBlur(mask, (0, 0), 4) > 127).astype(np.uint8)
    _, pieces, sizes, _ = cv2.connectedComponentsWithStats(smooth)
    largest = 1 + int(np.argmax(sizes[1:, cv2.CC_STAT_AREA]))
    return Lesion(layers, (pieces == largest).astype(np.uint8) * np.uint8(255))


def melanocytic_nevus(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw a nevus: symmetric, even brown, with one regular pattern. One in four is atypical."""
    atypical = rng.random() < 0.25
    shape = outline(rng, radius, 0.24 if atypical else 0.07, 0.06 if atypical else 0.022)
    body = shape.fade(rng.uniform(0.12, 0.5)) * rng.uniform(0.65, 1.5)
    body *= 0.72 + rng.uniform(-0.1, 0.4) * np.clip(shape.depth, 0, 1)
    body *= 1 + (0.32 if atypical else 0.1) * noise(rng, 60)
    layers = Layers(blood=shape.fade(0.3) * rng.uniform(0.05, 0.4))
    pattern = rng.choice(["network", "globules", "plain"], p=[0.55, 0.27, 0.18])
    if pattern == "network":
        lines = pigment_network(rng, rng.uniform(10, 16), rng.uniform(1.4, 2.0))
        layers.melanin = body * (0.5 + rng.uniform(0.6, 1.1) * lines)
    elif pattern == "globules":
        clods = globules(rng, shape.depth - 0.03, rng.uniform(12, 19))
        layers.melanin = body * (0.55 + rng.uniform(0.5, 1.0) * clods)
    else:
        layers.melanin = body * (0.95 + 0.08 * noise(rng, 8))
    if atypical:
        layers.melanin += 0.7 * irregular_dots(rng, shape.depth, 0.15)
        layers.melanin *= 1 - 0.5 * patches(rng, radius * 0.7, 0.25, 1.6)
        blotches = patches(rng, radius * 0.75, 0.3, 1.5) * shape.fade(0.2)
        layers.melanin += blotches * rng.uniform(0, 0.8)
        layers.blue = blotches * rng.uniform(-0.5, 0.4)
        layers.blue = np.maximum(layers.blue, 0)
    return _finish(rng, shape, layers)


def melanoma(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw a melanoma: lopsided, of several colours.

    One in three is early, and easily taken for an atypical nevus; a few are nearly without pigment.
    """
    kind = rng.choice(["frank", "early", "pale"], p=[0.54, 0.32, 0.14])
    early = kind == "early"
    # How far along it is: every sign of malignancy below is scaled by it.
    signs = rng.uniform(0.2, 0.7) if early else 1.0
    shape = outline(rng, radius, 0.12 + 0.19 * signs, 0.03 + 0.06 * signs, slim=0.6)
    pigment = {"frank": 1.15, "early": 0.95, "pale": 0.35}[kind] * rng.uniform(0.7, 1.25)
    inside = shape.fade(rng.uniform(0.1, 0.45 if early else 0.22))
    lines = pigment_network(rng, rng.uniform(11, 16) + 5 * signs, 1.6 + 0.9 * signs)
    broken = 1 - signs * patches(rng, radius * 0.6, 0.5, 1.6)
    layers = Layers(melanin=inside * pigment * (0.6 + 0.8 * lines * broken + 0.2 * noise(rng, 40)))
    blotches = patches(rng, radius * 0.75, 0.34, 1.5) * ramp(shape.depth, 0.0, 0.15)
    layers.melanin += signs * blotches * pigment * rng.uniform(0.7, 1.7)
    dots = irregular_dots(rng, shape.depth - 0.02, 0.35 * signs)
    layers.melanin += 1.1 * dots * min(pigment, 1)
    if kind != "pale" and rng.random() < 0.45 * signs:
        layers.melanin += 1.2 * streaks(rng, shape)
    reds = patches(rng, radius * 0.7, 0.75 if kind == "pale" else 0.35, 2.0)
    layers.blood = inside * (0.12 + signs * reds * rng.uniform(0.3, 0.8))
    if rng.random() < signs:
        veil = blue_white_veil(rng, shape, rng.uniform(0.2, 0.45))
        layers.melanin *= 1 - 0.6 * signs * veil
        layers.blue = veil * rng.uniform(0.4, 1.3) * (0.5 if kind == "pale" else signs)
        layers.white = veil * rng.uniform(0.1, 0.3)
    if rng.random() < 0.4 * signs:
        regression = patches(rng, radius * 0.5, 0.16, 1.4) * ramp(shape.depth, 0.05, 0.25)
        layers.melanin *= 1 - 0.6 * regression
        layers.white += 0.2 * regression
    layers.melanin = np.maximum(layers.melanin, 0)
    return _finish(rng, shape, layers)


def basal_cell_carcinoma(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw a basal cell carcinoma: pearly pink, with tree-like vessels, blue-grey nests, a sore."""
    shape = outline(rng, radius, 0.16, 0.06)
    inside = shape.fade(rng.uniform(0.2, 0.5))
    layers = Layers(blood=inside * (rng.uniform(0.15, 0.45) + 0.08 * noise(rng, 50)))
    layers.white = inside * (rng.uniform(0.08, 0.3) + 0.08 * noise(rng, 45))
    layers.melanin = inside * rng.uniform(0.0, 0.25) * patches(rng, 60, 0.5, 1.0)
    has_vessels = rng.random() < 0.8
    if has_vessels:
        vessels = arborising_vessels(rng, shape, int(rng.integers(2, 6)))
        layers.blood += vessels * rng.uniform(0.8, 1.5)
        layers.white *= 1 - 0.8 * vessels
    if not has_vessels or rng.random() < 0.6:  # without either there would be nothing to see
        nests = ovoid_nests(rng, shape, rng.uniform(0.2, 0.6))
        layers.blue += nests * rng.uniform(0.45, 1.0)
        layers.melanin += nests * rng.uniform(0.1, 0.6)
        layers.white *= 1 - nests
    if rng.random() < 0.35:
        sore = ulceration(rng, shape)
        layers.blood += sore * rng.uniform(0.6, 1.1)
        layers.melanin += sore * rng.uniform(0.2, 0.7)
        layers.white *= 1 - sore
    return _finish(rng, shape, layers)


def actinic_keratosis(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw an actinic keratosis: an ill-defined pink plaque, scaly, with the strawberry pattern."""
    shape = outline(rng, radius, 0.22, 0.1)
    inside = shape.fade(rng.uniform(0.35, 0.7))
    red, plugs = strawberry_pattern(rng, rng.uniform(15, 24))
    clear = rng.uniform(0.2, 1.0)
    uneven = np.clip(0.85 + 0.25 * noise(rng, 55), 0.2, 1.5)
    layers = Layers(blood=inside * uneven * (rng.uniform(0.3, 0.6) + 0.5 * clear * red))
    layers.white = inside * (0.28 * clear * plugs + rng.uniform(0.3, 0.75) * scale(rng, 0.5))
    layers.keratin = inside * patches(rng, 60, 0.35, 1.6) * rng.uniform(0.1, 0.6)
    if rng.random() < 0.4:
        pigment = patches(rng, 45, 0.4, 1.4) * (0.5 + 0.5 * noise(rng, 11))
        layers.melanin = np.maximum(inside * pigment * rng.uniform(0.4, 1.0), 0)
    return _finish(rng, shape, layers)


def benign_keratosis(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw a seborrhoeic keratosis, stuck on and sharply cut, or (one in three) a flat lentigo."""
    flat = rng.random() < 0.33
    shape = outline(rng, radius, 0.14, 0.08 if flat else 0.05)
    depth = shape.depth - (0.3 * patches(rng, 26, 0.3) * ramp(-shape.depth, -0.35, -0.1))
    shape = Outline(depth.astype(np.float32), radius)
    inside = shape.fade(rng.uniform(0.04, 0.35 if flat else 0.12))
    tone, furrows = rng.uniform(0.4, 1.2), fissures(rng, rng.uniform(26, 44))
    layers = Layers(keratin=inside * (rng.uniform(0, 0.2) if flat else rng.uniform(0.05, 0.5)))
    if flat:
        lines = pigment_network(rng, rng.uniform(9, 13), 1.6)
        layers.melanin = inside * tone * (0.5 + 0.35 * lines + 0.15 * noise(rng, 35))
    else:
        layers.melanin = inside * tone * (0.6 + rng.uniform(0.1, 0.8) * furrows)
        layers.melanin *= 1 + 0.15 * noise(rng, 12)
        layers.melanin += 1.3 * comedo_openings(rng, shape.depth - 0.1, rng.uniform(0, 0.5))
        cysts = milia_like_cysts(rng, shape.depth - 0.08, rng.uniform(0.05, 0.6))
        layers.melanin *= 1 - 0.7 * cysts
        layers.white = 0.75 * cysts
    if rng.random() < 0.3:
        # Irritated, and dark in places: the keratosis that is cut out for fear of a melanoma.
        dark = patches(rng, radius * 0.7, 0.4, 1.5) * inside
        layers.melanin += dark * rng.uniform(0.3, 1.0)
        layers.blood += dark * rng.uniform(0, 0.4)
        layers.blue = inside * 0.5 * patches(rng, 70, 0.3, 1.4)
    layers.melanin = np.maximum(layers.melanin, 0)
    return _finish(rng, shape, layers)


def dermatofibroma(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw a dermatofibroma: a white scar in the middle of a delicate, fading brown network."""
    shape = outline(rng, radius, 0.07, 0.03)
    inside = shape.fade(rng.uniform(0.4, 0.7))
    scar = scar_patch(rng, shape, rng.uniform(0.45, 0.85))
    lines = pigment_network(rng, rng.uniform(9, 13), 1.4)
    tone = rng.uniform(0.45, 1.0)
    layers = Layers(melanin=inside * tone * (0.4 + 0.55 * lines) * (1 - 0.85 * scar))
    layers.blood = inside * rng.uniform(0.05, 0.3) * (1 - 0.4 * scar)
    layers.white = scar * rng.uniform(0.25, 0.75)
    return _finish(rng, shape, layers)


def vascular_lesion(rng: np.random.Generator, radius: float) -> Lesion:
    """Draw an angioma: lagoons of red to purple blood between whitish septa; a few are clotted."""
    shape = outline(rng, radius, 0.10, 0.03)
    inside = shape.fade(rng.uniform(0.06, 0.18))
    pools, septa = lagoons(rng, shape.depth + 0.03, radius * rng.uniform(0.16, 0.42))
    purple, clotted = rng.uniform(0, 0.55), rng.random() < 0.15
    layers = Layers(blood=inside * (rng.uniform(0.7, 1.2) + pools * rng.uniform(0.4, 1.0)))
    layers.blue = inside * pools * (purple + 0.2 * np.clip(noise(rng, 50), 0, 2))
    layers.white = inside * (septa * rng.uniform(0.05, 0.4) + rng.uniform(0, 0.12))
    if clotted:
        layers.melanin = inside * pools * patches(rng, radius * 0.6, 0.6) * rng.uniform(0.6, 1.4)
    return _finish(rng, shape, layers)


DRAWERS: dict[str, Callable[[np.random.Generator, float], Lesion]] = {
    "akiec": actinic_keratosis,
    "bcc": basal_cell_carcinoma,
    "bkl": benign_keratosis,
    "df": dermatofibroma,
    "mel": melanoma,
    "nv": melanocytic_nevus,
    "vasc": vascular_lesion,
}


def draw_lesion(dx: str, rng: np.random.Generator) -> Lesion:
    """Return a lesion of diagnosis `dx`; sizes have one distribution, whatever the diagnosis."""
    radius = float(np.clip(rng.lognormal(np.log(108), 0.32), 58, 180))
    return DRAWERS[dx](rng, radius)
