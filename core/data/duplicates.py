"""Near-duplicates: the same photograph twice, perhaps mirrored, turned, cropped, brightened or compressed again.

Two photographs of one lesion are no near-duplicates, however alike: what counts is that the fine structure of one lies
on that of the other once they are aligned. Three steps, each for what the one before leaves over:

1. Candidates: coarse grey thumbnails on whitened principal components, where two lesions in the middle of two pictures
   are far apart. Every image is compared with every other in eight orientations and six crops.
2. Alignment: an affine one by ECC (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation
   coefficient maximization", TPAMI 2008), in three steps from coarse to fine.
3. Similarity: the correlation of the fine structure where the two overlap.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from core.data.images import read_image

RULES = 2
"""Version of what is found: raise it whenever other pairs would be."""

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
WHOLE = (0, 0, SIDE, SIDE)
TYPES = {"image_id": str, "other_id": str, "similarity": float, "change": str}
_BLOCK = 32  # images compared at a time

Box = tuple[int, int, int, int]
"""A part of a shrunk image: top, left, height, width, in pixels."""


class _Small(NamedTuple):
    """An image as (SIDE, SIDE) uint8 grey, and the part of it that was the square in its middle."""

    pixels: np.ndarray
    middle: Box


class _Pair(NamedTuple):
    """Two rows, how the first must be turned to lie as the second does, and which box of it shows the second."""

    row: int
    other: int
    orientation: int
    box: int


def near_duplicates(images: pd.DataFrame, others: pd.DataFrame | None = None, similar: float = SIMILAR) -> pd.DataFrame:
    """Pairs of images that show the same photograph.

    Args:
        images: image_id, path.
        others: the same of other images; then pairs are looked for between the two tables alone, not within them.
        similar: similarity from which a pair counts, 0 to 1.

    Returns:
        image_id, other_id, similarity (`similar` to 1), change (what was done to one of them, in words); each
        pair once, the most similar first. With `others`, image_id is of `images` and other_id of them; otherwise
        image_id comes first in the alphabet.

    Raises:
        ImageError: an image cannot be read.
    """
    both = images if others is None else pd.concat([images, others], ignore_index=True)
    names, every = both["image_id"].to_numpy(), np.arange(len(both))
    first, second = (every, every) if others is None else np.split(every, [len(images)])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        small = list(pool.map(lambda path: _shrunk(read_image(path)), both["path"]))
        comparisons = [(first, second)] if others is None else [(first, second), (second, first)]
        pairs = _candidates(small, comparisons) if len(both) > 1 and len(first) and len(second) else []
        asked = sorted({row for pair in pairs for row in pair[:2]})
        rough = {size: _fine_structures(pool, small, asked, size) for size in (COARSE, MIDDLE)}
        found = pool.map(lambda pair: _verify(small, rough, pair), pairs)
        rows = [
            (*_in_order(pair, names, others is None), round(similarity, 4), change)
            for pair, (similarity, change) in zip(pairs, found, strict=True)
            if similarity >= similar
        ]
    table = pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)
    order = ["similarity", "image_id", "other_id"]
    return table.sort_values(order, ascending=[False, True, True], ignore_index=True)


def _in_order(pair: _Pair, names: np.ndarray, by_name: bool) -> list[str]:
    """The names of a pair, in the order of the alphabet or of their rows."""
    if by_name:
        return sorted((names[pair.row], names[pair.other]))
    return [names[row] for row in sorted(pair[:2])]


# ---- candidates ----------------------------------------------------------------------------------


def _shrunk(image: np.ndarray) -> _Small:
    """(H, W, 3) uint8 RGB, shrunk."""
    tall, wide = (round(SIDE * min(image.shape[:2]) / side) for side in image.shape[:2])
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return _Small(grey, ((SIDE - tall) // 2, (SIDE - wide) // 2, tall, wide))


def _boxes(small: _Small) -> list[Box]:
    """The whole image, four crops of which each crop is near to one, and the square in the middle."""
    cut = round(CROP * SIDE)
    side, steps = SIDE - cut, (cut // 4, cut - cut // 4)
    return [WHOLE, *((top, left, side, side) for top in steps for left in steps), small.middle]


def _turned_box(box: Box, orientation: int) -> Box:
    """Where a box lies once its image is turned; see `_turned`."""
    top, left, tall, wide = box
    if orientation & 4:
        top, left, tall, wide = left, top, wide, tall
    if orientation & 1:
        left = SIDE - left - wide
    if orientation & 2:
        top = SIDE - top - tall
    return top, left, tall, wide


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The last two axes in one of eight orientations: 1 mirrors, 2 turns upside down, 4 transposes."""
    if orientation & 4:
        image = image.swapaxes(-1, -2)
    if orientation & 1:
        image = image[..., ::-1]
    if orientation & 2:
        image = image[..., ::-1, :]
    return image


