"""The evaluation page on operating points: one question, a threshold, and what another one would have done."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.diagnoses import CODES, PROBABILITY_COLUMNS
from core.evaluation.operating import (
    at_prevalence,
    choose_threshold,
    curves,
    is_positive,
    ranking_figures,
    score,
    threshold_figures,
)
from dashboard import loaders, trust_charts, widgets
from dashboard.answers import Answers, missing, thumbnails
from dashboard.widgets import Tile, interval, percent

QUESTIONS = {"melanoma": "Melanoma?", "malignant": "Malignant or premalignant?"}
NOUNS = {
    "melanoma": ("melanomas", "other lesions"),
    "malignant": ("malignant or premalignant lesions", "benign lesions"),
}
STORED, TARGET, BY_HAND = "As stored in the run", "For another sensitivity", "By hand"


def operating_points(answers: Answers) -> None:
    """Choose a question and a threshold; read what it means."""
    points = answers.fitted.get("operating_points") or {}
    if not points or answers.table.empty:
        missing(answers, "operating points")
        return
    st.subheader("From which probability on should one act?")
    first = next(iter(points))
    name = st.segmented_control(
        "Question", list(points), format_func=lambda name: QUESTIONS.get(name, name), default=first, required=True,
        key="evaluation_point", persist_state="session",
    ) or first  # fmt: skip
    way = st.segmented_control(
        "Threshold", [STORED, TARGET, BY_HAND], default=STORED, required=True, key="evaluation_way",
        persist_state="session",
    )  # fmt: skip
    point = points[name]
    threshold = chosen_threshold(answers, name, point, way or STORED)
    if threshold is None:
        st.info("The calibration images hold none of these lesions: there is no threshold.", icon=":material/block:")
        return
    positive = is_positive(answers.labels, point["positives"])
    scores = score(answers.probabilities, point["positives"])
    prevalence = st.number_input(
        "Prevalence where the run is used, in %", 0.01, 99.0, None, 0.5,
        placeholder=f"as in these images: {100 * positive.mean():.1f}", key=f"evaluation_prevalence_{name}",
        help=f"How many of a hundred lesions are {NOUNS[name][0]}. PPV and NPV depend on it: cancers are more common "
        "in a data set than in a practice.", width=320,
    )  # fmt: skip
    share = None if prevalence is None else prevalence / 100
    learned_at = point["n_positive"] / answers.fitted["fitted_on"]["n"]
    if share is not None:
        meant = float(at_prevalence(threshold, learned_at, share))
        st.caption(
            f"The run's probabilities were fitted where {percent(learned_at)} of lesions are {NOUNS[name][0]}. Where "
            f"{percent(share)} of lesions are {NOUNS[name][0]}, what it calls {percent(threshold)} means "
            f"{percent(meant)}."
        )
    figures = threshold_figures(positive, scores, answers.lesions, threshold, answers.seed, share)
    tiles(name, figures, positive, scores >= threshold)
    in_a_thousand(name, figures, share if share is not None else float(positive.mean()))
    table = curves(positive, scores, share, learned_at)
    draw_curves(answers, positive, scores, table, point["threshold"], threshold)
    changed_sides(answers, name, positive, scores, point["threshold"], threshold)


def chosen_threshold(answers: Answers, name: str, point: dict[str, Any], way: str) -> float | None:
    """The threshold that is looked at; another sensitivity's is chosen on the calibration images, as training does."""
    stored = point.get("threshold")
    if stored is None:
        return None
    if way == TARGET and answers.image_alone:
        st.caption("The calibration images were answered with age, sex and site, these without: no other sensitivity "
                   "can be chosen on them. This is the threshold that was chosen for the image alone.")  # fmt: skip
        way = STORED
    if way == TARGET:
        asked = st.slider(
            "Sensitivity to be reached", 50, 99, round(100 * point["target_sensitivity"]), format="%d %%",
            key=f"evaluation_target_{name}", persist_state="session",
        )  # fmt: skip
        held = loaders.predictions(answers.run)
        held = held[held["split"] == "calibration"]
        labels = held["dx"].map(CODES.index).to_numpy()
        scores = score(held[PROBABILITY_COLUMNS].to_numpy(float), point["positives"])
        stored = choose_threshold(is_positive(labels, point["positives"]), scores, asked / 100)
    elif way == BY_HAND:
        stored = st.slider(
            "Flag from a probability of", 0.5, 99.5, float(np.clip(round(200 * stored) / 2, 0.5, 99.5)), 0.5,
            format="%.1f %%", key=f"evaluation_threshold_{name}", persist_state="session",
        ) / 100  # fmt: skip
    positives = point["n_positive"]
    st.caption(
        f"Flagged from a probability of **{percent(stored)}** on."
        + (f" Chosen for a sensitivity of {percent(point['target_sensitivity'], 0)}." if way == STORED else "")
        + (f" Chosen on {positives:,} {NOUNS[name][0]} among the calibration images." if way == TARGET else "")
    )
    return stored


