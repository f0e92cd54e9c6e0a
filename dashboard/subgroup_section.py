"""The evaluation page on subgroups: the same figures for groups of patients and images."""

from typing import Any

import pandas as pd
import streamlit as st

from core.diagnoses import FEW
from core.evaluation.groups import NAMES
from core.evaluation.subgroups import MEASURES, gap_in_words
from dashboard import selection, trust_charts, widgets
from dashboard.answers import Answers, missing
from dashboard.widgets import ends, percent


def subgroups(answers: Answers) -> None:
    """The same figures for groups of patients and images."""
    found = answers.subgroups()
    if not found and answers.folder is None and answers.part != "test":
        st.info("Subgroups are compared on the test images alone.", icon=":material/groups:")
        return
    if not found:
        missing(answers, "figures of subgroups")
        return
    st.subheader("Is it as good for everybody?")
    largest, of_patients = found.get("largest_gap"), found.get("largest_patient_gap")
    if largest:
        st.warning(f"**The largest gap.** {gap_in_words(largest)}", icon=":material/height:")
        if of_patients and of_patients != largest:
            st.markdown(f"**The largest one between groups of patients.** {gap_in_words(of_patients)}")
    else:
        st.info("No two groups hold enough images of the same diagnosis to be compared.", icon=":material/height:")
    kinds = list(found.get("groups", {}))
    if not kinds:
        return
    by = st.segmented_control(
        "Groups by", kinds, format_func=lambda by: NAMES[by].capitalize(), default=kinds[0], required=True,
        key=f"evaluation_by_{hash(tuple(kinds))}", persist_state="session",
    ) or kinds[0]  # fmt: skip
    measure = st.segmented_control(
        "Measure", list(MEASURES), format_func=MEASURES.__getitem__, default="balanced_accuracy", required=True,
        key="evaluation_measure", persist_state="session",
    ) or "balanced_accuracy"  # fmt: skip
    groups = found["groups"][by]
    if by == "ita":
        st.caption(f":material/info: {found['proxy']}")
    figure = trust_charts.subgroups(groups, measure)
    event = widgets.chart(
        figure, f"evaluation_groups_{by}_{measure}", f"{MEASURES[measure]} by {NAMES[by]}", clickable=True
    )
    st.caption("Click a dot to see the images of its group.")
    clicked = selection.customdata_of(event)
    if clicked:
        widgets.open_gallery(answers.part, answers="All", **{by: str(clicked[3])})
    gap = found["gaps"].get(by, {}).get(measure)
    st.markdown(f"**Largest gap here.** {gap_in_words(gap)}" if gap else "No two groups hold enough images to compare.")
    st.dataframe(group_table(groups), hide_index=True)
    st.caption(
        f"Grey and hollow dots: fewer than {found.get('few', FEW)} images, or melanomas, which says little. Balanced "
        "accuracy depends on which diagnoses a group holds, so groups are compared only on diagnoses of which both "
        "have ten images. Calibration error grows by chance where images are few: it is compared from 100 images on."
    )


def group_table(groups: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Every figure of each group."""
    rows = []
    for group, figures in groups.items():
        melanoma = figures["melanoma_sensitivity"]
        found = f"{percent(melanoma['value'], 0)} of {melanoma['n']:,}" if melanoma["n"] else "no melanoma"
        rows.append(
            {
                "Group": group.replace("_", " "),
                "Images": figures["n"],
                "Diagnoses": figures["diagnoses"],
                "Balanced accuracy": with_span(figures["balanced_accuracy"]),
                "Melanoma sensitivity": found + (f" ({ends(melanoma)})" if melanoma["n"] else ""),
                "Calibration error": with_span(figures["ece"]),
                "Note": "few images" if figures["few"] else "few melanomas" if melanoma["few"] else "",
            }
        )
    return pd.DataFrame(rows)


def with_span(figure: dict[str, Any]) -> str:
    """A share with its interval, for a table."""
    return f"{percent(figure['value'], 0)} ({ends(figure)})" if figure["value"] is not None else "–"
