"""Augmented views of an image: an exact turn, then rotation, flips, shift and zoom in one warp, then the colours of
another clinic; drawn from a seed."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np

from core.config import TrainConfig
from core.data.camera import brightness, white_balance

TURNS = 8
"""Ways to lay a square picture on itself: a whole cycle of views."""


def exact_turns(config: TrainConfig) -> TrainConfig:
    """The settings by which a view is the exact turn of its number, and nothing else."""
    return replace(config, turns=True, rotation=0.0, shift=0.0, zoom=0.0, flips=False, colour=0.0)


def view_generator(seed: int, image_id: str, view: int) -> np.random.Generator:
    """The dice for one view of one image: the same on every machine and in any order of images."""
    digest = hashlib.sha256(f"{seed}:{image_id}:{view}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def turned(pixels: np.ndarray, view: int) -> np.ndarray:
    """One of the eight ways to lay a square on itself, exact: no pixel is computed, each finds another place.

    Turns come before mirrors, so that four views show a lesion from all four sides.

    Args:
        pixels: (size, size, 3).
        view: counted in cycles of `TURNS`: 0 is the image as it is; 1, 2, 3 are turned by 90, 180, 270 degrees against
            the clock; 4 is mirrored left-right, and 5, 6, 7 are that one, turned so.
    """
    number = view % TURNS
    return np.ascontiguousarray(np.rot90(pixels if number < TURNS // 2 else pixels[:, ::-1], number % 4))


def turned_back(maps: np.ndarray, view: int) -> np.ndarray:
    """Undo `turned` for what was computed of the turned image: (..., h, h), and so it comes back."""
    number = view % TURNS
    upright = np.rot90(maps, -(number % 4), axes=(-2, -1))
    return np.ascontiguousarray(upright if number < TURNS // 2 else upright[..., ::-1])


def augmented(pixels: np.ndarray, config: TrainConfig, dice: np.random.Generator, view: int = 0) -> np.ndarray:
    """One random view of an image.

    Args:
        pixels: (size, size, 3) uint8 RGB, 0 to 255.
        config: turns, rotation (degrees), shift and zoom (shares), flips, colour.
        dice: where chance comes from; see `view_generator`.
        view: its number, which sets the turn.

    Returns:
        (size, size, 3) uint8 RGB; what comes in from outside is the mirrored border.
    """
    if config.turns:
        pixels = turned(pixels, view)
    size = pixels.shape[0]
    angle = dice.uniform(-config.rotation, config.rotation)
    scale = 1.0 + dice.uniform(-config.zoom, config.zoom)
    shift_x, shift_y = dice.uniform(-config.shift, config.shift, size=2) * size
    flip_x, flip_y = dice.random(2) < 0.5
    centre = (size - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), angle, scale)
    matrix[:, 2] += shift_x, shift_y
    if config.flips and flip_x:
        matrix[0] = -matrix[0] + (0, 0, size - 1)
    if config.flips and flip_y:
        matrix[1] = -matrix[1] + (0, 0, size - 1)
    drawn = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if config.colour:
        drawn = brightness(white_balance(drawn, dice, config.colour), dice, config.colour)
    return drawn
