"""Take a part of an image away, and see how much of the answer goes with it.

What is taken away is blurred, with soft edges: a hard edge or a grey patch is a thing that the network has never
seen, and it answers to the edge rather than to what is missing.

Occlusion: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
"""

import cv2
import numpy as np

BLUR = 5 / 224
"""Standard deviation of the blur, as a share of the image's side: RISE's (Petsiuk et al., BMVC 2018). Colour and rough
shape are left, structures are gone."""
GRID = 3
"""Patches of occlusion in a row."""


def blurred(pixels: np.ndarray, share: float = BLUR) -> np.ndarray:
    """The image without its structures: what a place is replaced by when it is taken away.

    Args:
        pixels: (size, size, 3) uint8.
        share: standard deviation of the Gaussian, as a share of the side.

    Returns:
        (size, size, 3) uint8.
    """
    return cv2.GaussianBlur(pixels, (0, 0), share * len(pixels), borderType=cv2.BORDER_REFLECT)


def soft(cover: np.ndarray) -> np.ndarray:
    """A cover whose edges are as soft as the blur.

    Args:
        cover: (size, size) bool.

    Returns:
        (size, size) float32, 0 to 1.
    """
    sigma = BLUR * len(cover)
    return cv2.GaussianBlur(cover.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def mixed(pixels: np.ndarray, baseline: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """The image where nothing covers it, the baseline where something does.

    Args:
        pixels, baseline: (size, size, 3) uint8.
        cover: (..., size, size), 0 to 1.

    Returns:
        (..., size, size, 3) uint8.
    """
    share = np.asarray(cover, np.float32)[..., None]
    return np.round(pixels + (baseline.astype(np.float32) - pixels) * share).astype(np.uint8)


def patches(size: int, grid: int = GRID) -> np.ndarray:
    """Round overlapping patches that cover the image evenly.

    Args:
        size: side of the image in pixels.
        grid: patches in a row.

    Returns:
        (grid * grid, size, size) float32, 0 to 1: how far each patch covers each pixel.
    """
    pitch = size / grid
    centres = (np.arange(grid) + 0.5) * pitch
    bumps = np.exp(-0.5 * ((np.arange(size) + 0.5 - centres[:, None]) / (0.6 * pitch)) ** 2).astype(np.float32)
    return np.einsum("ay,bx->abyx", bumps, bumps).reshape(-1, size, size)


def occlusion_map(falls: np.ndarray) -> np.ndarray:
    """How far a score fell under each patch, as a heatmap.

    Args:
        falls: (grid * grid,), in the order of `patches`.

    Returns:
        (grid, grid) float32, at least 0.
    """
    grid = round(len(falls) ** 0.5)
    return np.maximum(np.asarray(falls, np.float32).reshape(grid, grid), 0.0)
