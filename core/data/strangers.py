"""Pictures that are no dermatoscopy, drawn from dice, so that a refusal has something to be fitted against.

None is a photo. Together they cover what photos are made of: edges of things that lie before one another, shaded
bodies, textures, text, plain grounds; and skin put together wrongly. How well that carries over to real photos is
measured (`benchmarks/refusal.py`).
"""

from collections.abc import Callable

import cv2
import numpy as np

from core.data.camera import to_pixels

SIDE = 224  # pixels; what the networks see
Draw = Callable[[np.random.Generator], np.ndarray]


def stranger(dice: np.random.Generator, familiar: list[np.ndarray] | None = None) -> np.ndarray:
    """One picture that is no dermatoscopy.

    Args:
        dice: where chance comes from.
        familiar: (h, w, 3) uint8 RGB, dermatoscopic images of which some strangers are put together.

    Returns:
        (224, 224, 3) uint8 RGB, 0 to 255.
    """
    if familiar and dice.random() < 0.15:
        return _put_together(dice, familiar)
    draw = list(DRAWINGS.values())[int(dice.integers(len(DRAWINGS)))]
    image = draw(dice)
    if dice.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), dice.uniform(0.4, 2.0))
    if dice.random() < 0.3:
        image = to_pixels(image + dice.normal(0, dice.uniform(1, 12), image.shape))
    return image


def plain(dice: np.random.Generator) -> np.ndarray:
    """One colour, a gradient or a spot of light; often of a skin's tone."""
    low, high = _colour(dice), _colour(dice)
    kind = dice.integers(3)
    if kind == 0:
        return to_pixels(np.broadcast_to(low, (SIDE, SIDE, 3)) + dice.normal(0, dice.uniform(0, 6), (SIDE, SIDE, 3)))
    x, y = _grid()
    bearing = dice.uniform(0, 2 * np.pi)
    ramp = x * np.cos(bearing) + y * np.sin(bearing) if kind == 1 else np.hypot(x - bearing / 7, y) * 1.4 - 1
    return _mix(low, high, ramp / 2 + 0.5)


def cloud(dice: np.random.Generator) -> np.ndarray:
    """Noise as rough as dice say, coloured from two to four tones: clouds, stone, bark, fur."""
    levels = _noise(dice, dice.uniform(0.3, 2.4), stretch=np.exp(dice.uniform(-1.5, 1.5)))
    if dice.random() < 0.3:
        levels = np.abs(levels - 0.5) * 2
    if dice.random() < 0.3:
        levels = np.clip((levels - 0.5) * dice.uniform(2, 12) + 0.5, 0, 1)
    stops = np.stack([_colour(dice) for _ in range(dice.integers(2, 5))])
    places = np.linspace(0, 1, len(stops))
    return to_pixels(np.stack([np.interp(levels, places, stops[:, channel]) for channel in range(3)], axis=-1))


