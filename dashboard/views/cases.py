"""The cases that readers asked to keep: what became of them, how reader and model agree, and back into training."""

import streamlit as st

from core.cases.log import CaseLog
from core.runs.run import Run
from dashboard import case_sections, widgets


def body(run: Run | None = None) -> None:
    """Where the log lies, then the chosen section of it. It is about all runs, and needs none."""
    log = CaseLog()
    st.caption(
        f":material/lock: The cases lie in `{log.address}`. One is kept only when somebody asked for it: the "
        "clinician's page keeps no image unless its reader presses the button for it. No name of a file is kept."
    )
    table = log.table()
    if table.empty:
        case_sections.empty()
        return
    names = list(case_sections.SECTIONS)
    section = st.segmented_control(
        "What to look at", names, default=names[0], required=True, key="cases_section", persist_state="session",
        label_visibility="collapsed",
    )  # fmt: skip
    case_sections.SECTIONS[section](log, table, run)


widgets.page(
    "Cases", "Images that were assessed and kept, what became of them, and how reader and model agree.", body, body
)
