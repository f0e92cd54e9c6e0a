"""What is wrong with the data: near-duplicates, suspicious labels, poor images; and what is done about it."""

import streamlit as st

from core.data.decisions import EXCLUDE, Decision
from core.runs.run import Run
from dashboard import loaders, widgets
from dashboard.audit_sections import DECIDED, DUPLICATES, SECTIONS, Desk, first_page


def body(run: Run) -> None:
    """Choose what to look at, look at it, and decide."""
    decisions, splits = loaders.decisions(run), loaders.splits(run)
    if decisions is None or splits.empty:
        widgets.not_yet(run, "split")
        return
    decided = decisions.all()
    section = st.segmented_control(
        "What to look at", list(SECTIONS), default=DUPLICATES, required=True,
        key="audit_section", persist_state="session", on_change=first_page,
        format_func=lambda name: f"{name} ({len(decided)})" if name == DECIDED else name, label_visibility="collapsed",
    )  # fmt: skip
    summary(decided)
    paths = loaders.image_paths(widgets.dataset_of(run))
    SECTIONS[section](run, splits, Desk(decisions, decided, paths))


def summary(decided: dict[str, Decision]) -> None:
    """What the next training will do."""
    excluded = sum(decision.choice == EXCLUDE for decision in decided.values())
    if excluded:
        images, them = ("1 image is", "it") if excluded == 1 else (f"{excluded:,} images are", "them")
        st.info(
            f"**{images} excluded.** The next training on this data set leaves {them} out of training, validation and "
            "calibration; the test images stay as they are, so that runs can be compared.",
            icon=":material/block:",
        )
        st.page_link("views/retrain.py", label="Train again", icon=":material/model_training:")


widgets.page(
    "Audit", "What is wrong with the data that the run learned from, and what the next training should leave out.", body
)
