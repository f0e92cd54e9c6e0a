"""Image and heatmap to picture: the heat lies on the whole original, and what the model did not see is greyed."""

import cv2
import numpy as np

from core.data.images import centre_square

COLORMAP = cv2.COLORMAP_TURBO


def lay_back(heatmap: np.ndarray, height: int, width: int) -> np.ndarray:
    """A heatmap of the centre square, laid back on the original's grid.

    Args:
        heatmap: (h, w) float, of the square that the model saw.
        height, width: of the original in pixels.

    Returns:
        (height, width) float32; NaN where the model saw nothing.
    """
    top, left, side = centre_square(height, width)
    laid = np.full((height, width), np.nan, np.float32)
    grown = cv2.resize(heatmap.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    laid[top : top + side, left : left + side] = np.maximum(grown, 0.0)  # cubic interpolation can dip below zero
    return laid


def overlay(image: np.ndarray, heatmap: np.ndarray, scale: float, opacity: float = 0.5) -> np.ndarray:
    """The heatmap over its image.

    The colour scale is the caller's, not this image's own maximum: two pictures of the same scale can be
    compared, and a heatmap without evidence stays dark.

    Args:
        image: (H, W, 3) uint8 RGB, 0 to 255.
        heatmap: (h, w) float, at least 0.
        scale: the value shown in full colour, over 0.
        opacity: of the heat at full colour, 0 to 1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    laid = lay_back(heatmap, height, width)
    seen = ~np.isnan(laid)
    heat = np.clip(np.nan_to_num(laid) / scale, 0.0, 1.0)
    colours = cv2.applyColorMap(np.round(heat * 255).astype(np.uint8), COLORMAP)[:, :, ::-1]
    # weak heat is see-through, so that the lesion stays sharp where the model rests on nothing
    alpha = (opacity * np.sqrt(heat))[:, :, None]
    picture = image * (1.0 - alpha) + colours * alpha
    picture[~seen] = _unseen(image)[~seen]
    return np.round(picture).astype(np.uint8)


def full_colour(heatmap: np.ndarray) -> float:
    """The value that one heatmap alone would be shown in full colour at: a single hot cell does not fade the rest.

    Args:
        heatmap: (h, w), at least 0.

    Returns:
        The 98th percentile, or the hottest where that is 0; over 0.
    """
    return float(np.quantile(heatmap, 0.98)) or float(heatmap.max()) or 1.0


def _unseen(image: np.ndarray) -> np.ndarray:
    """Grey, faint and hatched: there is an image here, but the model did not look at it."""
    height, width = image.shape[:2]
    grey = image.mean(axis=2, keepdims=True) * 0.35 + 255 * 0.55
    step = max(6, min(height, width) // 40)
    rows, columns = np.ogrid[:height, :width]
    hatch = ((rows + columns) % step < max(1, step // 6))[:, :, None]
    return np.repeat(np.where(hatch, grey - 35, grey), 3, axis=2)


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the lesion's outline: white with a dark edge, so that it shows on skin and on heat.

    Args:
        picture: (H, W, 3) uint8 RGB.
        mask: (h, w) bool, of the same view; it may have another size.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = picture.shape[:2]
    grown = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    outlines, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    thickness = max(1, round(max(height, width) / 450))
    drawn = picture.copy()
    for ink, more in (((30, 30, 30), 2), ((255, 255, 255), 0)):
        cv2.drawContours(drawn, outlines, -1, ink, thickness + more, cv2.LINE_AA)
    return drawn
