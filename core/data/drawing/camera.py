"""Skin, hairs and the photograph: what surrounds a lesion in a dermatoscopic image."""

import cv2
import numpy as np

from core.data.drawing.diagnoses import draw_lesion
from core.data.drawing.layers import CANVAS, Layers, blend, noise, patches, ramp
from core.data.drawing.structures import pigment_network

WIDTH, HEIGHT = 600, 450  # of a photograph, as HAM10000 has them


def paint_scene(dx: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a lesion on its skin, hairs included: (S, S, 3) float32 RGB of 0-255, and its mask.

    S is `CANVAS`; the mask is (S, S) uint8, 255 on the lesion.
    """
    skin = draw_skin(rng)
    lesion = draw_lesion(dx, rng)
    scene = (skin + lesion.layers).colour()
    if rng.random() < 0.4:
        scene = with_hairs(rng, scene, int(rng.integers(2, 22)))
    return scene, lesion.mask


def draw_skin(rng: np.random.Generator) -> Layers:
    """Return bare skin, from pale to brown: mottled, furrowed, at times freckled by the sun."""
    # Squared: brown skin is there, but pale skin prevails, as in HAM10000.
    tone, ruddy = 0.06 + 0.7 * rng.random() ** 2.5, rng.uniform(0.1, 0.42)
    mottle = noise(rng, 48) * 0.5 + noise(rng, 14) * 0.5 + noise(rng, 4) * 0.3
    furrows = pigment_network(rng, rng.uniform(20, 30), 1.6)
    melanin = tone * (1 + 0.07 * mottle) + 0.05 * (0.5 + tone) * furrows
    blood = ruddy * (1 + 0.12 * noise(rng, 70) + 0.08 * noise(rng, 9))
    if rng.random() < 0.25:
        freckles = patches(rng, rng.uniform(20, 60), 0.3, 3.5)
        melanin += rng.uniform(0.05, 0.2) * freckles
    return Layers(melanin=melanin, blood=np.maximum(blood, 0))


def with_hairs(rng: np.random.Generator, scene: np.ndarray, count: int) -> np.ndarray:
    """Return the scene under hairs of one colour, roughly combed one way."""
    colour = np.array([38, 28, 26]) + rng.uniform(0, 1) ** 2 * np.array([110, 85, 60])
    # Drawn apart and laid over: cv2 smooths the edges of lines only in 8-bit images.
    hairs = np.zeros(scene.shape[:2], np.uint8)
    combed, steps = rng.uniform(0, np.pi), np.linspace(0, 1, 24)[:, None]
    for _ in range(count):
        start, heading = rng.uniform(0, CANVAS, 2), combed + rng.normal(0, 0.4)
        reach = rng.uniform(60, 300) * np.array([np.cos(heading), np.sin(heading)])
        bow = rng.normal(0, 0.25) * np.array([-reach[1], reach[0]])
        path = start + steps * reach + (steps * (1 - steps)) * bow * 2
        fixed = np.round(path * 8).astype(np.int32)
        thick = int(rng.choice([1, 1, 2]))
        cv2.polylines(hairs, [fixed], False, 235, thick, cv2.LINE_AA, shift=3)
    return blend(scene, tuple(colour), hairs.astype(np.float32) * np.float32(1 / 255))


def photograph(scene: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return one photograph of a scene, (450, 600, 3) uint8 RGB, and the mask as it is framed."""
    frame = _framing(rng)
    size = (WIDTH, HEIGHT)
    border = cv2.BORDER_REFLECT_101
    image = cv2.warpAffine(scene, frame, size, flags=cv2.INTER_LINEAR, borderMode=border)
    seen = cv2.warpAffine(mask, frame, size, flags=cv2.INTER_LINEAR, borderValue=0)
    image = _lit(rng, image)
    if rng.random() < 0.15:
        image = _with_bubbles(rng, image, int(rng.integers(1, 6)))
    if rng.random() < 0.22:
        image = _with_dark_corners(rng, image)
    grain = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32) * rng.uniform(0.8, 2.5)
    pixels = cv2.add(image, cv2.merge([grain] * 3), dtype=cv2.CV_8U)  # rounds, and cuts at 0 and 255
    return pixels, (seen > 127).astype(np.uint8) * np.uint8(255)


def _framing(rng: np.random.Generator) -> np.ndarray:
    """Return the (2, 3) map from canvas to photograph: turned, moved, nearer or farther."""
    middle = CANVAS / 2
    # 1.2: at zoom 1 the canvas just reaches into the corners of the photograph.
    frame = cv2.getRotationMatrix2D((middle, middle), rng.uniform(0, 360), 1.2 * rng.uniform(0.9, 1.2))
    frame[:, 2] = frame[:, 2] + np.array([WIDTH, HEIGHT]) / 2 - middle + rng.normal(0, (22, 14))
    return frame


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a photograph's pixels, from its middle, in halves of its width."""
    x = (np.arange(WIDTH, dtype=np.float32) - WIDTH / 2) / (WIDTH / 2)
    y = (np.arange(HEIGHT, dtype=np.float32) - HEIGHT / 2) / (WIDTH / 2)
    return x[None, :], y[:, None]


def _lit(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the image under uneven light, with the cast of its camera."""
    x, y = _grid()
    slope, turn = rng.uniform(0, 0.1), rng.uniform(0, 2 * np.pi)
    light = 1 + slope * (x * float(np.cos(turn)) + y * float(np.sin(turn)))
    light = (light - rng.uniform(0, 0.22) * (x**2 + y**2)) * rng.uniform(0.92, 1.08)
    # Pink against green, and blue, on top of the exposure.
    cast = 1 + rng.normal(0, 0.02) * np.array([1, -1, 0]) + rng.normal(0, 0.06) * np.array([0, 0, 1])
    return cv2.multiply(image, cv2.merge([light * float(channel) for channel in cast]))


def _with_bubbles(rng: np.random.Generator, image: np.ndarray, count: int) -> np.ndarray:
    """Return the image under air bubbles in the gel: a bright rim, brighter towards the lamp."""
    rims = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(count):
        place, radius = rng.uniform((0, 0), (WIDTH, HEIGHT)), int(rng.uniform(5, 26))
        centre = tuple(int(v) for v in place)
        cv2.circle(rims, centre, radius, 90, 2, cv2.LINE_AA)
        cv2.ellipse(rims, centre, (radius, radius), 0, 200, 260, 220, 3, cv2.LINE_AA)
    opacity = cv2.GaussianBlur(rims, (0, 0), 1.2).astype(np.float32) * np.float32(0.75 / 255)
    return blend(image, (250, 250, 250), opacity)


def _with_dark_corners(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the image as the dermatoscope's round window shows it."""
    x, y = _grid()
    left, up = rng.normal(0, 0.05, 2).tolist()
    distance = cv2.magnitude(*np.broadcast_arrays(x - left, y - up))
    reach, soft = rng.uniform(0.98, 1.15), rng.uniform(0.03, 0.12)
    outside = ramp(distance, reach - soft, reach + soft)
    return blend(image, (12, 9, 10), 0.97 * outside)
