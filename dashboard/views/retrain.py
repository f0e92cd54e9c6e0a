"""Start a training, watch it, stop it, go on with it, and choose which run is served."""

import contextlib
from typing import Any

import streamlit as st

from core.config import TrainConfig
from core.demo import RECIPE
from core.errors import ConfigError, DermLensError
from core.presets import PRESETS
from core.runs import jobs
from core.runs.run import Run
from dashboard import loaders, serving_section, widgets
from dashboard.progress_sections import details, examination, progress, progress_begins, queue

ENDED = {
    "failed": "This run **failed**.",
    "stopped": "This run was **stopped**.",
    "lost": "This run is **lost**: its process ended without a word, killed perhaps, or the computer restarted.",
}


def ended(run: Run, busy: bool) -> None:
    """What can be done with a run that is not under way; a busy machine makes it wait for its turn."""
    status = run.status()
    error = status.error or (last_error(run) if status.state == "lost" else "")
    if error:
        st.error(error, icon=":material/error:")
    if status.state in jobs.RESUMABLE:
        epochs = f"{status.epoch} whole epoch{'' if status.epoch == 1 else 's'}"
        st.markdown(f"{ENDED[status.state]} It has {epochs}, and can go on from there with its own settings.")
        label = "Go on with it after the others" if busy else "Go on with it"
        if st.button(label, icon=":material/play_arrow:", key="retrain_resume"):
            widgets.attempt(lambda: jobs.resume(run, wait=busy))
        with st.expander("Its log and curves", on_change="rerun") as log:
            if log.open:
                details(run)
    elif status.state == "finished":
        serving_section.serving(run)
        st.page_link("views/overview.py", label="See its figures", icon=":material/dashboard:")
        examination(run)


def last_error(run: Run) -> str:
    """The last error that its process printed: on a full disk it could write that nowhere else."""
    lines = [line for line in run.log().splitlines() if line.startswith("error: ")]
    return lines[-1].removeprefix("error: ") if lines else ""


# ---- a new one ---------------------------------------------------------------------------------


def settings_of(run: Run | None) -> TrainConfig:
    """The chosen run's settings; those of the demo where there is none."""
    if run is not None:
        with contextlib.suppress(DermLensError):
            return loaders.config(run)
    return RECIPE


def launch(values: dict[str, Any], wait: bool) -> None:
    """Start what was entered, and show it; or let it wait for its turn."""
    try:
        config = TrainConfig.from_dict(values)
    except ConfigError as error:
        st.error(str(error), icon=":material/error:")
        return

    def begin() -> None:
        started = jobs.start(config, wait=wait)
        if not wait:
            st.session_state[widgets.PICK_KEY] = started.id

    widgets.attempt(begin)


def exclusions(run: Run) -> None:
    """How many images of the chosen run's data set the next training leaves out."""
    with contextlib.suppress(DermLensError):  # the page Audit says what is wrong with them
        decisions = loaders.decisions(run)
        excluded = len(decisions.excluded()) if decisions else 0
        if excluded:
            images = "1 image" if excluded == 1 else f"{excluded:,} images"
            st.caption(f"{images} of this run's data set, excluded on the page Audit, will be left out of training.")


def recipe(run: Run | None) -> tuple[str, TrainConfig]:
    """What the form begins with, and what that costs here."""
    own = settings_of(run)
    starts = {name: preset.apply(own) for name, preset in PRESETS.items() if run is not None or name != "same"}
    chosen = st.radio(
        "Begin with", list(starts), format_func=lambda name: PRESETS[name].title, key="retrain_preset",
        captions=[f"{PRESETS[name].sentence} {cost(start, run)}" for name, start in starts.items()],
    )  # fmt: skip
    name = chosen or next(iter(starts))
    return name, starts[name]


def cost(config: TrainConfig, run: Run | None) -> str:
    """How long it takes here, in a few words."""
    found = loaders.estimate(config, run) if run is not None else None
    if found is None:
        return ""
    kind = "measured" if found.measured else "estimated from other trainings"
    return f"At most about {widgets.duration(found.seconds)} here, {kind}."


def cost_in_full(config: TrainConfig, run: Run) -> None:
    """Where the time goes, for what stands in the form."""
    found = loaders.estimate(config, run)
    if found is None:
        st.caption(":material/timer: How long that takes on this machine is known after the first training.")
        return
    trunk = widgets.duration(found.trunk) if found.trunk >= 1 else "nothing, its outputs are on disk"
    st.caption(
        f":material/timer: On the images of the chosen run at most about **{widgets.duration(found.seconds)}** on this "
        f"machine: {trunk} for the frozen part, {widgets.duration(found.training)} for {config.all_epochs:,} epochs, "
        f"{widgets.duration(found.rest)} for reading and evaluating. "
        + ("" if found.measured else "This network and cut was not trained here yet: estimated from what was. ")
        + "The examination comes after it, while the run can be used already."
    )


def body(run: Run | None = None) -> None:
    """Progress of the training under way, then what can be done with the chosen run, then the form."""
    under_way = jobs.active_runs()
    active, waiting = next(iter(under_way), None), under_way[1:]
    if active is not None:
        st.subheader(f"Under way: {active.id}")
        progress_begins(active)
        progress(active)
    queue(waiting)
    if run is not None and run.id not in [other.id for other in under_way]:
        st.subheader("The chosen run")
        ended(run, busy=active is not None)
    st.subheader("A new training")
    if run is not None:
        exclusions(run)
    preset, start = recipe(run)
    values = widgets.settings_form(start, f"retrain_{run.id if run else 'first'}_{preset}")
    if run is not None:
        with contextlib.suppress(ConfigError):  # said when it is started
            cost_in_full(TrainConfig.from_dict(values), run)
    label, icon = ("Add to the queue", "queue") if active else ("Start the training", "play_arrow")
    if st.button(label, "retrain_start", type="primary", icon=f":material/{icon}:"):
        launch(values, wait=active is not None)


widgets.page("Retrain", "Start a training and watch it: it goes on when this page is closed.", body, without_run=body)
