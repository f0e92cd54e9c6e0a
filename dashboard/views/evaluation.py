"""How good a run is, part by part: headline, the seven diagnoses, and how far the answers can be trusted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.diagnoses import CODES, FEW
from core.evaluation.card_texts import HAM10000, kind_of
from core.runs.run import Run
from dashboard import charts, loaders, selection, trust_sections, widgets
from dashboard.answers import Answers
from dashboard.operating_section import operating_points
from dashboard.published_section import published
from dashboard.selection import EXTERNAL
from dashboard.subgroup_section import subgroups
from dashboard.widgets import PARTS, Tile, interval, percent

DIAGNOSES = "Diagnoses"
SECTIONS: dict[str, Callable[[Answers], None]] = {
    "Probabilities": trust_sections.calibration,
    "Prediction sets": trust_sections.prediction_sets,
    "Operating points": operating_points,
    "Subgroups": subgroups,
    "Refusal": trust_sections.refusal,
}
COUNTS, RATES = "Numbers of images", "Shares of each true diagnosis"


def body(run: Run) -> None:
    """Choose a part of the split or an external data set; read its figures."""
    loaders.manifest(run)
    figures = {part: loaders.metrics(run)[part] for part in PARTS if loaders.metrics(run).get(part)}
    evaluations = {f"{EXTERNAL}{name}": content for name, content in loaders.evaluations(run).items()}
    external = {name: content.get("metrics", {}) for name, content in evaluations.items()}
    if not figures and not external:
        widgets.not_yet(run, "figures")
        return
    choices = figures | external
    part = st.segmented_control(
        "Images", list(choices), format_func=lambda name: PARTS.get(name, name), default=next(iter(choices)),
        required=True, key=f"evaluation_part_{run.id}", persist_state="session",
    )  # fmt: skip
    explain_part(run, part, evaluations.get(part, {}).get("data", {}))
    headline(choices[part])
    if part == "test" and kind_of(run.synthetic, loaders.splits(run)["image_id"]) is HAM10000:
        published(choices[part])
    section = st.segmented_control(
        "Section", [DIAGNOSES, *SECTIONS], default=DIAGNOSES, required=True, key="evaluation_section",
        persist_state="session", label_visibility="collapsed",
    )  # fmt: skip
    if section in SECTIONS:
        SECTIONS[section](
            Answers.of_part(run, part) if part in figures else Answers.of_evaluation(run, part, evaluations[part])
        )
        return
    matrix(choices[part], part)
    per_class(choices[part].get("per_class", {}))


def explain_part(run: Run, part: str, data: dict[str, Any]) -> None:
    """What the chosen images were used for; `data` describes those from elsewhere."""
    if data.get("known_to_the_run"):
        st.warning(
            f"{data['known_to_the_run']:,} of these {data.get('images', 0):,} images are of lesions that the run "
            "learned from: the figures are too good.",
            icon=":material/warning:",
        )
        return
    elsewhere = "Images from elsewhere, which the run never learned from"
    if data.get("known_to_the_run", 0) is None:
        elsewhere = "Images of a folder; a published copy does not say whether the run learned from them"
    st.caption(
        {
            "test": "Never used in training, and looked at once: these are the figures to quote.",
            "validation": watched(run),
            "calibration": "Used to fit probabilities, sets and thresholds, whose figures are too good here.",
        }.get(part, f"{elsewhere}: {data.get('folder', 'unknown folder')}.")
    )


def watched(run: Run) -> str:
    """What the validation images were used for."""
    config = loaders.config(run)
    chosen = ["the epoch that was kept"] * (not config.average_last)
    chosen += ["how much age, sex and site count"] * config.patient
    if not chosen:
        return "Watched during the training, which chose nothing by them: it keeps the mean of its last epochs."
    return f"Used to choose {' and '.join(chosen)}, so that these figures are a little too good."


def headline(figures: dict[str, Any]) -> None:
    """The figures that sum a run up, with their intervals."""
    n = f"n\u00a0=\u00a0{figures.get('n', 0):,}"
    always = percent(figures.get("always_nevus_accuracy"))
    melanomas = (figures.get("melanoma_sensitivity") or {}).get("n", 0)
    widgets.metric_row(
        [
            Tile(label, percent((figures.get(key) or {}).get("value")), (interval(figures.get(key)), line))
            for key, label, line in (
                ("balanced_accuracy", "Balanced accuracy", n),
                ("melanoma_sensitivity", "Melanoma sensitivity", f"of {melanomas:,} melanomas"),
                ("macro_auc", "Macro AUC", n),
                ("accuracy", "Accuracy", f"always “nevus” would score {always}"),
            )
            if key != "melanoma_sensitivity" or key in figures  # not in a run of an older DermLens
        ]
    )


def matrix(figures: dict[str, Any], part: str) -> None:
    """The confusion matrix; a click on a cell opens its images."""
    counts = np.array(figures.get("confusion", {}).get("counts", []))
    if counts.shape != (len(CODES), len(CODES)):
        return
    shown = st.segmented_control(
        "Cells show", [COUNTS, RATES], default=COUNTS, required=True, key="evaluation_cells", persist_state="session",
        label_visibility="collapsed",
    )  # fmt: skip
    hint = "Each row is a true diagnosis, each column an answer; the diagonal is right."
    st.caption(f"{hint} Click a cell to see its images (on a touch screen: tap it twice).")
    figure = charts.confusion(counts, as_rates=shown == RATES)
    event = widgets.chart(figure, f"evaluation_matrix_{part}", "Confusion matrix: truth and answer", clickable=True)
    cell = selection.customdata_of(event)
    if cell:
        widgets.open_gallery(part, *cell)


def per_class(figures: dict[str, dict[str, Any]]) -> None:
    """The seven diagnoses with all their figures."""
    st.subheader("Each diagnosis")
    names = {"sensitivity": "Sensitivity", "specificity": "Specificity", "precision": "Precision", "f1": "F1"}
    rows = []
    for code in CODES:
        values = figures.get(code, {})
        row = {"Diagnosis": charts.name_of(code), "Images": values.get("n", 0)}
        for key, name in (*names.items(), ("auc", "AUC")):
            value = values.get(key)
            row[name] = None if value is None else 100 * value
        row["Note"] = "few cases" if values.get("n", 0) < FEW else ""
        rows.append(row)
    columns = (*names.values(), "AUC")
    formats: dict[str, Any] = {"Images": st.column_config.NumberColumn(format="localized")}
    formats |= {name: st.column_config.NumberColumn(format="%.1f %%") for name in columns}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=formats)
    st.caption(
        "Sensitivity: the share of a diagnosis that is recognised. Specificity: the share of all others that is not "
        "taken for it. Precision: the share of such answers that is right. "
        f"Fewer than {FEW} cases say little."
    )


widgets.page("Evaluation", "How good the chosen run is on each diagnosis, and what it takes for what.", body)
