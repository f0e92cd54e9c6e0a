"""The seven diagnoses, drawn from their structures."""

from collections.abc import Callable

import cv2
import numpy as np

from core.data.drawing.layers import ABSORPTION, CANVAS, Layers, Lesion, Outline, noise, outline, patches, ramp
from core.data.drawing.structures import (
    arborising_vessels,
    blue_white_veil,
    comedo_openings,
    fissures,
    globules,
    irregular_dots,
    lagoons,
    milia_like_cysts,
    ovoid_nests,
    pigment_network,
    scale,
    scar_patch,
    strawberry_pattern,
    streaks,
    ulceration,
)


def _bend(rng: np.random.Generator, layers: Layers, mask: np.ndarray) -> tuple[Layers, np.ndarray]:
    """Bend all maps together by a few pixels: nothing in skin is a perfect circle or polygon."""
    x, y = np.meshgrid(*[np.arange(CANVAS, dtype=np.float32)] * 2)
    x += 3.0 * noise(rng, 60) + 0.7 * noise(rng, 14)
    y += 3.0 * noise(rng, 60) + 0.7 * noise(rng, 14)
    absorbers = cv2.merge([getattr(layers, name) for name in ABSORPTION])
    absorbers = cv2.remap(absorbers, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rest = cv2.merge([layers.white, mask.astype(np.float32)])
    rest = cv2.remap(rest, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    maps = dict(zip(ABSORPTION, cv2.split(absorbers), strict=True))
    bent = Layers(**maps, white=np.ascontiguousarray(rest[..., 0]))
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