def static(dice: np.random.Generator) -> np.ndarray:
    """White noise, in grey or in colours, fine or in blocks."""
    block = int(2 ** dice.integers(0, 6))
    count = -(-SIDE // block)
    levels = dice.integers(0, 256, (count, count, 3 if dice.random() < 0.6 else 1))
    tiles = np.repeat(np.repeat(np.broadcast_to(levels, (count, count, 3)), block, 0), block, 1)
    return tiles[:SIDE, :SIDE].astype(np.uint8)


def leaves(dice: np.random.Generator) -> np.ndarray:
    """Things of all sizes, one before the other, each with its own colour and texture ("dead leaves")."""
    image = plain(dice).astype(np.float32)
    texture = _noise(dice, dice.uniform(0.5, 2))[..., None] - 0.5
    ranged = dice.uniform(0.2, 1.0)
    ground = _colour(dice)
    for _ in range(int(np.exp(dice.uniform(1.5, 6)))):
        size = min(SIDE * 0.7, 4 / dice.uniform(0.03, 1))
        shape = np.zeros((SIDE, SIDE), np.uint8)
        _draw_shape(shape, dice, dice.uniform(0, SIDE, 2), size)
        tone = ground * (1 - ranged) + _colour(dice) * ranged
        left, top, width, height = cv2.boundingRect(shape)  # a leaf is small: the rest need not be touched
        box = np.s_[top : top + height, left : left + width]
        inside = (tone + texture[box] * dice.uniform(0, 120)) * _shade(dice)[box]
        seen = shape[box][..., None] / np.float32(255)
        image[box] = image[box] * (1 - seen) + inside * seen
    return to_pixels(image)


def things(dice: np.random.Generator) -> np.ndarray:
    """A few shaded bodies on a ground, with their shadows: fruit, faces, tools, as a photo would show them."""
    image = (cloud(dice) if dice.random() < 0.5 else plain(dice)).astype(np.float32)
    if dice.random() < 0.5:
        image[int(SIDE * dice.uniform(0.3, 0.8)) :] = _colour(dice)
    for _ in range(dice.integers(1, 7)):
        place, size = dice.uniform(0.15, 0.85, 2) * SIDE, SIDE * dice.uniform(0.08, 0.5)
        shape = np.zeros((SIDE, SIDE), np.uint8)
        _draw_shape(shape, dice, place, size)
        shadow = cv2.GaussianBlur(np.roll(shape, (int(size / 6), int(size / 8)), (0, 1)), (0, 0), 1 + size / 12)
        image *= 1 - shadow[..., None] / np.float32(255) * dice.uniform(0, 0.7)
        x, y = _grid()
        lit = np.exp(-(((x - place[0] / SIDE * 2 + 1.15) ** 2 + (y - place[1] / SIDE * 2 + 1.15) ** 2) * SIDE / size))
        body = _colour(dice) * (0.45 + 0.7 * lit[..., None]) + 160 * (lit[..., None] ** 8) * dice.random()
        body = body + (_noise(dice, dice.uniform(0.5, 2))[..., None] - 0.5) * dice.uniform(0, 90)
        seen = shape[..., None] / np.float32(255)
        image = image * (1 - seen) + body * seen
    return to_pixels(image)


def scenery(dice: np.random.Generator) -> np.ndarray:
    """A sky, ridges behind one another, and a ground."""
    image = plain(dice).astype(np.float32)
    across = np.arange(SIDE)
    for number in range(dice.integers(1, 6)):
        ridge = _noise(dice, dice.uniform(1, 2.2))[int(dice.integers(SIDE))]
        top = SIDE * (0.2 + 0.14 * number + 0.3 * (ridge - 0.5))
        if dice.random() < 0.3:  # roofs
            top = np.repeat(top[::16], 16)[:SIDE]
        below = np.arange(SIDE)[:, None] > top[across][None]
        rough = (_noise(dice, dice.uniform(0.2, 1.6)) - 0.5)[..., None] * dice.uniform(10, 130)
        image = np.where(below[..., None], _colour(dice) * dice.uniform(0.4, 1.1) + rough, image)
    return to_pixels(image)


def pattern(dice: np.random.Generator) -> np.ndarray:
    """Stripes, checks, bricks, meshes or tiles, flat or in perspective."""
    x, y = _grid()
    bearing, pitch = dice.uniform(0, np.pi), np.exp(dice.uniform(1.5, 4.5))
    along = (x * np.cos(bearing) + y * np.sin(bearing)) * pitch
    across = (y * np.cos(bearing) - x * np.sin(bearing)) * pitch * dice.uniform(0.3, 1.5)
    if dice.random() < 0.3:
        along = along + dice.uniform(0, 3) * (_noise(dice, 2) - 0.5)
    kind = dice.integers(4)
    if kind == 0:
        levels = np.sin(along) / 2 + 0.5
    elif kind == 1:
        levels = ((np.sin(along) > 0) ^ (np.sin(across) > 0)).astype(float)
    elif kind == 2:
        row = np.floor(across / np.pi)
        joint = (np.mod(across, np.pi) < 0.4) | (np.mod(along + (row % 2) * np.pi / 2, np.pi) < 0.25)
        levels = np.where(joint, 1.0, 0.4 * _noise(dice, 1))
    else:
        levels = np.maximum(np.cos(along) ** 8, np.cos(across) ** 8)
    if dice.random() < 0.5:
        levels = np.clip(levels + (_noise(dice, dice.uniform(0, 2)) - 0.5) * dice.uniform(0, 0.7), 0, 1)
    image = _mix(_colour(dice), _colour(dice), levels)
    if dice.random() < 0.4:
        corners = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]], np.float32)
        moved = corners + dice.uniform(-0.35, 0.35, (4, 2)).astype(np.float32) * SIDE
        warp = cv2.getPerspectiveTransform(corners, moved)
        image = cv2.warpPerspective(image, warp, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    return image


def writing(dice: np.random.Generator) -> np.ndarray:
    """A page, a form, a chart or a screen."""
    paper = np.full(3, dice.uniform(200, 255)) if dice.random() < 0.6 else _colour(dice)
    image = np.empty((SIDE, SIDE, 3), np.uint8)
    image[:] = to_pixels(paper)
    ink = [int(value) for value in (np.clip(255 - paper + dice.normal(0, 20, 3), 0, 255))]
    for _ in range(dice.integers(0, 5)):
        corner, far = (tuple(int(v) for v in dice.integers(0, SIDE, 2)) for _ in range(2))
        fill = tuple(int(value) for value in _colour(dice))
        cv2.rectangle(image, corner, far, fill, int(dice.choice([-1, 1, 2])))
    height = int(dice.integers(6, 40))
    letters = "abcdefghij klmnop qrstu vwxyz ABCDE FGHI 0123456789 .,"
    for line in range(height, SIDE, int(height * dice.uniform(1.2, 2.5))):
        words = "".join(letters[index] for index in dice.integers(0, len(letters), 60))
        font = int(dice.choice([0, 1, 2, 3, 4, 6, 7]))
        cv2.putText(image, words, (int(dice.integers(-5, 20)), line), font, height / 30, ink, 1 + height // 16, 16)
    if dice.random() < 0.3:
        points = np.stack([np.linspace(0, SIDE, 30), dice.uniform(0.1, 0.9, 30).cumsum() * SIDE / 20], 1)
        cv2.polylines(image, [points.astype(np.int32)], False, tuple(int(v) for v in _colour(dice)), 2, 16)
    return image


DRAWINGS: dict[str, Draw] = {
    "plain": plain,
    "cloud": cloud,
    "static": static,
    "leaves": leaves,
    "things": things,
    "scenery": scenery,
    "pattern": pattern,
    "writing": writing,
}


def _put_together(dice: np.random.Generator, familiar: list[np.ndarray]) -> np.ndarray:
    """A dermatoscopic image whose pieces are shuffled or drawn anew."""
    image = cv2.resize(familiar[int(dice.integers(len(familiar)))], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    count = int(dice.choice([4, 7, 8, 14]))
    step = SIDE // count
    tiles = image.reshape(count, step, count, step, 3).swapaxes(1, 2).reshape(-1, step, step, 3)
    tiles = tiles[dice.permutation(len(tiles)) if dice.random() < 0.6 else dice.integers(0, len(tiles), len(tiles))]
    return tiles.reshape(count, count, step, step, 3).swapaxes(1, 2).reshape(SIDE, SIDE, 3)


def _colour(dice: np.random.Generator) -> np.ndarray:
    """(3,) float32: any colour, or, as often, one of skin, wood, bread and stone."""
    if dice.random() < 0.5:
        return dice.uniform(0, 255, 3).astype(np.float32)
    value, hue, saturation = dice.uniform(60, 250), dice.uniform(0, 45), dice.uniform(0.05, 0.7)
    pixel = np.array([[[hue, saturation, value]]], np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0]


def _noise(dice: np.random.Generator, roughness: float, stretch: float = 1.0) -> np.ndarray:
    """(224, 224), 0 to 1: noise whose spectrum falls with the frequency to the power of `roughness`."""
    fy, fx = np.fft.fftfreq(SIDE)[:, None] * stretch, np.fft.rfftfreq(SIDE)[None]
    falling = np.maximum(np.hypot(fy, fx), 1 / SIDE) ** -roughness
    levels = np.fft.irfft2(np.fft.rfft2(dice.standard_normal((SIDE, SIDE))) * falling, s=(SIDE, SIDE))
    low, high = np.percentile(levels, (1, 99))
    return np.clip((levels - low) / (high - low + 1e-9), 0, 1)


def _draw_shape(mask: np.ndarray, dice: np.random.Generator, place: np.ndarray, size: float) -> None:
    """An ellipse, a box, a polygon or a bar, white on the mask."""
    centre = (int(place[0]), int(place[1]))
    kind, turn = dice.integers(4), dice.uniform(0, 360)
    axes = (max(1, int(size / 2)), max(1, int(size / 2 * dice.uniform(0.3, 1))))
    if kind == 0:
        cv2.ellipse(mask, centre, axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    elif kind == 1:
        box = cv2.boxPoints((centre, (size, size * dice.uniform(0.1, 1)), turn))
        cv2.fillPoly(mask, [box.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 2:
        angles = np.sort(dice.uniform(0, 2 * np.pi, dice.integers(3, 9)))
        reach = size / 2 * dice.uniform(0.4, 1, len(angles))
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None] + place
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    else:
        end = place + dice.normal(0, size, 2)
        cv2.line(
            mask, centre, (int(end[0]), int(end[1])), 255, max(1, int(size * dice.uniform(0.02, 0.3))), cv2.LINE_AA
        )


def _shade(dice: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    bearing = dice.uniform(0, 2 * np.pi)
    return (1 + dice.uniform(0, 0.5) * (x * np.cos(bearing) + y * np.sin(bearing)))[..., None]


def _mix(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    return to_pixels(low * (1 - share) + high * share)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    line = np.linspace(-1, 1, SIDE, dtype=np.float32)
    return line[None], line[:, None]
