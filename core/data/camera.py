"""Another camera: what a different dermatoscope, light or hand would have made of the same lesion.

A refusal that is fitted on one clinic's images alone takes the next clinic's for no dermatoscopy. Each change here is
one way in which dermatoscopes differ; `other_camera` draws several at once.
"""

from collections.abc import Callable

import cv2
import numpy as np

Change = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]

TIMES = 0.45  # how often `other_camera` draws each change
WORKING_SIDE = 450  # pixels; a blur of so many pixels means the same in every image


def other_camera(image: np.ndarray, dice: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """The image as another dermatoscope might have taken it: some of `CHANGES`, at random strengths.

    Args:
        image: (H, W, 3) uint8 RGB, 0 to 255.
        dice: where chance comes from.
        strength: 0 changes nothing; 1 is as far as clinics differ; more is harder than that.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    for name in CHANGES:
        if dice.random() < TIMES:
            image = changed(image, name, dice, strength)
    return image


def changed(image: np.ndarray, name: str, dice: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """One of `CHANGES`, drawn at random; see `other_camera`."""
    return CHANGES[name](image, dice, strength)


def zoom(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Nearer by up to 2.5, or farther by up to 2, the border mirrored, drawn out or black; turned and moved."""
    height, width = image.shape[:2]
    scale = np.exp(dice.uniform(-0.7, 0.9) * strength)
    frame = cv2.getRotationMatrix2D((width / 2, height / 2), dice.uniform(-180, 180) * min(strength, 1), scale)
    frame[:, 2] = frame[:, 2] + dice.uniform(-0.08, 0.08, 2) * strength * (width, height)
    border = dice.choice([cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT], p=[0.6, 0.2, 0.2])
    return cv2.warpAffine(image, frame, (width, height), flags=cv2.INTER_AREA, borderMode=int(border))


def colour(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Hue turned by up to 14 degrees, saturation between half and 1.8 times; seldom almost grey."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + dice.uniform(-14, 14) * strength) % 360
    saturation = 0.1 if dice.random() < 0.05 else np.exp(dice.uniform(-0.7, 0.6) * strength)
    hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
    return to_pixels(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)


def white_balance(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Warmer or colder light, greener or pinker: each channel by up to 1.4, the brightness kept."""
    gains = np.exp(dice.uniform(-0.33, 0.33, 3) * strength)
    return to_pixels(image * (gains / gains.mean()).astype(np.float32))


def brightness(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Exposure by up to 1.5, gamma 0.6 to 1.7, contrast 0.6 to 1.5 around the mean."""
    levels = (image.astype(np.float32) / 255) ** np.float32(np.exp(dice.uniform(-0.5, 0.5) * strength))
    levels *= np.float32(np.exp(dice.uniform(-0.4, 0.4) * strength))
    mean = levels.mean()
    return to_pixels(((levels - mean) * np.float32(np.exp(dice.uniform(-0.5, 0.4) * strength)) + mean) * 255)


def focus(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Blurred by up to 8 pixels of 450, or sampled up to five times more coarsely."""
    height, width = image.shape[:2]
    if dice.random() < 0.6:
        share = min(height, width) / WORKING_SIDE
        return cv2.GaussianBlur(image, (0, 0), max(0.1, dice.uniform(0.5, 8) * strength * share))
    fewer = 1 + dice.uniform(0.2, 4.0) * strength
    small = cv2.resize(image, (max(1, int(width / fewer)), max(1, int(height / fewer))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def processing(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Sharpened by the camera, grainy, or pressed as JPEG."""
    kind = dice.integers(3)
    if kind == 0:
        soft = cv2.GaussianBlur(image, (0, 0), max(0.3, 2 * min(image.shape[:2]) / WORKING_SIDE)).astype(np.float32)
        return to_pixels(image + (image - soft) * np.float32(dice.uniform(0.3, 2.0) * strength))
    if kind == 1:
        grain = dice.normal(0, dice.uniform(2, 12) * strength, image.shape)
        return to_pixels(image + grain.astype(np.float32))
    quality = int(np.clip(dice.uniform(20, 70) / max(strength, 0.1), 5, 95))
    packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1].copy()


def lighting(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """Darker towards the rim, or brighter on one side."""
    x, y = _grid(*image.shape[:2])
    light = 1 - dice.uniform(0, 0.35) * strength * (x * x + y * y)
    bearing = dice.uniform(0, 2 * np.pi)
    light = light + dice.uniform(0, 0.25) * strength * (x * np.cos(bearing) + y * np.sin(bearing))
    return to_pixels(image * np.clip(light, 0, None)[..., None].astype(np.float32))


def marks(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """What lies in the picture besides the skin: a scale along a border, bubbles of gel, hairs, or a line of ink."""
    kind = dice.integers(4)
    drawn = image.copy()
    height, width = image.shape[:2]
    side = min(height, width)
    tone = int(dice.integers(10, 70))
    if kind == 0:
        _draw_scale(drawn, dice, (tone, tone, tone))
    elif kind == 1:
        for _ in range(dice.integers(2, 2 + max(1, int(14 * strength)))):
            centre = (int(dice.integers(width)), int(dice.integers(height)))
            radius = int(side * dice.uniform(0.008, 0.06))
            cv2.circle(drawn, centre, max(1, radius), (255, 250, 245), max(1, side // 200), cv2.LINE_AA)
        drawn = cv2.addWeighted(drawn, 0.5, image, 0.5, 0)
    elif kind == 2:
        for _ in range(dice.integers(2, 2 + max(1, int(10 * strength)))):
            _draw_line(drawn, dice, (tone, tone, tone), max(1, round(side / 220)))
    else:
        ink = [(70, 30, 130), (20, 60, 150), (30, 30, 30)][int(dice.integers(3))]
        _draw_line(drawn, dice, ink, max(1, round(side * dice.uniform(0.008, 0.025))))
        drawn = cv2.addWeighted(drawn, 0.7, image, 0.3, 0)
    return drawn


def frame(image: np.ndarray, dice: np.random.Generator, strength: float) -> np.ndarray:
    """The round rim of the instrument: dark corners, or black all around, hard or soft."""
    x, y = _grid(*image.shape[:2])
    long = max(image.shape[:2])
    x, y = x * image.shape[1] / long, y * image.shape[0] / long
    away = np.hypot(x - dice.uniform(-0.08, 0.08), y - dice.uniform(-0.08, 0.08))
    radius = 1.25 - dice.uniform(0.1, 0.65) * strength  # 1 touches the farther border, 1.41 the corners of a square
    if dice.random() < 0.2:  # a rectangular mask
        away = np.maximum(np.abs(x), np.abs(y) * dice.uniform(1, 1.4))
    soft = dice.uniform(0.01, 0.15)
    seen = np.clip((radius - away) / soft, 0, 1)[..., None].astype(np.float32)
    dark = np.float32(dice.uniform(0, 35))
    return to_pixels(image * seen + dark * (1 - seen))


CHANGES: dict[str, Change] = {
    "zoom": zoom,
    "marks": marks,
    "colour": colour,
    "white balance": white_balance,
    "brightness": brightness,
    "lighting": lighting,
    "frame": frame,
    "focus": focus,
    "processing": processing,
}


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x (1, W) and y (H, 1), -1 to 1."""
    return np.linspace(-1, 1, width, dtype=np.float32)[None], np.linspace(-1, 1, height, dtype=np.float32)[:, None]


def to_pixels(levels: np.ndarray) -> np.ndarray:
    """Levels of 0 to 255, of any float type and beyond these bounds, as uint8."""
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _draw_scale(drawn: np.ndarray, dice: np.random.Generator, tone: tuple[int, int, int]) -> None:
    height, width = drawn.shape[:2]
    side = min(height, width)
    step = max(3, int(side * dice.uniform(0.02, 0.08)))
    thick = max(1, side // 200)
    base = int(side * dice.uniform(0.03, 0.15))
    for number, place in enumerate(range(step, width, step)):
        long = int(side * (0.05 if number % 5 == 0 else 0.025))
        cv2.line(drawn, (place, base), (place, base + long), tone, thick, cv2.LINE_AA)
    if dice.random() < 0.5:
        drawn[:] = np.rot90(drawn, 2).copy()


def _draw_line(drawn: np.ndarray, dice: np.random.Generator, tone: tuple[int, int, int], thick: int) -> None:
    """One bowed line of any length across the picture."""
    height, width = drawn.shape[:2]
    start, end, bow = (dice.uniform(0, 1, 2) * (width, height) for _ in range(3))
    steps = np.linspace(0, 1, 20)[:, None]
    path = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bow + steps**2 * end
    cv2.polylines(drawn, [np.round(path * 8).astype(np.int32)], False, tone, thick, cv2.LINE_AA, shift=3)
