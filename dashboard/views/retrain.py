"""Start a training, watch it, stop it, go on with it, and choose which run is served."""

import dataclasses
from typing import Any, get_type_hints

import streamlit as st

from core.config import BACKBONE_CUTS, TrainConfig, plain_type
from core.errors import ConfigError, DermLensError, RunBusyError
from core.runs import jobs
from core.runs.run import ACTIVE, Run, promote
from dashboard import charts, loaders, widgets

PHASES = {
    "waiting": "Starting",
    "data": "Reading and checking the images",
    "trunk": "Computing what the frozen part sees",
    "training": "Training",
    "evaluation": "Evaluating",
    "done": "Done",
}
OPEN_GROUPS = ("Data", "Network")
LABELS = {
    "dataset": "Images",
    "data_dir": "Folder",
    "cache_gb": "Disk for trunk outputs, GB",
    "reduce_lr_patience": "Patience before the rate is cut",
    "reduce_lr_factor": "Factor of that cut",
}
DATASETS = {"ham10000": "A folder in HAM10000's form", "synthetic": "Drawn, synthetic images"}


# ---- progress ----------------------------------------------------------------------------------


@st.fragment(run_every=2)
def progress(run: Run) -> None:
    """Redraws itself every two seconds from the run's folder; the training does not need this page."""
    status = run.status()
    if status.state not in ACTIVE:
        st.rerun()  # it ended: the whole page, sidebar included, has news
    words = PHASES.get(status.phase, status.phase)
    if status.phase == "training" and status.epochs:
        words = f"{words}: epoch {min(status.epoch + 1, status.epochs)} of at most {status.epochs}"
    share = status.epoch / status.epochs if status.epochs else 0.0
    st.progress(min(1.0, share), text=f"**{words}**" + (f"  ·  {status.message}" if status.message else ""))
    speed = f"{status.images_per_second:,.0f} images/s" if status.images_per_second else "–"
    left = widgets.duration(status.seconds_left)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"Speed: **{speed}**")
        st.markdown(f"Left in this phase: **{left}**")
        stopping = run.stop_requested()
        label = "Stopping…" if stopping else "Stop"
        if st.button(label, icon=":material/stop_circle:", disabled=stopping, key="retrain_stop"):
            jobs.stop(run)
    details(run)


def details(run: Run) -> None:
    """Curves so far, and the end of the log."""
    history = loaders.history(run)
    if not history.empty:
        left, right = st.columns(2)
        with left:
            st.markdown("**Loss**")
            widgets.chart(charts.curves({"": history}, "loss", False), "retrain_loss", "Loss so far")
        with right:
            st.markdown("**Balanced accuracy**")
            figure = charts.curves({"": history}, "balanced_accuracy", True)
            widgets.chart(figure, "retrain_balanced", "Balanced accuracy so far")
        st.caption("dotted: training · solid: validation · ★ best epoch")
    log = run.log(last_lines=15)
    if log:
        st.code(log, language=None, wrap_lines=True, height=180)


def ended(run: Run) -> None:
    """What can be done with a run that is not under way."""
    status = run.status()
    if status.error:
        st.error(status.error, icon=":material/error:")
    if status.state in jobs.RESUMABLE:
        st.markdown(f"This run is **{status.state}** after {status.epoch} whole epochs; it can go on from there.")
        if st.button("Go on with it", icon=":material/play_arrow:", key="retrain_resume"):
            attempt(lambda: jobs.resume(run))
        with st.expander("Its log and curves", on_change="rerun") as log:
            if log.open:
                details(run)
    elif status.state == "finished":
        card = next((card for card in loaders.run_cards() if card.run.id == run.id), None)
        if card and card.served:
            st.markdown("This run **is served**: the clinician's page answers with it.")
        else:
            st.markdown("This run is finished. Serve it, and the clinician's page answers with it from then on.")
            if st.button("Serve this run", icon=":material/podium:", key="retrain_promote"):
                attempt(lambda: promote(run))


def attempt(action: Any) -> None:
    """Do it and redraw, or say why not."""
    try:
        action()
    except RunBusyError as error:
        st.warning(str(error), icon=":material/hourglass_top:")
    except DermLensError as error:
        st.error(str(error), icon=":material/error:")
    else:
        st.rerun()


# ---- the form ----------------------------------------------------------------------------------


def form(run: Run | None) -> dict[str, Any]:
    """One field for each setting, filled from the chosen run; returns what was entered."""
    start = settings_of(run)
    hints = get_type_hints(TrainConfig)
    prefix = f"retrain_{run.id if run else 'first'}"
    groups: dict[str, list[dataclasses.Field]] = {}
    for setting in dataclasses.fields(TrainConfig):
        groups.setdefault(setting.metadata["group"], []).append(setting)
    values: dict[str, Any] = {}
    for group, settings in groups.items():
        with st.expander(group, expanded=group in OPEN_GROUPS), st.grid(3, min_column_width=240) as grid:
            for setting in settings:
                with grid.cell():
                    present = getattr(start, setting.name)
                    values[setting.name] = field(setting, plain_type(hints[setting.name]), present, prefix, values)
    return values


def settings_of(run: Run | None) -> TrainConfig:
    """The chosen run's settings; those of the demo where there is none."""
    if run is not None:
        try:
            return loaders.config(run)
        except DermLensError:
            pass
    return TrainConfig(dataset="synthetic", backbone="efficientnet_lite0")


def field(setting: dataclasses.Field, kind: type, present: Any, prefix: str, earlier: dict[str, Any]) -> Any:
    """The widget that fits a setting's type and bounds."""
    label = LABELS.get(setting.name, setting.name.replace("_", " ").capitalize())
    bounds = setting.metadata
    options = {"help": bounds["reason"], "key": f"{prefix}_{setting.name}", "persist_state": "session"}
    choices = choices_of(setting, earlier)
    if choices:
        index = choices.index(present) if present in choices else 0
        return st.selectbox(label, choices, index=index, format_func=lambda name: DATASETS.get(name, name), **options)
    if kind is bool:
        return st.toggle(label, value=present, **options)
    if kind is int:
        return st.number_input(label, bounds["low"], bounds["high"], present, step=1, **options)
    if kind is float:
        small = bounds["high"] <= 1
        return st.number_input(label, bounds["low"], bounds["high"], present, step=present / 10 if small and present
                               else 1.0 if not small else 0.05, format="%g", **options)  # fmt: skip
    drawn = setting.name == "data_dir" and earlier["dataset"] == "synthetic"
    text = st.text_input(label, present or "", disabled=drawn, **options).strip()
    return None if drawn else text or None


def choices_of(setting: dataclasses.Field, earlier: dict[str, Any]) -> tuple[str, ...]:
    """What a setting can be; where the network can be cut depends on the network."""
    if setting.name == "backbone":
        return tuple(BACKBONE_CUTS)
    if setting.name == "train_from":
        return BACKBONE_CUTS[earlier["backbone"]]
    return tuple(setting.metadata.get("choices", ()))


def launch(values: dict[str, Any]) -> None:
    """Start what was entered, and show it."""
    try:
        config = TrainConfig.from_dict(values)
    except ConfigError as error:
        st.error(str(error), icon=":material/error:")
        return

    def begin() -> None:
        st.session_state["pick_next"] = jobs.start(config).id

    attempt(begin)


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
    values = form(run)
    if st.button("Start the training", type="primary", icon=":material/play_arrow:", disabled=active is not None,
                 help="One training runs at a time." if active else None):  # fmt: skip
        launch(values)


widgets.page("Retrain", "Start a training and watch it: it goes on when this page is closed.", body, without_run=body)
