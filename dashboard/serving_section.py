"""Which run is served: the chosen one beside it, the way to serve it, and the way back."""

from datetime import datetime
from functools import partial

import pandas as pd
import streamlit as st

from core.errors import DermLensError
from core.evaluation import promotion
from core.evaluation.comparison import MEASURES, Comparison
from core.runs.all_runs import find_run, promotions
from core.runs.run import Run
from dashboard import loaders, widgets


def serving(run: Run) -> None:
    """The chosen run, which is finished, beside the served one, and what can be done."""
    judged = loaders.judgement(run)
    if judged.served is not None and judged.served.id == run.id:
        st.markdown("This run **is served**: the clinician's page answers with it.")
    else:
        st.markdown("This run is finished. Serve it, and the clinician's page answers with it from then on.")
        if judged.comparison is not None:
            beside(judged.comparison)
        reason = ""
        if judged.objections:
            st.warning("  \n".join(judged.objections), icon=":material/trending_down:")
            reason = st.text_input("Why it is to be served all the same", key=f"promote_reason_{run.id}")
        blocked = bool(judged.objections) and not reason.strip()
        if st.button("Serve this run", icon=":material/podium:", key="retrain_promote", disabled=blocked):
            widgets.attempt(lambda: promotion.serve(run, reason))
    history()


def beside(found: Comparison) -> None:
    """The differences to the served run, on the images that both were tested on."""
    rows = [
        {
            "Compared with the served run": MEASURES[measure],
            "Difference": f"{100 * figure['value']:+.1f} points",
            "95 % interval": f"{100 * figure['low']:+.1f} to {100 * figure['high']:+.1f}",
            "": "worse" if figure["high"] < 0 else "better" if figure["low"] > 0 else "chance may explain it",
        }
        for measure, figure in found.differences.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.caption(f"On the {len(found.table):,} test images of both runs, lesion by lesion.")


def history() -> None:
    """Every promotion, and the way back to an earlier one."""
    earlier = promotions()
    if len(earlier) < 2:
        return
    served = loaders.served_id()
    with st.expander(f"Runs that were served before ({len(earlier) - 1})"):
        for place, entry in enumerate(earlier):
            moment = datetime.fromisoformat(entry["promoted"]).astimezone()
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                why = f": {entry['reason']}" if entry.get("reason") else ""
                st.markdown(f"{moment:%d %b %Y, %H:%M} · {entry['run']}{why}", width="content")
                if entry["run"] == served:
                    st.badge("served", color="primary")
                    continue
                try:
                    run = find_run(entry["run"])
                except DermLensError:
                    st.caption("deleted")
                    continue
                label = "Back to it" if place == 1 else "Serve again"
                if st.button(label, icon=":material/undo:", key=f"rollback_{place}", type="tertiary"):
                    widgets.attempt(partial(promotion.serve, run, "back to an earlier run"))
