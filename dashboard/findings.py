"""What the audit of a run's data found, as tables for people; pure."""

from typing import Any

import numpy as np
import pandas as pd

from core.data.quality import PROBLEMS
from core.data.splits import EXCLUDED, apart
from core.diagnoses import notices
from dashboard.charts import name_of
from dashboard.spreadsheet import without_formulas

ACROSS, BETWEEN, ALL_PAIRS = "Across the split", "Between lesions", "All pairs"


def duplicate_table(pairs: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Pairs of near-duplicates with where each stands.

    Args:
        pairs: image_id, other_id, similarity; change where it is known.
        splits: image_id, lesion_id, dx, split.

    Returns:
        the same with split, other_split, dx, other_dx, across (whether they stand in two parts of the split) and
        same_lesion; those across parts first, then those of two lesions, then the most similar.
    """
    known = splits[["image_id", "lesion_id", "dx", "split"]]
    other = known.rename(columns={name: f"other_{name}" for name in known.columns}).rename(
        columns={"other_image_id": "other_id"}
    )
    table = pairs.merge(known, on="image_id").merge(other, on="other_id")
    table["across"] = apart(table["split"], table["other_split"])
    table["same_lesion"] = table["lesion_id"] == table["other_lesion_id"]
    return table.sort_values(
        ["across", "same_lesion", "similarity"], ascending=[False, True, False], kind="stable", ignore_index=True
    )


def pairs_of(table: pd.DataFrame, kind: str, code: str | None) -> pd.DataFrame:
    """The pairs that the filters of the page leave.

    Args:
        table: as `duplicate_table` gives it.
        kind: `ACROSS`, `BETWEEN` or `ALL_PAIRS`.
        code: only pairs in which an image has this diagnosis; None for all.
    """
    if kind == ACROSS:
        table = table[table["across"]]
    elif kind == BETWEEN:
        table = table[~table["same_lesion"]]
    if code:
        table = table[(table["dx"] == code) | (table["other_dx"] == code)]
    return table.reset_index(drop=True)


def label_table(suspicious: pd.DataFrame, splits: pd.DataFrame, share: float) -> pd.DataFrame:
    """The most suspicious labels, with the part of the split that each image is in.

    Args:
        suspicious: image_id, dx, suggested, suspicion; the most suspicious first.
        splits: image_id, lesion_id, dx, split.
        share: of all images, 0 to 1.

    Returns:
        image_id, dx, suggested, suspicion, split, siblings (other diagnoses that images of the same lesion are
        labelled with, parted by spaces).
    """
    rows = suspicious.head(round(share * len(suspicious))).merge(splits.drop(columns="dx"), on="image_id")
    labelled = splits.groupby("lesion_id")["dx"].unique()
    pairs = zip(rows["lesion_id"], rows["dx"], strict=True)
    siblings = [" ".join(sorted(set(labelled[lesion]) - {dx})) for lesion, dx in pairs]
    return rows.drop(columns="lesion_id").assign(siblings=siblings)


def leakage_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """What a split by image would have leaked, as a run's manifest holds it.

    Returns:
        Diagnosis, Images, Would have leaked (per cent).
    """
    return pd.DataFrame(
        {
            "Diagnosis": ["All" if row["code"] == "all" else name_of(row["code"]) for row in rows],
            "Images": [row["n"] for row in rows],
            "Would have leaked": [100 * row["leaked"] for row in rows],
        }
    )


def quality_table(
    images: pd.DataFrame, splits: pd.DataFrame, problem: str | None, code: str | None = None
) -> pd.DataFrame:
    """Images of poor quality, those with most problems first.

    Args:
        images: image_id, problems (codes parted by spaces).
        splits: image_id, dx, split.
        problem: only images with this one; None for any.
        code: only images of this diagnosis; None for all.
    """
    codes = images["problems"].str.split()
    rows = images[codes.map(lambda found: problem in found if problem else bool(found))]
    count = rows["problems"].str.count(r"\S+")
    ordered = rows.assign(count=count).sort_values(["count", "image_id"], ascending=[False, True])
    table = ordered.drop(columns="count").merge(splits[["image_id", "dx", "split"]], on="image_id")
    return table[table["dx"] == code].reset_index(drop=True) if code else table


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


def as_csv(table: pd.DataFrame, synthetic: bool | pd.Series) -> bytes:
    """A table to take away; its last column says what it is for.

    Args:
        table: its rows.
        synthetic: whether a model of drawn images made it; of a table of several models' answers, row by row.
    """
    named = table.assign(notice=np.where(synthetic, " ".join(notices(True)), " ".join(notices(False))))
    if "dx" in named:
        named.insert(list(named.columns).index("dx") + 1, "diagnosis", named["dx"].map(name_of))
    return without_formulas(named).to_csv(index=False).encode("utf-8-sig")  # or a spreadsheet garbles umlauts
