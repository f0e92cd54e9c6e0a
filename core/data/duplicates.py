"""Near-duplicates: the same photograph twice, perhaps mirrored, turned, cropped, brightened or compressed again.

Two photographs of one lesion are no near-duplicates, however alike: what counts is that the fine structure of one lies
on that of the other once they are aligned. Three steps, each for what the one before leaves over:

1. Candidates: coarse grey thumbnails on whitened principal components, where two lesions in the middle of two pictures
   are far apart. Every image is compared with every other in eight orientations and five crops.
2. Alignment: an affine one by ECC (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation
   coefficient maximization", TPAMI 2008), in three steps from coarse to fine.
3. Similarity: the correlation of the fine structure where the two overlap.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from core.data.images import read_image

SIMILAR = 0.75  # similarity from which two images are near-duplicates

SIDE = 96  # pixels: what an image is shrunk to; a different aspect ratio is left to the alignment
THUMBNAIL = 24  # pixels: what candidates are looked for on
COMPONENTS = 96
LEARNED_FROM = 1500  # images whose thumbnails give the components
CANDIDATE = 0.7  # cosine from which a pair is aligned
MOST = 20  # candidates of one image: a drawn or empty image resembles hundreds
DARK = 25  # grey level below which a pixel is the frame that the dermatoscope leaves
RIM = 7  # pixels around it that show its edge
CROP = 0.1  # share of a side that a crop may have taken
COARSE, MIDDLE, FINE = 24, 48, SIDE  # pixels: the three alignments
STEERS = 0.8  # correlation from which the middle one begins where the coarse one ended
PROMISING = 0.7  # correlation from which the fine one is tried
OVERLAP = 0.6  # share of the picture that two aligned images must have in common
_BLOCK = 32  # images compared at a time

Boxes = tuple[tuple[int, int, int], ...]


class _Pair(NamedTuple):
    """Two rows, how the first must be turned to lie as the second does, and which box of it shows the second."""

    row: int
    other: int
    orientation: int
    box: int


def near_duplicates(images: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images that show the same photograph.

    Args:
        images: image_id, path.

    Returns:
        image_id, other_id, similarity (`SIMILAR` to 1), change (what was done to one of them, in words); each
        pair once, the most similar first.

    Raises:
        ImageError: an image cannot be read.
    """
    names = images["image_id"].to_numpy()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        small = list(pool.map(lambda path: _shrunk(read_image(path)), images["path"]))
        pairs = _candidates(np.stack(small)) if len(small) > 1 else []
        rough = {size: list(pool.map(partial(_fine_structure, size=size), small)) for size in (COARSE, MIDDLE)}
        found = pool.map(lambda pair: _verify(small, rough, pair), pairs)
        rows = [
            (*sorted((names[pair.row], names[pair.other])), round(similarity, 4), change)
            for pair, (similarity, change) in zip(pairs, found, strict=True)
            if similarity >= SIMILAR
        ]
    table = pd.DataFrame(rows, columns=["image_id", "other_id", "similarity", "change"])
    order = ["similarity", "image_id", "other_id"]
    return table.sort_values(order, ascending=[False, True, True], ignore_index=True)


# ---- candidates ----------------------------------------------------------------------------------


