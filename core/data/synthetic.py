"""Draw a small data set in HAM10000's form, with lesion masks: the embedded default of DermLens.

It stands in for HAM10000 where that is not at hand: in the demo, in tests, in screenshots. It is no
medical data, and what a model scores on it says nothing about real skin.

The folder that `draw_dataset` writes:

    HAM10000_metadata.csv                     a row for each image, columns of `COLUMNS`
    images/SYN_0000001.jpg                    600x450 RGB
    masks/SYN_0000001_segmentation.png        600x450, 8 bits, 255 on the lesion
    synthetic.json                            what was asked; says that the set is synthetic
"""

import csv
import json
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.data.drawing.camera import paint_scene, photograph
from core.errors import DatasetError

GENERATOR = 1
"""Version of the drawing: raise it whenever the same arguments would draw other pixels."""

MARKER = "synthetic.json"
METADATA = "HAM10000_metadata.csv"
IMAGES = "images"
MASKS = "masks"
IMAGE_NAME = "{image_id}.jpg"
MASK_NAME = "{image_id}_segmentation.png"
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")

JPEG_QUALITY = 90
FEWEST_OF_EACH = 5
VIEWS = (1, 1, 2, 1, 1, 1, 2, 1, 2, 1, 1, 1, 3, 1, 1, 2, 1, 1, 1, 2)
"""Images of one lesion after another: about a quarter have two, a few three."""

# Columns: share of the images, mean age, its deviation, then the odds of dx_type and localization,
# all as counted in HAM10000.
DIAGNOSES = {
    "nv": (0.670, 46, 15, {"follow_up": 55, "histo": 37, "consensus": 8}),
    "mel": (0.111, 61, 15, {"histo": 1}),
    "bkl": (0.110, 64, 14, {"histo": 70, "consensus": 24, "confocal": 6}),
    "bcc": (0.051, 67, 13, {"histo": 1}),
    "akiec": (0.033, 67, 11, {"histo": 1}),
    "vasc": (0.014, 51, 20, {"consensus": 53, "histo": 47}),
    "df": (0.012, 53, 13, {"consensus": 52, "histo": 48}),
}
PLACES = {
    "nv": {"lower extremity": 22, "back": 21, "trunk": 19, "abdomen": 13, "upper extremity": 10},
    "mel": {"back": 29, "upper extremity": 19, "lower extremity": 17, "face": 9, "chest": 6},
    "bkl": {"face": 29, "back": 18, "lower extremity": 16, "upper extremity": 10, "trunk": 7},
    "bcc": {"back": 36, "face": 20, "lower extremity": 11, "upper extremity": 10, "chest": 9},
    "akiec": {"face": 35, "lower extremity": 20, "upper extremity": 19, "back": 9, "scalp": 4},
    "vasc": {"trunk": 22, "lower extremity": 19, "abdomen": 19, "back": 15, "face": 6},
    "df": {"lower extremity": 71, "upper extremity": 21, "abdomen": 3, "back": 2, "foot": 2},
}


@dataclass(frozen=True)
class PlannedLesion:
    """A lesion before it is drawn: what it is, whose it is, and the images that show it."""

    index: int
    dx: str
    dx_type: str
    age: int | None
    sex: str
    localization: str
    image_ids: tuple[str, ...]

    def rows(self) -> list[tuple]:
        """Return a row of the metadata for each image, in the order of `COLUMNS`."""
        about = (self.dx, self.dx_type, "" if self.age is None else f"{self.age:.1f}", self.sex)
        lesion_id = f"SYL_{self.index + 1:07d}"
        return [(lesion_id, image_id, *about, self.localization) for image_id in self.image_ids]


