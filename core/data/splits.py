"""Split by lesion: images of one lesion never stand on both sides.

Four parts: training; validation, by which it is watched, and stopped where the recipe says so; calibration, which sets
temperature and thresholds; test, which is looked at once. Stratified by diagnosis, the same on every machine for the
same seed. In a cross-validation the test part is one of several folds, and the other three share what is left as they
always do.
Images that somebody excluded stand apart, and nobody else moves for it.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.diagnoses import CODES
from core.errors import DatasetError, SplitLeakError

SHARES = {"train": 0.65, "validation": 0.10, "calibration": 0.10, "test": 0.15}
PARTS = tuple(SHARES)
UNTESTED = {part: share / (1 - SHARES["test"]) for part, share in SHARES.items() if part != "test"}
HELD_OUT = PARTS[1:]
EXCLUDED = "excluded"  # stands in the split's column for an image that somebody took out of training


@dataclass(frozen=True)
class Leakage:
    """What an image-level split of the same size would have leaked, in expectation.

    Attributes:
        code: a diagnosis, or "all".
        n: its images.
        leaked: the share of held-out images that would have had a sibling in training, 0 to 1.
    """

    code: str
    n: int
    leaked: float


def split_by_lesion(
    images: pd.DataFrame,
    seed: int,
    excluded: frozenset[str] = frozenset(),
    added: frozenset[str] = frozenset(),
    fold: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Give every image its part.

    Lesions of each diagnosis are dealt in an order set by a hash of seed and lesion, each to the part that
    is owed most images. Images that are excluded are dealt like all others and only then set apart: the part of
    every other image is the same with and without them. Those of the test part stay, so that runs before and
    after a decision are judged by the same images. Images that were added are dealt last, for the same reason; those
    of a lesion that is there already follow it.

    Args:
        images: image_id, lesion_id, dx.
        seed: another seed, another split.
        excluded: ids of images that are not to be learned from; ids that are not in `images` are ignored.
        added: ids of images that were added to the data set, `Dataset.added`.
        fold: (k, n), k from 1 to n: the test part is the k-th of n parts of equal size. With the same seed, each lesion
            is in the test part of exactly one of the n.

    Returns:
        image_id, lesion_id, dx, split; in the order of `images`. The split is one of `PARTS` or `EXCLUDED`.

    Raises:
        DatasetError: too few lesions for four parts, or too few once the excluded images are set apart.
    """
    late = images["image_id"].isin(added)
    rounds = [images[~late], images[late & ~images["lesion_id"].isin(images.loc[~late, "lesion_id"])]]
    if fold is None:
        part_of = _dealt(rounds, seed, SHARES)
    else:
        number, count = fold
        fold_of = _dealt(rounds, seed, {str(one): 1 / count for one in range(1, count + 1)})
        tested = {lesion for lesion, own in fold_of.items() if own == str(number)}
        rest = [some[~some["lesion_id"].isin(tested)] for some in rounds]
        part_of = _dealt(rest, seed, UNTESTED) | dict.fromkeys(tested, "test")
    splits = images[["image_id", "lesion_id", "dx"]].assign(split=images["lesion_id"].map(part_of))
    empty = [part for part in PARTS if not (splits["split"] == part).any()]
    if empty:
        raise DatasetError(
            f"Each of {', '.join(PARTS)} needs at least one lesion. Received: {len(part_of)} lesions, which leave "
            f"{', '.join(empty)} empty. Use a larger data set."
        )
    check_no_leak(splits)
    out = splits["image_id"].isin(excluded) & (splits["split"] != "test")
    splits["split"] = splits["split"].mask(out, EXCLUDED)
    emptied = [part for part in PARTS if not (splits["split"] == part).any()]
    if emptied:
        raise DatasetError(
            f"Each of {', '.join(PARTS)} needs at least one image. Received: {int(out.sum())} excluded images, which "
            f"leave {', '.join(emptied)} empty. Undo some of the exclusions."
        )
    return splits.reset_index(drop=True)


