"""From a click or a filter to the rows behind it; pure."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from core.diagnoses import CODES, PROBABILITY_COLUMNS
from core.evaluation.groups import members

WRONG, RIGHT, ALL = "Wrong", "Right", "All"
ALL_PARTS = "all"
EXTERNAL = "external: "  # before the name of an external evaluation, where a part of the split is asked for
SURE, UNSURE, LOSS, AGREED = "Most confident first", "Least confident first", "Highest loss first", "Most runs wrong"
AS_PICKED = "As picked"
ORDERS = (SURE, UNSURE, LOSS, AGREED)


@dataclass(frozen=True)
class Selection:
    """Filters on a run's answers; an image has to pass all of them.

    Attributes:
        part: of the split, `ALL_PARTS`, or `EXTERNAL` with the name of an external evaluation.
        which: `WRONG`, `RIGHT` or `ALL`.
        truth, said: only this true, or predicted, diagnosis; None for all.
        groups: column -> group, of `core.evaluation.groups.NAMES`: only these patients and images.
        picked: only these images; None for all.
        order: one of `ORDERS`, or `AS_PICKED`.
    """

    part: str
    which: str = ALL
    truth: str | None = None
    said: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    picked: tuple[str, ...] | None = None
    order: str = SURE


def evaluation_of(part: str) -> str:
    """The name of the external evaluation that a part stands for; empty for a part of the run's own split."""
    return part.removeprefix(EXTERNAL) if part.startswith(EXTERNAL) else ""


def customdata_of(event: Any) -> tuple[str, ...] | None:
    """What the first selected point of a chart carries; None where nothing is selected.

    Args:
        event: what `st.plotly_chart(..., on_select="rerun")` returns.
    """
    found = all_customdata_of(event)
    return found[0] if found else None


def all_customdata_of(event: Any) -> list[tuple[str, ...]]:
    """What each selected point of a chart carries; see `customdata_of`."""
    points = (event or {}).get("selection", {}).get("points", [])
    data = (point["customdata"] for point in points if point.get("customdata"))
    return [tuple(entry.values()) if isinstance(entry, dict) else tuple(entry) for entry in data]


def answer_table(predictions: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """A run's answers with what a gallery asks of them.

    Args:
        predictions: as `Run.predictions` gives them.
        images: image_id, and any of lesion_id, age, sex, localization, dx_type, ita; of some of the images or all.

    Returns:
        image_id, split, dx, predicted, p_<code>, ood_score, confidence (in the answer), confidence_in_truth, loss
        (negative logarithm of that), and the columns of `images`; a row an answer.
    """
    probabilities = predictions.reindex(columns=PROBABILITY_COLUMNS).to_numpy(float)
    at = np.arange(len(predictions))
    in_truth = probabilities[at, _places(predictions["dx"])]
    table = predictions.drop(columns=[name for name in predictions.columns if str(name).startswith("logit_")]).assign(
        confidence=probabilities[at, _places(predictions["predicted"])],
        confidence_in_truth=in_truth,
        loss=-np.log(np.maximum(in_truth, 1e-12)),
    )
    return table.merge(images, on="image_id", how="left")


def select(table: pd.DataFrame, asked: Selection) -> pd.DataFrame:
    """The answers that pass the filters, in the order that was asked for.

    Args:
        table: as `answer_table` gives it; for the order `AGREED` with wrong_runs.
        asked: the filters.
    """
    keep = np.ones(len(table), bool)
    if asked.part != ALL_PARTS and not evaluation_of(asked.part):
        keep &= (table["split"] == asked.part).to_numpy()
    if asked.truth:
        keep &= (table["dx"] == asked.truth).to_numpy()
    if asked.said:
        keep &= (table["predicted"] == asked.said).to_numpy()
    if asked.which != ALL:
        keep &= (table["dx"] == table["predicted"]).to_numpy() == (asked.which == RIGHT)
    if asked.groups:
        groups = members(table)
        for by, group in asked.groups.items():
            inside = np.zeros(len(table), bool)
            inside[groups.get(by, {}).get(group, np.array([], int))] = True
            keep &= inside
    if asked.picked is not None:
        keep &= table["image_id"].isin(asked.picked).to_numpy()
    rows = table[keep]
    if asked.order == AS_PICKED and asked.picked is not None:
        places = {name: place for place, name in enumerate(asked.picked)}
        return rows.sort_values("image_id", key=lambda names: names.map(places)).reset_index(drop=True)
    column, rising = {
        SURE: ("confidence", False),
        UNSURE: ("confidence", True),
        LOSS: ("loss", False),
        AGREED: ("wrong_runs", False),
    }.get(asked.order, ("confidence", False))
    return rows.sort_values([column, "loss", "image_id"], ascending=[rising, False, True]).reset_index(drop=True)


def confused_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Which diagnosis is taken for which, the most frequent mistake first.

    Args:
        table: dx, predicted.

    Returns:
        dx, predicted, images, share (of the images of that true diagnosis).
    """
    totals = table["dx"].value_counts()
    wrong = table[table["dx"] != table["predicted"]]
    pairs = wrong.groupby(["dx", "predicted"]).size().rename("images").reset_index()
    pairs["share"] = pairs["images"] / pairs["dx"].map(totals)
    return pairs.sort_values(["images", "share"], ascending=False, ignore_index=True)


def wrong_runs(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How many runs gave a wrong answer to each image that none of them learned from.

    An image counts where it was a test image of every run that answered it.

    Args:
        tables: run -> image_id, split, dx, predicted.

    Returns:
        image_id, wrong_runs, runs (that answered); only images that are in the test part of every one of the runs.
    """
    rows = [
        table.loc[table["split"] == "test", ["image_id"]].assign(
            wrong=(table["dx"] != table["predicted"])[table["split"] == "test"].astype(int)
        )
        for table in tables.values()
    ]
    found = pd.concat(rows or [pd.DataFrame({"image_id": [], "wrong": []})])
    counts = found.groupby("image_id")["wrong"].agg(["sum", "size"]).reset_index()
    counts.columns = pd.Index(["image_id", "wrong_runs", "runs"])
    return counts[counts["runs"] == len(tables)].reset_index(drop=True)


def _places(codes: pd.Series) -> np.ndarray:
    return np.array([CODES.index(code) for code in codes], int)