def draw_dataset(
    folder: Path,
    images: int = 600,
    seed: int = 7,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a synthetic data set in HAM10000's form and return its folder.

    The same arguments write the same bytes on the same machine. A set that is already there, whole
    and drawn with the same arguments, is left as it is; one drawn with others is replaced. The set
    appears under its name in one step, when it is complete.

    Args:
        folder: Where the data set shall be. Its parents are made.
        images: How many images, at least 35. Defaults to 600.
        seed: Whole number that every lesion and photograph depends on. Defaults to 7.
        progress: Called in the caller's thread with (images drawn, images), or None. Defaults to
            None. What it raises ends the drawing.

    Returns:
        `folder`.

    Raises:
        DatasetError: `folder` holds something else or cannot be written, or `images` is too small.
    """
    folder = Path(folder)
    if images < FEWEST_OF_EACH * len(DIAGNOSES):
        least = FEWEST_OF_EACH * len(DIAGNOSES)
        raise DatasetError(f"A synthetic set needs at least {least} images. Received: images={images}")
    if _is_complete(folder, images, seed):
        return folder
    _refuse_foreign(folder)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.drawing")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _draw_into(draft, images, seed, progress)
        _put_in_place(draft, folder, images, seed)
    except OSError as error:
        raise DatasetError(
            f"The synthetic set must be written to {folder}. Received: {error.strerror or error}. Free some disk, or "
            "name another folder with DERMLENS_SYNTHETIC."
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def is_synthetic(folder: Path) -> bool:
    """Return whether `folder` is a data set that `draw_dataset` drew to the end."""
    return (Path(folder) / MARKER).is_file()


# --- the folder -----------------------------------------------------------------------------------


def _marker(images: int, seed: int) -> dict[str, int]:
    return {"generator": GENERATOR, "seed": seed, "images": images}


def _is_complete(folder: Path, images: int, seed: int) -> bool:
    """Return whether the set that is asked for is there already, with every file."""
    try:
        asked = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    drawn = len(list(folder.glob(f"{IMAGES}/*.jpg"))), len(list(folder.glob(f"{MASKS}/*.png")))
    whole = drawn == (images, images) and (folder / METADATA).is_file()
    return whole and asked == _marker(images, seed)


def _refuse_foreign(folder: Path) -> None:
    """Raise unless `folder` is free, or holds a synthetic set and nothing else."""
    if not folder.exists():
        return
    found = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {"a file"}
    foreign = found - {MARKER, METADATA, IMAGES, MASKS} if MARKER in found else found
    if foreign:
        names = ", ".join(sorted(foreign)[:3])
        raise DatasetError(
            "A synthetic set is drawn into a new or empty folder, or over an older synthetic set. "
            f"Received: {folder}, which holds {names}. Name another folder, or empty this one."
        )


def _put_in_place(draft: Path, folder: Path, images: int, seed: int) -> None:
    """Rename the finished draft to `folder`, where an older set, or an empty folder, may be."""
    if _is_complete(folder, images, seed):
        return  # another process drew the same set in the meantime: theirs is as good as ours
    if folder.exists():
        old = draft.with_suffix(".old")
        os.rename(folder, old)
        shutil.rmtree(old)
    try:
        os.rename(draft, folder)
    except OSError:
        if not _is_complete(folder, images, seed):
            raise


def _draw_into(draft: Path, images: int, seed: int, progress: Callable[[int, int], None] | None) -> None:
    """Write a whole data set into the new folder `draft`, the marker last."""
    (draft / IMAGES).mkdir(parents=True)
    (draft / MASKS).mkdir()
    lesions = plan(images, seed)
    drawn = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = [pool.submit(_write_lesion, draft, lesion, seed) for lesion in lesions]
        try:
            for job in as_completed(jobs):
                drawn += job.result()
                if progress is not None:
                    progress(drawn, images)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    rows = sorted((row for lesion in lesions for row in lesion.rows()), key=lambda row: row[1])
    with open(draft / METADATA, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    (draft / MARKER).write_text(json.dumps(_marker(images, seed)) + "\n", encoding="utf-8")


def _write_lesion(draft: Path, lesion: PlannedLesion, seed: int) -> int:
    """Draw a lesion, photograph it for each of its images, and return how many those are."""
    patient = np.random.default_rng([seed, lesion.index])
    scene, mask = paint_scene(lesion.dx, patient)
    for view, image_id in enumerate(lesion.image_ids):
        camera = np.random.default_rng([seed, lesion.index, view + 1])
        image, seen = photograph(scene, mask, camera)
        name = draft / IMAGES / IMAGE_NAME.format(image_id=image_id)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _write_image(name, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
        _write_image(draft / MASKS / MASK_NAME.format(image_id=image_id), seen, [])
    return len(lesion.image_ids)


def _write_image(path: Path, pixels: np.ndarray, options: list[int]) -> None:
    # imencode, not imwrite: it takes any path, and a full disk raises instead of returning False.
    path.write_bytes(cv2.imencode(path.suffix, pixels, options)[1].tobytes())


# --- the plan -------------------------------------------------------------------------------------


def images_of_each(images: int) -> dict[str, int]:
    """Return how many images each diagnosis has: HAM10000's shares, but never a handful."""
    fewest = max(FEWEST_OF_EACH, images // 50)
    counts = {dx: max(fewest, round(images * row[0])) for dx, row in DIAGNOSES.items()}
    # The rare classes were rounded up: what that costs is taken from the largest that is left.
    while sum(counts.values()) > images:
        counts[max(counts, key=counts.__getitem__)] -= 1
    counts["nv"] += images - sum(counts.values())
    return counts


def plan(images: int, seed: int) -> list[PlannedLesion]:
    """Return the lesions of a set of `images` images, in the order of their image numbers."""
    rng = np.random.default_rng([seed])
    shown = [(dx, views) for dx, count in images_of_each(images).items() for views in _views(count)]
    nameless = set(rng.choice(len(shown), size=max(1, len(shown) // 100), replace=False).tolist())
    lesions, first = [], 1
    for index, position in enumerate(rng.permutation(len(shown))):
        dx, views = shown[position]
        _, mean, deviation, kinds = DIAGNOSES[dx]
        age = int(np.clip(5 * round(rng.normal(mean, deviation) / 5), 5, 85))
        sex = str(rng.choice(["male", "female"], p=[0.54, 0.46]))
        known = index not in nameless
        ids = tuple(f"SYN_{number:07d}" for number in range(first, first + views))
        first += views
        lesions.append(
            PlannedLesion(
                index=index,
                dx=dx,
                dx_type=_pick(rng, kinds),
                age=age if known else None,
                sex=sex if known else "unknown",
                localization=_pick(rng, PLACES[dx]),
                image_ids=ids,
            )
        )
    return lesions


def _views(count: int) -> list[int]:
    """Return the numbers of images of one class's lesions; they add up to `count`."""
    views: list[int] = []
    while count > 0:
        views.append(min(count, VIEWS[len(views) % len(VIEWS)]))
        count -= views[-1]
    return views


def _pick(rng: np.random.Generator, odds: dict[str, int]) -> str:
    weights = np.array(list(odds.values()), float)
    return str(rng.choice(list(odds), p=weights / weights.sum()))
