"""What the audit of a run's data found, as tables for people; pure."""

import pandas as pd

from core.data.quality import PROBLEMS
from core.data.splits import EXCLUDED, PARTS
from core.diagnoses import RESEARCH_NOTICE
from dashboard.charts import name_of


def duplicate_table(pairs: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Pairs of near-duplicates with where each stands.

    Args:
        pairs: image_id, other_id, similarity; change where it is known.
        splits: image_id, lesion_id, dx, split.

    Returns:
        the same with split, other_split, dx, other_dx, across (whether they stand in two parts of the split) and
        same_lesion; those across parts first, then the most similar.
    """
    known = splits[["image_id", "lesion_id", "dx", "split"]]
    other = known.rename(columns={name: f"other_{name}" for name in known.columns}).rename(
        columns={"other_image_id": "other_id"}
    )
    table = pairs.merge(known, on="image_id").merge(other, on="other_id")
    parts = table[["split", "other_split"]]
    table["across"] = (table["split"] != table["other_split"]) & parts.isin(PARTS).all(axis=1)
    table["same_lesion"] = table["lesion_id"] == table["other_lesion_id"]
    return table.sort_values(["across", "similarity"], ascending=False, ignore_index=True)


def label_table(suspicious: pd.DataFrame, splits: pd.DataFrame, share: float) -> pd.DataFrame:
    """The most suspicious labels, with the part of the split that each image is in.

    Args:
        suspicious: image_id, dx, suggested, suspicion; the most suspicious first.
        splits: image_id, split.
        share: of all images, 0 to 1.
    """
    return suspicious.head(round(share * len(suspicious))).merge(splits[["image_id", "split"]], on="image_id")


def quality_table(images: pd.DataFrame, splits: pd.DataFrame, problem: str | None) -> pd.DataFrame:
    """Images of poor quality, those with most problems first.

    Args:
        images: image_id, problems (codes parted by spaces).
        splits: image_id, dx, split.
        problem: only images with this one; None for any.
    """
    codes = images["problems"].str.split()
    rows = images[codes.map(lambda found: problem in found if problem else bool(found))]
    count = rows["problems"].str.count(r"\S+")
    ordered = rows.assign(count=count).sort_values(["count", "image_id"], ascending=[False, True])
    return ordered.drop(columns="count").merge(splits[["image_id", "dx", "split"]], on="image_id")


def problem_counts(images: pd.DataFrame) -> dict[str, int]:
    """How many images have each problem, the most frequent first."""
    found = images["problems"].str.split().explode().dropna().value_counts()
    return {str(code): int(n) for code, n in found.items()}


def problems_in_words(codes: str) -> str:
    """Codes parted by spaces -> sentences."""
    return " ".join(PROBLEMS.get(code, code) for code in codes.split())


def part_of(split: str) -> str:
    """Where an image stands, in words."""
    return "excluded from training" if split == EXCLUDED else split


def as_csv(table: pd.DataFrame) -> bytes:
    """A table to take away; its last column says what it is for."""
    named = table.assign(notice=RESEARCH_NOTICE)
    if "dx" in named:
        named.insert(list(named.columns).index("dx") + 1, "diagnosis", named["dx"].map(name_of))
    return named.to_csv(index=False).encode()
