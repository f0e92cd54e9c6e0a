"""Augmented views of an image: rotation, flips, shift and zoom in one warp, drawn from a seed."""

import hashlib

import cv2
import numpy as np

from core.config import TrainConfig


def view_generator(seed: int, image_id: str, view: int) -> np.random.Generator:
    """The dice for one view of one image: the same on every machine and in any order of images."""
    digest = hashlib.sha256(f"{seed}:{image_id}:{view}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def augmented(pixels: np.ndarray, config: TrainConfig, dice: np.random.Generator) -> np.ndarray:
    """One random view of an image.

    Args:
        pixels: (size, size, 3) uint8 RGB, 0 to 255.
        config: rotation (degrees), shift and zoom (shares), flips.
        dice: where chance comes from; see `view_generator`.

    Returns:
        (size, size, 3) uint8 RGB; what comes in from outside is the mirrored border.
    """
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
    return cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