def _shrunk(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (SIDE, SIDE) uint8 grey."""
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _boxes() -> Boxes:
    """Top, left and side, in pixels: the whole image, and four crops of which each crop is near to one."""
    cut = round(CROP * SIDE)
    steps = (cut // 4, cut - cut // 4)
    return ((0, 0, SIDE), *((top, left, SIDE - cut) for top in steps for left in steps))


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The last two axes in one of eight orientations: 1 mirrors, 2 turns upside down, 4 transposes."""
    if orientation & 4:
        image = image.swapaxes(-1, -2)
    if orientation & 1:
        image = image[..., ::-1]
    if orientation & 2:
        image = image[..., ::-1, :]
    return image


def _candidates(small: np.ndarray) -> list[_Pair]:
    """Pairs whose thumbnails are alike in some orientation and crop.

    Args:
        small: (n, SIDE, SIDE) uint8.
    """
    boxes = _boxes()
    thumbnails = np.stack([[_thumbnail(image, box) for box in boxes] for image in small])
    describe = _description(thumbnails[:, 0])
    whole = describe(thumbnails[:, 0])
    best: dict[tuple[int, int], tuple[float, _Pair]] = {}
    for start in range(0, len(small), _BLOCK):
        block = thumbnails[start : start + _BLOCK]
        seen = np.stack([describe(_turned(block, orientation)) for orientation in range(8)], axis=1)
        variants = seen.reshape(len(block), -1, whole.shape[1])
        cosines = (variants.reshape(-1, whole.shape[1]) @ whole.T).reshape(*variants.shape[:2], -1)
        most = cosines.max(axis=1)
        most[np.arange(len(block)), start + np.arange(len(block))] = -1.0
        for row in range(len(block)):
            others = np.flatnonzero(most[row] >= CANDIDATE)
            for other in others[np.argsort(-most[row, others], kind="stable")[:MOST]].tolist():
                variant = int(cosines[row, :, other].argmax())
                pair = _Pair(start + row, other, *divmod(variant, len(boxes)))
                key, cosine = (min(pair[:2]), max(pair[:2])), float(most[row, other])
                if key not in best or cosine > best[key][0]:
                    best[key] = cosine, pair
    return [pair for _, pair in best.values()]


def _thumbnail(image: np.ndarray, box: tuple[int, int, int]) -> np.ndarray:
    """A box of an image as (THUMBNAIL, THUMBNAIL) float32 without its mean brightness and contrast."""
    top, left, side = box
    small = cv2.resize(
        image[top : top + side, left : left + side], (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
    )
    small = small.astype(np.float32)
    return (small - small.mean()) / (small.std() + 4.0)  # 4 grey levels: an empty image is not blown up to noise


def _description(thumbnails: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function: (..., THUMBNAIL, THUMBNAIL) -> (..., k) float32 of length 1."""
    some = thumbnails[:: max(1, len(thumbnails) // LEARNED_FROM)]
    turned = np.concatenate([_turned(some, orientation) for orientation in range(8)])  # no orientation is special
    flat = turned.reshape(len(turned), -1)
    mean = flat.mean(axis=0)
    count = min(COMPONENTS, len(flat) - 1)
    variance, components = (part[..., : -count - 1 : -1] for part in np.linalg.eigh(np.cov(flat, rowvar=False)))
    scale = np.sqrt(np.maximum(variance, 0.0) + 0.1 * variance[count // 5] + 1e-6)  # the last ones are mostly noise
    weights = (components / scale).astype(np.float32)

    def describe(some: np.ndarray) -> np.ndarray:
        described = (some.reshape(*some.shape[:-2], -1) - mean) @ weights
        return described / (np.linalg.norm(described, axis=-1, keepdims=True) + 1e-6)

    return describe


# ---- verification --------------------------------------------------------------------------------


def _verify(small: Sequence[np.ndarray], rough: dict[int, list[np.ndarray]], pair: _Pair) -> tuple[float, str]:
    """How alike two images are once aligned, and what distinguishes them in words; similarity 0 if nothing fits.

    Args:
        small: (SIDE, SIDE) uint8 each.
        rough: size -> the fine structure of each at that size.
        pair: which two.
    """

    def aligned(pictures: Sequence[np.ndarray], start: np.ndarray) -> tuple[float, np.ndarray]:
        return _aligned(np.ascontiguousarray(_turned(pictures[0], pair.orientation)), pictures[1], start)

    top, left, side = (figure / SIDE for figure in _boxes()[pair.box])
    warp = np.array([[side, 0.0, left], [0.0, side, top]], np.float32)  # in shares of a side
    found, coarse = aligned([rough[COARSE][row] for row in pair[:2]], warp)
    found, warp = aligned([rough[MIDDLE][row] for row in pair[:2]], coarse if found >= STEERS else warp)
    if found < PROMISING:
        return 0.0, ""
    similarity, warp = aligned([_fine_structure(small[row], FINE) for row in pair[:2]], warp)
    return similarity, _change(pair.orientation, warp)


def _fine_structure(image: np.ndarray, size: int) -> np.ndarray:
    """(SIDE, SIDE) uint8 -> (size, size) float32: edges and dots, everywhere of the same contrast, without shading.

    The rim of a dark frame is left out: it is the camera's, and the same in all its photographs.
    """
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = cv2.GaussianBlur(small, (0, 0), 0.7) - cv2.GaussianBlur(small, (0, 0), 3.0)
    detail *= cv2.erode(small, np.ones((RIM, RIM))) >= DARK
    return detail / (np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 6.0)) + 2.0)


def _aligned(image: np.ndarray, other: np.ndarray, warp: np.ndarray) -> tuple[float, np.ndarray]:
    """Correlation of two pictures of fine structure after alignment, 0 to 1, and the alignment.

    Args:
        image, other: (size, size) float32.
        warp: (2, 3) from `other` to `image`, in shares of a side; where to begin.
    """
    size = len(image)
    scaled = (warp * [1.0, 1.0, size]).astype(np.float32)
    steps = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-3)
    try:
        # OpenCV's types want a mask where its own documentation has none
        found = cv2.findTransformECC(other, image, scaled, cv2.MOTION_AFFINE, steps, None, 3)  # type: ignore[call-overload]
        scaled = np.asarray(found[1])
    except cv2.error:  # they have nothing in common that could be aligned
        return 0.0, warp
    inverse = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image, scaled, (size, size), flags=inverse)
    inside = cv2.warpAffine(np.ones_like(image), scaled, (size, size), flags=inverse) > 0.999
    if inside.mean() < OVERLAP:
        return 0.0, warp
    first, second = moved[inside] - moved[inside].mean(), other[inside] - other[inside].mean()
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return max(0.0, float(first @ second) / (length + 1e-6)), scaled / [1.0, 1.0, size]


def _change(orientation: int, warp: np.ndarray) -> str:
    """What was done to one of two images, in words."""
    turns: Iterable[str] = {
        0: (), 1: ("mirrored",), 2: ("mirrored",), 3: ("turned",), 4: ("mirrored", "turned"), 5: ("turned",),
        6: ("turned",), 7: ("mirrored", "turned"),
    }[orientation]  # fmt: skip
    cropped = abs(np.linalg.det(warp[:, :2]) - 1.0) > 0.03 or np.abs(warp[:, 2]).max() > 0.03
    return ", ".join([*turns, *(("cropped",) if cropped else ())]) or "same picture"
