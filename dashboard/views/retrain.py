"""Start a training, watch it, stop it, go on with it, and choose which run is served."""

import contextlib
from collections.abc import Callable
from typing import Any

import streamlit as st

from core.config import TrainConfig
from core.data.decisions import Decisions
from core.errors import ConfigError, DermLensError, RunBusyError
from core.runs import jobs
from core.runs.run import ACTIVE, Run, Status
from dashboard import charts, loaders, serving_section, widgets

PHASES = {
    "waiting": "Starting",
    "data": "Reading and checking the images",
    "trunk": "Computing what the frozen part sees",
    "training": "Training",
    "evaluation": "Evaluating",
    "done": "Done",
}
ENDED = {
    "failed": "This run **failed**.",
    "stopped": "This run was **stopped**.",
    "lost": "This run is **lost**: its process ended without a word, killed perhaps, or the computer restarted.",
}


# ---- progress ----------------------------------------------------------------------------------


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
        st.caption("dotted: training · solid: validation · ★ best epoch")
    log = run.log(last_lines=8)
    if log:
        st.code(log, language=None, wrap_lines=True)


def ended(run: Run) -> None:
    """What can be done with a run that is not under way."""
    status = run.status()
    if status.error:
        st.error(status.error, icon=":material/error:")
    if status.state in jobs.RESUMABLE:
        epochs = f"{status.epoch} whole epoch{'' if status.epoch == 1 else 's'}"
        st.markdown(f"{ENDED[status.state]} It has {epochs}, and can go on from there with its own settings.")
        if st.button("Go on with it", icon=":material/play_arrow:", key="retrain_resume"):
            attempt(lambda: jobs.resume(run))
        with st.expander("Its log and curves", on_change="rerun") as log:
            if log.open:
                details(run)
    elif status.state == "finished":
        serving_section.serving(run, attempt)
        st.page_link("views/overview.py", label="See its figures", icon=":material/dashboard:")
        examination(run)


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
            attempt(lambda: jobs.examine(run))


def attempt(action: Callable[[], object]) -> None:
    """Do it and redraw, or say why not."""
    try:
        action()
    except RunBusyError as error:
        st.warning(str(error), icon=":material/hourglass_top:")
    except DermLensError as error:
        st.error(str(error), icon=":material/error:")
    else:
        st.rerun()


# ---- a new one ---------------------------------------------------------------------------------


def settings_of(run: Run | None) -> TrainConfig:
    """The chosen run's settings; those of the demo where there is none."""
    if run is not None:
        with contextlib.suppress(DermLensError):
            return loaders.config(run)
    return TrainConfig(dataset="synthetic", backbone="efficientnet_lite0")


def launch(values: dict[str, Any]) -> None:
    """Start what was entered, and show it."""
    try:
        config = TrainConfig.from_dict(values)
    except ConfigError as error:
        st.error(str(error), icon=":material/error:")
        return

    def begin() -> None:
        st.session_state[widgets.PICK_KEY] = jobs.start(config).id

    attempt(begin)


def exclusions(run: Run) -> None:
    """How many images of the chosen run's data set the next training leaves out."""
    with contextlib.suppress(DermLensError):  # the page Audit says what is wrong with them
        fingerprint = loaders.manifest(run).get("data", {}).get("fingerprint")
        excluded = len(Decisions(fingerprint).excluded()) if fingerprint else 0
        if excluded:
            images = "1 image" if excluded == 1 else f"{excluded:,} images"
            st.caption(f"{images} of this run's data set, excluded on the page Audit, will be left out of training.")


def body(run: Run | None = None) -> None:
    """Progress of the training under way, then what can be done with the chosen run, then the form."""
    active = jobs.active_run()
    if active is not None:
        st.subheader(f"Under way: {active.id}")
        progress(active)
    if run is not None and (active is None or run.id != active.id):
        st.subheader("The chosen run")
        ended(run)
    st.subheader("A new training")
    if run is not None:
        exclusions(run)
    values = widgets.settings_form(settings_of(run), f"retrain_{run.id if run else 'first'}")
    if st.button("Start the training", "retrain_start", type="primary", icon=":material/play_arrow:"):
        launch(values)


widgets.page("Retrain", "Start a training and watch it: it goes on when this page is closed.", body, without_run=body)
