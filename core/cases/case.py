"""A case: one image that was assessed, what the model and the reader said of it, and what the histology was."""

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
import numpy as np

from core.diagnoses import CODES
from core.errors import CaseLogError

SEXES = ("male", "female", "unknown")
OLDEST = 120  # years
NAME_LENGTH = 100  # characters of a site, of a lesion's name, of a run's id
COMMENT_LENGTH = 4000  # characters: two pages
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False, kw_only=True)
class NewCase:
    """What somebody asked to keep. It holds no name of a file and nothing that a camera wrote into one.

    Attributes:
        image: (H, W, 3) uint8 RGB, the pixels that were assessed: `Prediction.image`.
        prediction: `Prediction.to_dict(insist=True)`; the log refuses one without figures.
        model_sha256: which model answered: the SHA-256 of the run's `model.keras`, from its manifest.
        age: of the person in years, 0 to 120; None where it was not given.
        sex: one of `SEXES`; None where it was not given.
        site: where on the body, in HAM10000's words where one fits; None where it was not given.
        lesion: the reader's own name for the lesion, so that its images stay together. No person's name. None for
            a lesion of its own.
        own_impression: code of the diagnosis that the reader thought of before the model answered.
        reader_diagnosis: code of the one that the reader settled on afterwards.
        comment: the reader's words.

    Raises:
        CaseLogError: a value is none of these.
    """

    image: np.ndarray
    prediction: dict[str, Any]
    model_sha256: str
    age: float | None = None
    sex: str | None = None
    site: str | None = None
    lesion: str | None = None
    own_impression: str | None = None
    reader_diagnosis: str | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            received = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise CaseLogError(
                f"The image of a case is an array of (H, W, 3) uint8. Received: {received}. Give Prediction.image."
            )
        if not isinstance(self.prediction, dict) or self.prediction.get("diagnosis") not in CODES:
            raise CaseLogError(
                "The prediction of a case holds its figures. Received: one without a diagnosis. "
                "Give Prediction.to_dict(insist=True)."
            )
        check_text("run", self.run, NAME_LENGTH)
        if not self.run:
            raise CaseLogError("A case names the run that answered. Received: none. Give the prediction as it came.")
        if not isinstance(self.model_sha256, str) or not _HEX64.fullmatch(self.model_sha256):
            raise CaseLogError(
                "model_sha256 is 64 hexadecimal digits. "
                f"Received: {self.model_sha256!r}. Take it from the run's manifest."
            )
        if self.age is not None:
            _check_age(self.age)
        if self.sex is not None and self.sex not in SEXES:
            raise CaseLogError(
                f"sex is one of {', '.join(SEXES)}. Received: {self.sex!r}. Choose one, or leave it out."
            )
        for name in ("site", "lesion"):
            if (text := getattr(self, name)) is not None:
                check_text(name, text, NAME_LENGTH)
        check_code("own_impression", self.own_impression)
        check_code("reader_diagnosis", self.reader_diagnosis)
        check_text("comment", self.comment, COMMENT_LENGTH)

    @property
    def run(self) -> str:
        """The id of the run that answered."""
        return self.prediction.get("run", "")

    def png(self) -> bytes:
        """The pixels as a PNG file that holds nothing else."""
        return cv2.imencode(".png", self.image[:, :, ::-1])[1].tobytes()

    def image_sha256(self) -> str:
        """The SHA-256 of the pixels, row by row, red first: the same whatever file they came in."""
        return hashlib.sha256(np.ascontiguousarray(self.image).tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case that is in the log; the image is asked for apart. Attributes as of `NewCase`, and:

    Attributes:
        id: 32 hexadecimal digits that cannot be guessed.
        time: when it was kept, UTC.
        image_sha256: of the pixels.
        run: the id of the run that answered.
        lesion: as it was named, else the id.
        histology: code of the diagnosis that histology gave, later; None until then.
        histology_time: when that was entered, UTC.
    """

    id: str
    time: datetime
    image_sha256: str
    run: str
    model_sha256: str
    prediction: dict[str, Any]
    age: float | None
    sex: str | None
    site: str | None
    lesion: str
    own_impression: str | None
    reader_diagnosis: str | None
    comment: str
    histology: str | None
    histology_time: datetime | None

    @property
    def synthetic(self) -> bool:
        """Whether the run that answered had learned from drawn images only."""
        return bool(self.prediction.get("synthetic"))


def check_code(name: str, code: str | None) -> None:
    """Whether a field holds one of the seven diagnoses, or none.

    Raises:
        CaseLogError: it does not.
    """
    if code is not None and code not in CODES:
        raise CaseLogError(f"{name} is one of {', '.join(CODES)}, or none. Received: {code!r}. Choose one of these.")


def check_text(name: str, text: str, longest: int) -> None:
    """Whether a field holds text that every database can keep.

    Raises:
        CaseLogError: it is none, is too long, or has characters that no database takes.
    """
    if not isinstance(text, str):
        raise CaseLogError(f"{name} is text. Received: {type(text).__name__}. Write it in words.")
    if len(text) > longest:
        raise CaseLogError(f"{name} has at most {longest:,} characters. Received: {len(text):,}. Shorten it.")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise CaseLogError(f"{name} is text in UTF-8. Received: {text!r}. Take out what is no letter.")


def _check_age(age: float) -> None:
    number = isinstance(age, (int, float)) and not isinstance(age, bool)
    if not number or not math.isfinite(age) or not 0 <= age <= OLDEST:
        raise CaseLogError(f"age lies between 0 and {OLDEST} years. Received: {age!r}. Correct it, or leave it out.")
