"""Can the image be assessed at all? Blur, exposure, dark frame, a lesion that is cut, size; each in plain words.

All is measured on the whole original, shrunk so that its shorter side has at most 150 pixels: one scale for all,
so that a number means the same in every image. The thresholds were chosen on HAM10000.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np

from core.data.images import at_most, centre_square
from core.data.skin import find_regions, typology_angle

SIDE = 150  # pixels of the shorter side, on which everything is measured
SMALLEST, SMALL = 32, 100  # pixels of the shorter side: below the first nothing can be told, below the second little
BLURRED = -0.4  # log of fine structure to coarse; a blur of 1.5 pixels of 150 falls below it
DARKEST, DARK, BRIGHT = 12.0, 45.0, 235.0  # median grey level outside the frame
BLOWN, BLOWN_SHARE = 250, 0.10  # level from which all three channels count as white, and how much of it is too much
FRAMED = 0.35  # share of the centre square under a dark frame
UNIFORM = 2.0  # standard deviation of the grey levels outside the frame
CUT_SHARE, CUT_CONTRAST, CUT_AREA = 0.02, 18.0, 0.8  # of the square's border; in L*a*b*; of the image

BLACK, EMPTY, TOO_SMALL = "black", "empty", "too_small"
BLUR, TOO_DARK, TOO_BRIGHT, FRAME, CUT, FEW_PIXELS = (
    "blurred",
    "too_dark",
    "too_bright",
    "dark_frame",
    "lesion_cut",
    "few_pixels",
)
PROBLEMS = {
    TOO_SMALL: "The image is far too small to show a lesion.",
    BLACK: "The image is black.",
    EMPTY: "The image is of almost one colour: there is nothing to assess.",
    FEW_PIXELS: "The image has few pixels: fine structures cannot be seen.",
    BLUR: "The image is blurred: fine structures cannot be seen.",
    TOO_DARK: "The image is too dark.",
    TOO_BRIGHT: "The image is too bright: parts of it are plain white.",
    FRAME: "A dark frame covers much of what the model sees.",
    CUT: "The lesion reaches beyond the square in the middle, which is all that the model sees.",
}
SEVERE = (TOO_SMALL, BLACK, EMPTY)  # nothing to assess: no answer is given


@dataclass(frozen=True)
class Quality:
    """Measures of one image, and what is wrong with it.

    Attributes:
        side: the shorter side of the original, in pixels.
        sharpness: log of fine structure to coarse; lower is more blurred.
        brightness: median grey level outside the dark frame, 0 to 255.
        variation: standard deviation of the grey levels outside the dark frame.
        blown: share outside the frame that is plain white, 0 to 1.
        framed: share of the centre square under a dark frame, 0 to 1.
        cut: share of the centre square's border that the lesion crosses, 0 to 1.
        ita: individual typology angle of the skin in degrees, NaN when unsure; see `core.data.skin`.
        problems: keys of `PROBLEMS`, the severe ones first; those in `SEVERE` leave nothing to assess.
    """

    side: int
    sharpness: float
    brightness: float
    variation: float
    blown: float
    framed: float
    cut: float
    ita: float
    problems: tuple[str, ...]

    def to_row(self) -> dict[str, Any]:
        """One row of a table; problems are one string, parted by spaces."""
        return {**asdict(self), "problems": " ".join(self.problems)}


def assess_quality(image: np.ndarray) -> Quality:
    """Measure an image.

    Args:
        image: (H, W, 3) uint8 RGB, 0 to 255, of any size: the whole original.
    """
    height, width = image.shape[:2]
    small = at_most(image, max(SIDE, round(SIDE * max(height, width) / min(height, width))))
    regions = find_regions(small)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    red, green, blue = cv2.split(small)
    darkest_channel = cv2.min(cv2.min(red, green), blue)
    seen = ~regions.frame if not regions.frame.all() else regions.frame
    top, left, side = centre_square(*grey.shape)
    square = np.s_[top : top + side, left : left + side]
    quality = Quality(
        side=min(height, width),
        sharpness=_sharpness(grey, seen),
        brightness=float(np.median(grey[seen])),
        variation=float(grey[seen].std()),
        blown=float((darkest_channel >= BLOWN)[seen].mean()),
        framed=float(regions.frame[square].mean()),
        cut=_on_the_border(regions.lesion[square]) if _is_lesion(regions.lesion, regions.contrast) else 0.0,
        ita=typology_angle(small, regions),
        problems=(),
    )
    return replace(quality, problems=_problems(quality))


def _problems(quality: Quality) -> tuple[str, ...]:
    severe = {
        TOO_SMALL: quality.side < SMALLEST,
        BLACK: quality.brightness < DARKEST,
        EMPTY: quality.variation < UNIFORM and quality.brightness >= DARKEST,
    }
    found = (
        severe
        if any(severe.values())
        else {
            FEW_PIXELS: quality.side < SMALL,
            BLUR: quality.sharpness < BLURRED,
            TOO_DARK: quality.brightness < DARK,
            TOO_BRIGHT: quality.brightness > BRIGHT or quality.blown > BLOWN_SHARE,
            FRAME: quality.framed > FRAMED,
            CUT: quality.cut > CUT_SHARE,
        }
    )
    return tuple(code for code, holds in found.items() if holds)


def _sharpness(grey: np.ndarray, seen: np.ndarray) -> float:
    """Log of the ratio of two bands: below about 2 pixels, and from there to about 5."""
    levels = grey.astype(np.float32)
    fine, coarse = cv2.GaussianBlur(levels, (0, 0), 1.6), cv2.GaussianBlur(levels, (0, 0), 4.0)
    return float(np.log((np.abs(levels - fine)[seen].mean() + 0.05) / (np.abs(fine - coarse)[seen].mean() + 0.05)))


def _is_lesion(lesion: np.ndarray, contrast: float) -> bool:
    return contrast > CUT_CONTRAST and lesion.mean() < CUT_AREA


def _on_the_border(mask: np.ndarray) -> float:
    return float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean())