def _dealt(rounds: list[pd.DataFrame], seed: int, shares: dict[str, float]) -> dict[str, str]:
    """Lesion -> part, of images that are dealt one table after the other, by the shares that the parts are owed."""
    part_of: dict[str, str] = {}
    owed = dict.fromkeys(shares, 0.0)  # what rounding leaves over goes on to the next diagnosis
    for images in rounds:
        _deal(images, seed, shares, part_of, owed)
    return part_of


def _deal(
    images: pd.DataFrame, seed: int, shares: dict[str, float], part_of: dict[str, str], owed: dict[str, float]
) -> None:
    """Give every lesion of these images its part, in `part_of`; `owed` is how many images each part lacks."""
    sizes = images.groupby("lesion_id").size()
    # by name, so that the order of rows does not decide about a lesion with two diagnoses
    diagnosis_of = images.sort_values("image_id").groupby("lesion_id")["dx"].first()
    for code in CODES:
        lesions = sorted(diagnosis_of.index[diagnosis_of == code], key=lambda lesion: _rank(seed, lesion))
        total = int(sizes[lesions].sum()) if lesions else 0
        for part, share in shares.items():
            owed[part] += share * total
        for lesion in lesions:
            part = max(shares, key=owed.__getitem__)
            part_of[lesion] = part
            owed[part] -= int(sizes[lesion])


def check_no_leak(splits: pd.DataFrame) -> None:
    """Refuse a split in which a lesion stands in two parts. Excluded images stand in none.

    Raises:
        SplitLeakError: names up to five such lesions and their total.
    """
    leaking = torn_lesions(splits)
    if leaking:
        raise SplitLeakError(
            f"All images of a lesion belong to one part of the split. Received: {len(leaking)} lesions in several, "
            f"such as {', '.join(leaking[:5])}. Split again by lesion_id."
        )


def torn_lesions(splits: pd.DataFrame) -> list[str]:
    """The lesions that stand in more than one part of a split; excluded images stand in none."""
    parts = splits[splits["split"] != EXCLUDED].groupby("lesion_id")["split"].nunique()
    return parts.index[parts > 1].tolist()


def apart(one: pd.Series, other: pd.Series) -> pd.Series:
    """Whether two images stand in two parts of a split; excluded images stand in none.

    Args:
        one, other: the part of each image of a pair.
    """
    return (one != other) & one.isin(PARTS) & other.isin(PARTS)


def leakage_report(images: pd.DataFrame, train_share: float = SHARES["train"]) -> list[Leakage]:
    """What a split that ignores lesions would have leaked, for each diagnosis and for all.

    An image of a lesion with k images has a sibling in training with probability 1 - (1 - share)^(k - 1).

    Args:
        images: lesion_id, dx; and, where they are split already, split: images that are excluded do not count.
        train_share: share of the images in training, 0 to 1.
    """
    if "split" in images:
        images = images[images["split"] != EXCLUDED]
    siblings = images.groupby("lesion_id")["lesion_id"].transform("size") - 1
    leaked = 1.0 - (1.0 - train_share) ** siblings
    report = [Leakage("all", len(images), float(leaked.mean()))]
    for code in CODES:
        rows = images["dx"] == code
        if rows.any():
            report.append(Leakage(code, int(rows.sum()), float(leaked[rows].mean())))
    return report


def class_weights(codes: pd.Series) -> np.ndarray:
    """Weights that make every diagnosis count the same: total / (diagnoses present * images of this one).

    Args:
        codes: the diagnosis of each training image.

    Returns:
        (7,) float32; 1 for a diagnosis without images.
    """
    counts = np.array([(codes == code).sum() for code in CODES], dtype=float)
    present = counts > 0
    weights = np.ones(len(CODES))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)


def split_fingerprint(splits: pd.DataFrame) -> str:
    """A hash of who stands where."""
    rows = splits.sort_values("image_id")[["image_id", "split"]]
    return hashlib.sha256(rows.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def _rank(seed: int, lesion: str) -> str:
    return hashlib.sha256(f"{seed}:{lesion}".encode()).hexdigest()
