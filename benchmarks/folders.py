"""What a training on several folders finds of images that stand in two of them.

    python benchmarks/folders.py DATA_DIR [--planted 800] [--other OTHER_DIR]

A fifth of the lesions of DATA_DIR plays a further folder, the others the first one, and changed copies of images of
the first are planted in the further one. With --other, both folders are taken as they are and hold the same
photographs under the same image_id, in other sizes and crops: the pairs of one name are to be found. A pair of two
lesions is counted as wrong, though a data set may hold a lesion under two names; how many photographs of one lesion
are found beside that is said too. A missed pair may leak; a wrong one keeps two lesions in one part of the split.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audit import brighten, compress, copies, crop, mirror, upside_down

from core.data.duplicates import near_duplicates
from core.data.ham10000 import index_dataset

LOWEST = 0.4
LEVELS = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)


def shrink(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """To half of its size."""
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def turn(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """By a right angle."""
    return np.rot90(image)


def middle(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """The square in the middle; of a square image, without a tenth of it."""
    height, width = image.shape[:2]
    side = min(height, width) if height != width else round(0.9 * height)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


CHANGES = {
    "half the size": (shrink,),
    "JPEG 60": (compress,),
    "mirrored": (mirror,),
    "upside down": (upside_down,),
    "turned": (turn,),
    "crop": (crop,),
    "square of the middle": (middle,),
    "brightness": (brighten,),
    "half the size, JPEG 60": (shrink, compress),
    "turned, crop, JPEG 60": (turn, crop, compress),
    "mirrored, middle, half the size": (mirror, middle, shrink),
    "crop, brightness, half the size": (crop, brighten, shrink),
}


def planted(folder: Path, count: int, seed: int) -> None:
    """Part the lesions, plant, look, count."""
    images = index_dataset(folder).images
    dice = np.random.default_rng(seed)
    lesions = dice.permutation(images["lesion_id"].unique())
    further = images["lesion_id"].isin(lesions[: len(lesions) // 5])
    first, more = images[~further].reset_index(drop=True), images[further]
    with tempfile.TemporaryDirectory() as place:
        copied = copies(first, count, CHANGES, dice, Path(place))
        second = pd.concat([more, copied], ignore_index=True)
        truth = set(zip(copied["image_id"], copied["of"], strict=True))
        print(f"\n{len(copied):,} copies planted among {len(more):,} images of other lesions")
        found = looked_for(first, second, truth)
    pairs = set(zip(found["image_id"], found["other_id"], strict=True))
    hit = np.array([pair in pairs for pair in zip(copied["image_id"], copied["of"], strict=True)])
    similarity = found.set_index(["image_id", "other_id"])["similarity"]
    for kind in CHANGES:
        some = copied[hit & (copied["kind"] == kind)]
        figures = similarity.reindex(pd.MultiIndex.from_arrays([some["image_id"], some["of"]]))
        print(f"  {kind:<34}{hit[copied['kind'] == kind].mean():.3f}, similarity from {figures.min():.2f}")


def same_names(folder: Path, other: Path) -> None:
    """Two folders with the same photographs."""
    first, second = index_dataset(folder).images, index_dataset(other).images
    common = set(first["image_id"]) & set(second["image_id"])
    print(f"\n{len(common):,} photographs stand in both folders")
    found = looked_for(first, second, {(name, name) for name in common})
    print(found[found["similarity"] >= LOWEST]["change"].value_counts().to_string())


def looked_for(first: pd.DataFrame, second: pd.DataFrame, truth: set[tuple[str, str]]) -> pd.DataFrame:
    """Pairs of an image of the second with one of the first, and what share of the truth they are, at every level."""
    started, worked = time.monotonic(), time.process_time()
    found = near_duplicates(second, first, LOWEST)
    seconds, worked = time.monotonic() - started, time.process_time() - worked
    print(f"{len(second):,} images against {len(first):,}: {seconds:.0f} s ({worked:.0f} s of processor)")
    lesions = [table.set_index("image_id")["lesion_id"] for table in (second, first)]
    true = np.array([pair in truth for pair in zip(found["image_id"], found["other_id"], strict=True)], bool)
    own, its = (found[name].map(names) for name, names in zip(("image_id", "other_id"), lesions, strict=True))
    wrong = (own != its).to_numpy()
    print("  similarity  found  recall  of one lesion beside  of two lesions  precision")
    for level in LEVELS:
        kept = (found["similarity"] >= level).to_numpy()
        hits, apart = int((true & kept).sum()), int((wrong & kept).sum())
        beside = int(kept.sum()) - hits - apart
        precision = hits / max(1, hits + apart)
        print(f"  {level:<10}{hits:>7,}{hits / len(truth):>8.4f}{beside:>23,}{apart:>16,}{precision:>11.4f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--planted", type=int, default=800)
    parser.add_argument("--other", type=Path)
    asked = parser.parse_args()
    if asked.other:
        same_names(asked.data_dir, asked.other)
    else:
        planted(asked.data_dir, asked.planted, seed=0)
