"""Lesion masks that lie beside a data set: `ISIC_0024306_segmentation.png`, white on the lesion."""

import os
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from core.data.images import centre_square, read_image
from core.data.walking import HIDDEN, walk

SUFFIX = "_segmentation.png"
HALF = 127


def find_masks(*folders: Path) -> dict[str, str]:
    """The masks anywhere below folders.

    Args:
        folders: of a data set; where two hold a mask of one image, the first does.

    Returns:
        image_id -> path; empty where there are none.
    """
    found: dict[str, str] = {}
    for parent, names in chain.from_iterable(walk(folder, HIDDEN) for folder in folders):
        for name in names:
            if name.endswith(SUFFIX):
                found.setdefault(name.removesuffix(SUFFIX), os.path.join(parent, name))
    return found


def whole_mask(path: str | os.PathLike) -> np.ndarray:
    """A mask as it lies on the whole image.

    Returns:
        (H, W) bool, of the mask's own size, which may be another than its image's.

    Raises:
        ImageError: it cannot be read.
    """
    return read_image(path)[:, :, 0] > HALF


def model_mask(path: str | os.PathLike, size: int) -> np.ndarray:
    """A mask on the square that the model sees.

    Args:
        path: of the mask.
        size: side of the model's input in pixels.

    Returns:
        (size, size) bool.

    Raises:
        ImageError: it cannot be read.
    """
    mask = whole_mask(path)
    top, left, side = centre_square(*mask.shape)
    part = mask[top : top + side, left : left + side].astype(np.float32)
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR) >= 0.5
