"""The mean image of each diagnosis: how its lesions are framed, coloured and lit, taken together."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from core.data.images import model_input, read_image
from core.diagnoses import CODES

SIDE = 112  # pixels: a mean has no fine structure


def mean_images(paths: list[str], codes: list[str], told: Callable[[int, int], None] = lambda *_: None) -> bytes:
    """Seven squares beside each other, in the order of `CODES`; black where a diagnosis has no image.

    Args:
        paths: of the images.
        codes: the diagnosis of each.
        told: is told how many images are done, and of how many.

    Returns:
        A PNG file, (SIDE, 7 SIDE, 3), 0 to 255.

    Raises:
        ImageError: an image cannot be read.
    """
    sums, counts = np.zeros((len(CODES), SIDE, SIDE, 3)), np.zeros(len(CODES))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = pool.map(lambda path: model_input(read_image(path), SIDE), paths)
        for done, (code, pixels) in enumerate(zip(codes, seen, strict=True), 1):
            sums[CODES.index(code)] += pixels
            counts[CODES.index(code)] += 1
            told(done, len(paths))
    means = (sums / np.maximum(counts, 1)[:, None, None, None]).round().astype(np.uint8)
    return cv2.imencode(".png", np.concatenate(list(means), axis=1)[:, :, ::-1])[1].tobytes()


def split_means(content: bytes) -> dict[str, np.ndarray]:
    """code -> (SIDE, SIDE, 3) uint8 RGB of each diagnosis that has images; empty where the file is none of these."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if pixels is None or pixels.shape[1] != len(CODES) * pixels.shape[0]:
        return {}
    squares = np.split(pixels[:, :, ::-1], len(CODES), axis=1)
    return {code: square for code, square in zip(CODES, squares, strict=True) if square.any()}


def middle_and_rim(mean: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The mean colour of the middle, where the lesion mostly is, and of the rim, where the skin mostly is.

    Args:
        mean: (n, n, 3) uint8 RGB.

    Returns:
        Two colours, red, green and blue, 0 to 255: of the inner ninth, and of the outer tenth on all sides.
    """
    side = len(mean)
    third, tenth = side // 3, max(1, side // 10)
    rim = np.ones((side, side), bool)
    rim[tenth:-tenth, tenth:-tenth] = False
    colours = mean[third : side - third, third : side - third].mean(axis=(0, 1)), mean[rim].mean(axis=0)
    middle, outside = (tuple(int(level) for level in colour.round()) for colour in colours)
    return middle, outside