def tiles(name: str, figures: dict[str, Any], positive: np.ndarray, called: np.ndarray) -> None:
    """Sensitivity, specificity and predictive values with their intervals."""
    ill, well = NOUNS[name]
    at = f"at a prevalence of {percent(figures['prevalence'])}"
    widgets.metric_row(
        (
            Tile(
                "Sensitivity",
                percent(figures["sensitivity"]["value"]),
                (interval(figures["sensitivity"]), f"{(called & positive).sum():,} of {positive.sum():,} {ill}"),
                f"The share of {ill} that is flagged.",
            ),
            Tile(
                "Specificity",
                percent(figures["specificity"]["value"]),
                (interval(figures["specificity"]), f"{(~called & ~positive).sum():,} of {(~positive).sum():,} {well}"),
                f"The share of {well} that is left alone.",
            ),
            Tile(
                "PPV",
                percent(figures["ppv"]["value"]),
                (interval(figures["ppv"]), at),
                f"Positive predictive value: the share of flagged lesions that are {ill}.",
            ),
            Tile(
                "NPV",
                percent(figures["npv"]["value"]),
                (interval(figures["npv"]), at),
                f"Negative predictive value: the share of lesions left alone that are {well}.",
            ),
        )
    )


def in_a_thousand(name: str, figures: dict[str, Any], prevalence: float) -> None:
    """The same in numbers that can be pictured."""
    sensitivity, specificity = figures["sensitivity"]["value"], figures["specificity"]["value"]
    if np.isnan(sensitivity) or np.isnan(specificity):
        return
    ill = round(1000 * prevalence)
    found, alarms = round(ill * sensitivity), round((1000 - ill) * (1 - specificity))
    st.markdown(
        f"**Of 1,000 such lesions,** {ill:,} are {NOUNS[name][0]}. {found + alarms:,} would be flagged: {found:,} "
        f"rightly, {alarms:,} for nothing. {ill - found:,} would be missed."
    )


def draw_curves(
    answers: Answers, positive: np.ndarray, scores: np.ndarray, table: pd.DataFrame, stored: float, threshold: float
) -> None:
    """ROC, precision-recall and decision curve side by side."""
    if not positive.any() or positive.all():
        return
    ranking = ranking_figures(positive, scores, answers.lesions, answers.seed)
    share = float(table["net_benefit"].iloc[0])  # flagging all at no cost: the prevalence
    drawn = (
        ("ROC curve", f"AUC {percent(ranking['auc']['value'])}, {interval(ranking['auc'])}",
         trust_charts.roc(table, stored, threshold)),
        ("Precision and recall", f"average precision in these images {percent(ranking['average_precision']['value'])}, "
         f"{interval(ranking['average_precision'])}", trust_charts.precision_recall(table, share, stored, threshold)),
        ("Decision curve", "above both other lines, following the run does more good than flagging all or none",
         trust_charts.decision(table, share, stored, threshold)),
    )  # fmt: skip
    with st.grid(3, min_column_width=270) as grid:
        for title, words, figure in drawn:
            with grid.cell():
                widgets.chart(figure, f"evaluation_{title}", title)
                st.caption(words)


def changed_sides(
    answers: Answers, name: str, positive: np.ndarray, scores: np.ndarray, stored: float, threshold: float
) -> None:
    """Which images another threshold puts on the other side."""
    before, after = scores >= stored, scores >= threshold
    changed = before != after
    if stored == threshold:
        st.caption("Choose another threshold to see which images would change sides.")
        return
    number = {0: "no image changes", 1: "1 image changes"}.get(changed.sum(), f"{changed.sum():,} images change")
    st.markdown(f"**Against the stored threshold of {percent(stored)}, {number} sides.**")
    ill, well = NOUNS[name]
    kinds = (
        (positive & after & ~before, f"{ill} newly found", "found"),
        (positive & ~after & before, f"{ill} newly missed", "missed"),
        (~positive & after & ~before, f"{well} newly flagged", "alarms"),
        (~positive & ~after & before, f"{well} no longer flagged", "spared"),
    )
    shown = {f"{rows.sum():,} {words}": (rows, words, key) for rows, words, key in kinds if rows.any()}
    if not shown:
        return
    choice = st.segmented_control(
        "Images that change sides", list(shown), default=next(iter(shown)), required=True,
        label_visibility="collapsed", key=f"evaluation_sides_{hash(tuple(shown))}",
    )  # fmt: skip
    rows, words, key = shown[choice or next(iter(shown))]
    nearest = np.argsort(np.abs(scores[rows] - threshold), kind="stable")
    title = f"{words[0].upper()}{words[1:]} at a threshold of {percent(threshold)} instead of {percent(stored)}"
    thumbnails(answers, answers.table[rows].iloc[nearest], title, f"sides_{key}")
