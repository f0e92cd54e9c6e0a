"""The evaluation page on how far answers can be trusted: probabilities, prediction sets, refusal."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.diagnoses import MALIGNANT
from core.evaluation.conformal import FEWEST, set_figures
from core.evaluation.metrics import bin_of, probabilities_said
from dashboard import charts, picked, selection, trust_charts, widgets
from dashboard.answers import Answers, missing, thumbnails
from dashboard.widgets import Tile, ends, interval, percent

STATEMENTS = {
    "": "The most probable diagnosis",
    "melanoma": "Melanoma",
    "malignant": "Malignant or premalignant",
}


def number(value: float | None) -> str:
    """0.8857 -> "0.886"; what is no number becomes a dash."""
    return "–" if value is None or np.isnan(value) else f"{value:.3f}"


def span(figure: dict[str, Any] | None) -> str:
    """The 95 % interval of a figure that is no share, in words."""
    low, high = (figure or {}).get("low"), (figure or {}).get("high")
    return "95 % interval unknown" if low is None or high is None else f"95 % interval {low:.3f} to {high:.3f}"


# ---- calibration --------------------------------------------------------------------------------

MEANINGS = {
    "ece": "Expected calibration error: by how much, on average, the probability of the most probable diagnosis misses "
    "how often it is right. Fifteen bins of equal width; 0 is best. Chance alone adds a little to it.",
    "melanoma_ece": "The same for the probability of melanoma, whatever the answer was.",
    "brier": "The squared distance of the seven probabilities from the truth, 0 to 2; 0 is best.",
    "nll": "The mean negative logarithm of the probability that the truth was given; 0 is best.",
}


def calibration(answers: Answers) -> None:
    """Do the probabilities mean what they say?"""
    figures = answers.figures.get("calibration")
    if not figures:
        missing(answers, "figures on calibration")
        return
    st.subheader("Do the probabilities mean what they say?")
    st.caption("Of all lesions that are called “melanoma 30 %”, thirty in a hundred should be melanomas.")
    before, after = figures["before"], figures["after"]

    def tile(name: str, label: str, share: bool) -> Tile:
        said = percent if share else number
        was = f"before calibration {said(before[name].get('value'))}"
        return Tile(
            label, said(after[name].get("value")), ((interval if share else span)(after[name]), was), MEANINGS[name]
        )

    widgets.metric_row(
        (
            tile("ece", "Calibration error", True),
            tile("melanoma_ece", "Error for melanoma", True),
            tile("brier", "Brier score", False),
            tile("nll", "Negative log-likelihood", False),
        )
    )
    chosen = st.segmented_control(
        "Probability of", list(STATEMENTS), format_func=STATEMENTS.__getitem__, default="", required=True,
        key="evaluation_statement", persist_state="session",
    )  # fmt: skip
    name = "_".join(filter(None, ("reliability", chosen)))
    figure = trust_charts.reliability(before[name], after[name])
    left, right = st.columns([3, 2], gap="large")
    with left:
        title = f"Reliability: {STATEMENTS[chosen or ''].lower()}"
        event = widgets.chart(figure, f"evaluation_{name}_{answers.part}", title, clickable=not answers.table.empty)
        if not answers.table.empty:
            st.caption("Click a filled dot to see its images.")
            open_bin(answers, chosen or "", selection.customdata_of(event))
    with right:
        st.markdown(
            "**How to read it.** Each dot gathers the images that were given a similar probability; a large dot holds "
            "many. Below the diagonal the run was too sure, above it too cautious. The bars are 95 % intervals."
        )
        temperature = answers.fitted.get("temperature")
        if temperature:
            offsets = any(answers.fitted.get("offsets", {}).values())
            how = (
                " and takes out that rare diagnoses weighed more in training, as if all seven were equally common"
                if offsets
                else ""
            )
            st.markdown(f"Calibration divides the run's logits by a temperature of {temperature:.2f}{how}. "
                        f"It was fitted on {answers.fitted.get('fitted_on', {}).get('n', 0):,} calibration images "
                        "alone.")  # fmt: skip
        st.markdown(
            "Probabilities hold where lesions are as common as in these images. Where melanoma is rarer or more "
            "common, they are off."
        )


def open_bin(answers: Answers, statement: str, clicked: tuple[Any, ...] | None) -> None:
    """Go to the images behind a dot of the reliability diagram: the number that it holds, and the ends of its bin."""
    if clicked is None or len(clicked) < 3:
        return
    low, high = float(clicked[1]), float(clicked[2])
    said = probabilities_said(answers.probabilities)[statement]
    inside = bin_of(said) == bin_of(np.array([(low + high) / 2]))
    title = f"{STATEMENTS[statement]}: said with {percent(low, 0)} to {percent(high, 0)}, {answers.part} images"
    order = np.argsort(-said[inside], kind="stable")
    widgets.show_pick(picked.keep(title, answers.table["image_id"].to_numpy()[inside][order]), answers.part)


# ---- prediction sets ------------------------------------------------------------------------------


def prediction_sets(answers: Answers) -> None:
    """Sets of diagnoses that hold the truth at a level that the reader chooses."""
    fitted = answers.fitted.get("prediction_sets") or {}
    if not fitted.get("scores") or answers.table.empty:
        missing(answers, "prediction sets")
        return
    st.subheader("Which diagnoses cannot be ruled out?")
    st.caption(
        "A prediction set holds as many diagnoses as are needed for the truth to be among them, as often as the level "
        "says, for each diagnosis on its own. Fewer diagnoses in it: a surer answer."
    )
    level = st.slider(
        "Level: how often the set is to hold the truth", 50, 99, round(100 * fitted["level"]), format="%d %%",
        key="evaluation_level", persist_state="session",
    ) / 100  # fmt: skip
    sets = set_figures(answers.labels, answers.probabilities, answers.lesions, fitted["scores"], level, answers.seed)
    single = sets["sizes"][1] / max(1, sum(sets["sizes"]))
    n = f"n\u00a0=\u00a0{len(answers.table):,}"
    unpromised = [code for code, of_code in sets["per_class"].items() if not of_code["promised"]]
    widgets.metric_row(
        (
            Tile("Sets that hold the truth", percent(sets["coverage"]["value"]), (interval(sets["coverage"]), n)),
            Tile("Diagnoses in a set", f"{sets['mean_size']:.1f}", ("on average, of seven", n)),
            Tile("A single diagnosis", percent(single), ("sets that leave no choice", n)),
        )
    )
    if unpromised:
        names = ", ".join(charts.name_of(code) for code in unpromised)
        st.warning(
            f"**No promise for {names}:** calibration had fewer than {FEWEST} cases. With very few, a diagnosis cannot "
            "be ruled out at all and stands in every set.",
            icon=":material/front_hand:",
        )
    left, right = st.columns([3, 2], gap="large")
    with left:
        figure = trust_charts.coverage(sets["per_class"], level)
        widgets.chart(figure, "evaluation_coverage", "How often the set held the truth")
        st.caption("By true diagnosis; the dashed line is the level that was asked for.")
    with right:
        widgets.chart(trust_charts.set_sizes(sets["sizes"]), "evaluation_sizes", "How many diagnoses a set holds")
    rows = [
        {
            "Diagnosis": charts.name_of(code),
            "Images": of_code["n"],
            "Truth in the set": percent(of_code["coverage"]["value"]),
            "95 % interval": ends(of_code["coverage"]),
            "Diagnoses in a set": None if np.isnan(of_code["mean_size"]) else of_code["mean_size"],
            "Calibration cases": of_code["n_calibration"],
            "Note": "" if of_code["promised"] else "no promise",
        }
        for code, of_code in sets["per_class"].items()
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True,
        column_config={"Diagnoses in a set": st.column_config.NumberColumn(format="%.1f")},
    )  # fmt: skip


# ---- refusal --------------------------------------------------------------------------------------


def refusal(answers: Answers) -> None:
    """How many images the run would not have answered, and which."""
    figures, fitted = answers.figures.get("refusal"), answers.fitted.get("refusal") or {}
    if not figures or fitted.get("threshold") is None or answers.table.empty:
        missing(answers, "score for images that it does not know")
        return
    st.subheader("Which images would be refused?")
    st.caption(
        "An image that looks like nothing that the run has learned from gets no diagnosis. The threshold refuses "
        f"at most {percent(fitted.get('false_refusals'), 0)} of the calibration images, which are all fit to be "
        "answered."
    )
    refused = answers.table[answers.table["ood_score"] > fitted["threshold"]]
    n = f"n\u00a0=\u00a0{figures['n']:,}"
    malignant = int(refused["dx"].isin(MALIGNANT).sum())
    widgets.metric_row(
        (
            Tile("Refused", percent(figures["refused"]["value"]), (interval(figures["refused"]), n)),
            Tile(
                "Malignant among them",
                f"{malignant:,}",
                (f"of {len(refused):,} refused", "they get no answer, and no reassurance"),
            ),
        )
    )
    scores = answers.table["ood_score"].to_numpy(float)
    if np.isfinite(scores).any():
        figure = trust_charts.strangeness(scores[np.isfinite(scores)], fitted["threshold"])
        widgets.chart(figure, "evaluation_strangeness", "How strange the images are to the run")
    if not refused.empty:
        st.markdown("**The strangest first**")
        title = f"Refused {answers.part} images, the strangest first"
        thumbnails(answers, refused.sort_values("ood_score", ascending=False), title, "refused")
