"""The retrain page on what is under way: a training, those that wait for their turn, an examination."""

from functools import partial

import streamlit as st

from core.errors import DermLensError
from core.runs import jobs
from core.runs.run import ACTIVE, Run, Status
from dashboard import charts, loaders, widgets

PHASES = {
    "waiting": "Starting",
    "data": "Reading and checking the images",
    "trunk": "Computing what the frozen part sees",
    "training": "Training",
    "evaluation": "Evaluating",
    "done": "Done",
}


def progress_begins(run: Run) -> None:
    """Take note of the state that the page is drawn for: `progress` draws it anew when that changes.

    Not within `progress` itself: a page that learns of a training as a button is pressed would forget the press.
    """
    st.session_state["retrain_state"] = run.status().state


@st.fragment(run_every=2)
def progress(run: Run) -> None:
    """Redraws itself every two seconds from the run's folder; the training does not need this page."""
    try:
        under_way(run)
    except DermLensError as error:
        st.error(str(error), icon=":material/error:")


def under_way(run: Run) -> None:
    """How far the training is, and the button that stops it."""
    status = run.status()
    if status.state not in ACTIVE:
        st.session_state[widgets.PICK_KEY] = run.id  # whatever it came to, the page shows it
    if status.state not in ACTIVE or status.state != st.session_state.get("retrain_state"):
        st.session_state["retrain_state"] = status.state
        st.rerun()  # the whole page, sidebar included, has news
    words, share = stage(status)
    st.progress(share, text=f"**{words}**")
    speed = f"{status.images_per_second:,.0f} images/s" if status.images_per_second else "–"
    left = widgets.duration(status.seconds_left)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"Speed: **{speed}**")
        st.markdown(f"Left in this phase: **{left}**")
        stopping = run.stop_requested()
        label = "Stopping…" if stopping else "Stop"
        if st.button(label, icon=":material/stop_circle:", disabled=stopping, key="retrain_stop"):
            jobs.stop(run)
            st.rerun(scope="fragment")
    details(run)


def stage(status: Status) -> tuple[str, float]:
    """What is being done, in words, and how much of this phase is done, 0 to 1."""
    if status.phase == "training" and status.epochs:
        epoch = min(status.epoch + 1, status.epochs)
        return f"Training: epoch {epoch} of at most {status.epochs}", min(1.0, status.epoch / status.epochs)
    words = status.message or PHASES.get(status.phase, status.phase)
    return words, status.share or 0.0


def details(run: Run) -> None:
    """Curves so far, and the end of the log."""
    history = loaders.history(run)
    if not history.empty:
        left, right = st.columns(2)
        with left:
            widgets.chart(charts.curves({"": history}, "loss", False), "retrain_loss", "Loss so far")
        with right:
            figure = charts.curves({"": history}, "balanced_accuracy", True)
            widgets.chart(figure, "retrain_balanced", "Balanced accuracy so far")
        st.caption("dotted: training · solid: validation · ★ highest balanced accuracy")
    log = run.log(last_lines=8)
    if log:
        st.code(log, language=None, wrap_lines=True)


def queue(waiting: list[Run]) -> None:
    """The trainings that wait for their turn."""
    if not waiting:
        return
    st.markdown(f"**Queued ({len(waiting)})**, each begins when those before it have ended:")
    for place, run in enumerate(waiting, 1):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            config = loaders.config(run)
            st.markdown(f"{place}. {run.id} · {config.backbone} · {config.train_from}", width="content")
            if st.button("Take out", icon=":material/close:", key=f"unqueue_{run.id}", type="tertiary"):
                widgets.attempt(partial(jobs.stop, run))


@st.fragment(run_every=2)
def examination(run: Run) -> None:
    """How far the examination of a finished run is, and the button that makes what it lacks."""
    status = run.status()
    if status.examining:
        st.session_state["retrain_examined"] = run.id
        st.progress(status.share or 0.0, text=f"**Being examined:** {status.message}")
    elif st.session_state.pop("retrain_examined", None) == run.id:
        st.rerun()
    elif not run.model_card() or status.error:
        reason = f" It ended early: {status.error}" if status.error else ""
        st.markdown(f"This run was **not examined to the end**: quality of the images, labels, heatmaps.{reason}")
        if st.button("Examine it", icon=":material/fact_check:", key="retrain_examine"):
            widgets.attempt(lambda: jobs.examine(run))