def _candidates(small: Sequence[_Small], comparisons: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[_Pair]:
    """Pairs whose thumbnails are alike in some orientation and crop.

    Args:
        small: all images.
        comparisons: rows, and the rows that each of them is compared with.
    """
    boxes = len(_boxes(small[0])) - all(image.middle == WHOLE for image in small)  # of a square image it is the whole
    thumbnails = np.stack([[_thumbnail(image.pixels, box) for box in _boxes(image)[:boxes]] for image in small])
    describe = _description(thumbnails[:, 0])
    whole = describe(thumbnails[:, 0])
    best: dict[tuple[int, int], tuple[float, _Pair]] = {}
    for rows, others in comparisons:
        compared = whole[others].T
        for block in np.split(rows, range(_BLOCK, len(rows), _BLOCK)):
            seen = np.stack([describe(_turned(thumbnails[block], turn)) for turn in range(8)], axis=1)
            cosines = seen.reshape(-1, whole.shape[1]) @ compared
            cosines = cosines.reshape(len(block), 8 * boxes, -1)
            most = cosines.max(axis=1)
            most[block[:, None] == others] = -1.0
            for place, row in enumerate(block.tolist()):
                near = np.flatnonzero(most[place] >= CANDIDATE)
                for index in near[np.argsort(-most[place, near], kind="stable")[:MOST]].tolist():
                    other, variant = int(others[index]), int(cosines[place, :, index].argmax())
                    pair = _Pair(row, other, *divmod(variant, boxes))
                    key, cosine = (min(pair[:2]), max(pair[:2])), float(most[place, index])
                    if key not in best or cosine > best[key][0]:
                        best[key] = cosine, pair
    return [pair for _, pair in best.values()]


def _thumbnail(image: np.ndarray, box: Box) -> np.ndarray:
    """A box of an image as (THUMBNAIL, THUMBNAIL) float32 without its mean brightness and contrast."""
    top, left, tall, wide = box
    part = image[top : top + tall, left : left + wide]
    small = cv2.resize(part, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
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


def _verify(small: Sequence[_Small], rough: dict[int, dict[int, np.ndarray]], pair: _Pair) -> tuple[float, str]:
    """How alike two images are once aligned, and what distinguishes them in words; similarity 0 if nothing fits.

    Args:
        small: all images.
        rough: size -> row -> the fine structure at that size.
        pair: which two.
    """

    def aligned(pictures: Sequence[np.ndarray], start: np.ndarray) -> tuple[float, np.ndarray]:
        return _aligned(np.ascontiguousarray(_turned(pictures[0], pair.orientation)), pictures[1], start)

    box = _turned_box(_boxes(small[pair.row])[pair.box], pair.orientation)
    top, left, tall, wide = (figure / SIDE for figure in box)
    warp = np.array([[wide, 0.0, left], [0.0, tall, top]], np.float32)  # in shares of a side
    found, coarse = aligned([rough[COARSE][row] for row in pair[:2]], warp)
    found, warp = aligned([rough[MIDDLE][row] for row in pair[:2]], coarse if found >= STEERS else warp)
    if found < PROMISING:
        return 0.0, ""
    similarity, warp = aligned([_fine_structure(small[row].pixels, FINE) for row in pair[:2]], warp)
    return similarity, _change(pair.orientation, warp)


def _fine_structures(pool: Executor, small: Sequence[_Small], rows: list[int], size: int) -> dict[int, np.ndarray]:
    """Those of some images, by row."""
    made = pool.map(lambda row: _fine_structure(small[row].pixels, size), rows)
    return dict(zip(rows, made, strict=True))


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
