"""What the audit of a data set finds of faults that are planted in it.

    python benchmarks/audit.py DATA_DIR [--features FILE] [--seeds 5] [--planted 220]

Near-duplicates: copies of images, mirrored, cropped, compressed or brightened, and several of these at once, are
looked for among all images. What is found beyond them is counted as wrong only between images of different lesions,
and is listed: HAM10000 holds lesions under two names. Suspicious labels: 3 % of the labels are changed. FILE holds
features (n, k), in order of image_id, such as a run's features.npy; without it they are computed.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.config import TrainConfig
from core.data.dataset import Dataset
from core.data.duplicates import near_duplicates
from core.data.ham10000 import load_dataset
from core.data.images import read_image
from core.diagnoses import CODES
from core.evaluation.suspicion import suspicious_labels

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
FLIPPED, LOOKED_AT = 0.03, 0.05


# ---- near-duplicates -----------------------------------------------------------------------------


def mirror(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    return image[:, ::-1]


def upside_down(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    return image[::-1]


def crop(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    """A tenth off each side, anywhere; half of the time enlarged to the size that it had."""
    height, width = image.shape[:2]
    tall, wide = round(0.9 * height), round(0.9 * width)
    top, left = dice.integers(0, height - tall + 1), dice.integers(0, width - wide + 1)
    part = image[top : top + tall, left : left + wide]
    return cv2.resize(part, (width, height)) if dice.random() < 0.5 else part


def compress(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1]


def brighten(image: np.ndarray, dice: np.random.Generator) -> np.ndarray:
    return np.clip(np.round(image * (1.15 if dice.random() < 0.5 else 0.85)), 0, 255).astype(np.uint8)


CHANGES: dict[str, tuple[Change, ...]] = {
    "mirrored": (mirror,),
    "upside down": (upside_down,),
    "crop": (crop,),
    "JPEG 60": (compress,),
    "brightness": (brighten,),
    "mirrored, brightness, JPEG 60": (mirror, brighten, compress),
    "crop, brightness, JPEG 60": (crop, brighten, compress),
    "upside down, crop, JPEG 60": (upside_down, crop, compress),
}


def copies(
    images: pd.DataFrame, count: int, changes: Mapping[str, tuple[Change, ...]], dice: np.random.Generator, folder: Path
) -> pd.DataFrame:
    """Changed copies of images, written as PNG: image_id, path, lesion_id, of (the image's id), kind of change."""
    rows = []
    for number, row in enumerate(dice.permutation(len(images))[:count]):
        kind = list(changes)[number % len(changes)]
        picture = read_image(images["path"].iloc[row])
        for change in changes[kind]:
            picture = change(picture, dice)
        path = folder / f"copy_{number}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(picture[:, :, ::-1]))
        rows.append((path.stem, str(path), images["lesion_id"].iloc[row], images["image_id"].iloc[row], kind))
    return pd.DataFrame(rows, columns=["image_id", "path", "lesion_id", "of", "kind"])


def duplicates(dataset: Dataset, planted: int, seed: int) -> None:
    """Plant, look, count."""
    images = dataset.images
    dice = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        copied = copies(images, planted, CHANGES, dice, Path(folder))
        table = pd.concat([images[["image_id", "path", "lesion_id"]], copied], ignore_index=True)
        started, worked = time.monotonic(), time.process_time()
        found = near_duplicates(table[["image_id", "path"]])
        seconds, worked = time.monotonic() - started, time.process_time() - worked
    pairs = {frozenset(pair) for pair in zip(found["image_id"], found["other_id"], strict=True)}
    hit = np.array([frozenset(pair) in pairs for pair in zip(copied["image_id"], copied["of"], strict=True)])
    lesion = dict(zip(table["image_id"], table["lesion_id"], strict=True))
    apart = found[found["image_id"].map(lesion) != found["other_id"].map(lesion)]
    print(
        f"\nNear-duplicates: {planted} planted in {len(images):,} images, {seconds:.0f} s ({worked:.0f} s of processor)"
    )
    for kind in CHANGES:
        print(f"  {kind:<30} {hit[copied['kind'] == kind].mean():.3f}")
    print(f"  recall {hit.mean():.3f}; precision {hit.sum() / (hit.sum() + len(apart)):.3f}, counting as wrong")
    print(f"  {len(apart)} pairs between lesions; {len(found) - hit.sum() - len(apart)} more within a lesion")
    if not apart.empty:
        print(apart.to_string(index=False))


# ---- suspicious labels ---------------------------------------------------------------------------


def suspicion(features: np.ndarray, dataset: Dataset, seeds: int) -> None:
    """Change labels, look, count."""
    truth = dataset.images["dx"].map(CODES.index).to_numpy()
    lesions = dataset.images["lesion_id"].to_numpy()
    frequency = np.bincount(truth, minlength=len(CODES)) / len(truth)
    looked_at = round(LOOKED_AT * len(truth))
    for how, odds in (("any other diagnosis alike", np.ones(len(CODES))), ("by frequency", frequency)):
        shares, seconds = [], []
        by_code: dict[str, list[float]] = {code: [] for code in CODES}
        for seed in range(seeds):
            dice = np.random.default_rng(seed)
            labels, flipped = truth.copy(), dice.permutation(len(truth))[: round(FLIPPED * len(truth))]
            for row in flipped:
                chances = np.where(np.arange(len(CODES)) == truth[row], 0.0, odds)
                labels[row] = dice.choice(len(CODES), p=chances / chances.sum())
            started = time.monotonic()
            found = suspicious_labels(features, labels, lesions, seed)
            seconds.append(time.monotonic() - started)
            hit = np.isin(flipped, found["row"].iloc[:looked_at])
            shares.append(hit.mean())
            for index, code in enumerate(CODES):
                by_code[code] += hit[truth[flipped] == index].tolist()
        print(f"\nLabels flipped to {how}: {FLIPPED:.0%} of {len(truth):,}, {np.median(seconds):.0f} s")
        spread = f"({min(shares):.3f} to {max(shares):.3f})"
        print(f"  among the {LOOKED_AT:.0%} most suspicious: {np.mean(shares):.3f} {spread}")
        words = (f"{code} {np.mean(hits):.2f} (n {len(hits)})" for code, hits in by_code.items() if hits)
        print(f"  by true diagnosis: {', '.join(words)}")


def pooled_features(dataset: Dataset) -> np.ndarray:
    """What the frozen EfficientNet-Lite0 makes of each image, from the trunk cache or computed now."""
    from core.models.classifier import build_classifier
    from core.models.trunk_cache import TrunkCache

    config = TrainConfig(backbone="efficientnet_lite0")
    classifier = build_classifier(config)
    outputs = TrunkCache(classifier.sensor, config).outputs(dataset, dataset.images, 0, lambda *_: None)
    return np.asarray(outputs)[:, -classifier.pooled :]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--planted", type=int, default=220)
    asked = parser.parse_args()
    data = load_dataset(asked.data_dir)
    duplicates(data, asked.planted, seed=0)
    given = asked.features
    suspicion(np.load(given).astype(np.float32) if given else pooled_features(data), data, asked.seeds)
