"""Pieces that several pages share: the frame of a page, notices, the row of metrics, charts, the image grid."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.config import BACKBONE_CUTS, TrainConfig, plain_type
from core.data.dataset import Dataset
from core.diagnoses import CODES, RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.errors import DermLensError, RunBusyError
from core.runs.run import Run
from dashboard import loaders
from dashboard.charts import name_of, themed, titled
from dashboard.picked import Picked
from dashboard.selection import ALL_PARTS, evaluation_of

RUN_KEY = "run"  # the run that all pages show
PICK_KEY = "pick_next"  # the id of a run that the sidebar's picker shall show next
STATES: dict[str, tuple[Any, str]] = {
    "queued": ("gray", ":material/schedule:"),
    "running": ("blue", ":material/progress_activity:"),
    "finished": ("green", ":material/check_circle:"),
    "failed": ("red", ":material/error:"),
    "stopped": ("orange", ":material/stop_circle:"),
    "lost": ("orange", ":material/link_off:"),
    "unreadable": ("red", ":material/help:"),
}
FROM_DATASET = "From the data set"  # the page Explain's choice of an image
PARTS = {"test": "Test", "validation": "Validation", "calibration": "Calibration", "train": "Training"}


@dataclass(frozen=True)
class Tile:
    """One figure with the two lines that say how far to trust it."""

    label: str
    value: str
    lines: tuple[str, str]
    help: str | None = None


# ---- words -------------------------------------------------------------------------------------


def percent(value: float | None, digits: int = 1) -> str:
    """0.7421 -> "74.2 %"; what is no number becomes a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.{digits}f} %"


def interval(figure: dict[str, Any] | None) -> str:
    """The 95 % interval of a figure in words."""
    return f"95 % interval {ends(figure)}"


def ends(figure: dict[str, Any] | None) -> str:
    """The ends of a figure's interval in words."""
    low, high = (figure or {}).get("low"), (figure or {}).get("high")
    return "unknown" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f} %"


def duration(seconds: float | None) -> str:
    """412 -> "6 min 52 s"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


# ---- the frame of a page -----------------------------------------------------------------------


def chosen_run() -> Run | None:
    """The run that the sidebar's picker shows; None while there is none."""
    return st.session_state.get(RUN_KEY)


def page(title: str, lead: str, body: Callable[[Run], None], without_run: Callable[[], None] | None = None) -> None:
    """A page: its title, one line on what it is for, and its body for the chosen run.

    What DermLens refuses on purpose is shown as a sentence.

    Args:
        title: of the page.
        lead: one line on what the page is for.
        body: draws the page for a run.
        without_run: draws it while there is no run at all; by default, how to make one.
    """
    st.title(title)
    st.caption(lead)
    run = chosen_run()
    try:
        if run is not None:
            body(run)
        else:
            (without_run or empty_state)()
    except DermLensError as error:
        st.error(str(error), icon=":material/error:")


def notices(run: Run | None) -> None:
    """The research-use notice, and the one on drawn images where the run learned from such."""
    st.caption(f":material/science: {RESEARCH_NOTICE}")
    if drawn(run):
        st.warning(SYNTHETIC_NOTICE, icon=":material/draw:")


def drawn(run: Run | None) -> bool:
    """Whether a run learned from drawn images."""
    try:
        return run is not None and bool(loaders.manifest(run).get("data", {}).get("synthetic", False))
    except DermLensError:  # the page says it
        return False


def empty_state() -> None:
    """What to do while there is no run at all."""
    st.info(
        "**There is no run yet.** A run is one training with everything it produced. Make the first one in a few "
        "minutes, without any data of your own:",
        icon=":material/rocket_launch:",
    )
    st.code("make demo", language="bash")
    st.markdown("or, in full:")
    st.code("python train.py --dataset synthetic --backbone efficientnet_lite0", language="bash")
    st.markdown("You can also start it from here, and watch it:")
    st.page_link("views/retrain.py", label="Start a training", icon=":material/model_training:")


def state_badge(state: str) -> None:
    """A run's state as a word in its colour."""
    colour, icon = STATES.get(state, STATES["unreadable"])
    st.badge(state, icon=icon, color=colour)


def not_yet(run: Run, what: str) -> None:
    """Says why a run has not got something, and what can be done."""
    status = run.status()
    reason = {
        "queued": "It is waiting to start.",
        "running": "It comes when the training gets there.",
        "failed": status.error or "The training failed.",
        "stopped": "The training was stopped.",
        "lost": "Its process is gone.",
        "finished": "This run finished without producing it.",
    }.get(status.state, "")
    st.info(f"This run is **{status.state}** and has no {what} yet. {reason}", icon=":material/hourglass_empty:")
    if status.state != "finished":
        st.page_link("views/retrain.py", label="See its progress", icon=":material/model_training:")


def attempt(action: Callable[[], object]) -> None:
    """Do it and redraw the page, or say why not."""
    try:
        action()
    except RunBusyError as error:
        st.warning(str(error), icon=":material/hourglass_top:")
    except DermLensError as error:
        st.error(str(error), icon=":material/error:")
    else:
        st.rerun()


# ---- pieces ------------------------------------------------------------------------------------


def metric_row(tiles: Sequence[Tile]) -> None:
    """Figures side by side, each with its line; they wrap where there is little room."""
    with st.grid(len(tiles), min_column_width=210 if len(tiles) < 5 else 160) as grid:
        for tile in tiles:
            with grid.cell(), st.container(border=True, height="stretch", gap=None):
                st.metric(tile.label, tile.value, help=tile.help)
                st.caption("  \n".join(tile.lines))


def chart(
    figure: go.Figure,
    key: str,
    title: str,
    clickable: bool = False,
    lasso: bool = False,
    answered_by: tuple[str, bool] | None = None,
) -> Any:
    """A chart with its title, which is its alternative text too; of a clickable one, what was selected.

    Pointed at, it shows the button that saves it as a picture. With `lasso` there are buttons for circling points and
    for boxes too, and the wheel zooms. It is of the chosen run, or of the one in `answered_by`: its id, and whether its
    images are drawn.
    """
    run = chosen_run()
    origin, synthetic = answered_by or (run.id if run else "", drawn(run))
    figure = themed(titled(figure, title, synthetic), st.context.theme.type)
    name = "-".join(re.sub(r"\W+", "-", part) for part in (origin, title, "research-only") if part)
    buttons = [["pan2d", "lasso2d", "select2d", "resetScale2d"]] if lasso else []
    config = {
        "displaylogo": False,
        "scrollZoom": lasso,
        "modeBarButtons": [*buttons, ["toImage"]],
        "toImageButtonOptions": {"filename": name, "format": "png", "scale": 2},
    }
    options: dict[str, Any] = {"config": config, "key": key, "alt": title}
    if lasso:
        return st.plotly_chart(figure, on_select="rerun", selection_mode=("points", "box", "lasso"), **options)
    if clickable:
        return st.plotly_chart(figure, on_select="rerun", selection_mode="points", **options)
    st.plotly_chart(figure, **options)
    return None


def diagnosis_filter(label: str, key: str, on_change: Callable[[], None] | None = None) -> str | None:
    """A choice among the seven diagnoses; None for all of them."""
    return st.selectbox(
        label, [None, *CODES], format_func=lambda code: "All diagnoses" if code is None else name_of(code), key=key,
        on_change=on_change, persist_state="session",
    )  # fmt: skip


def image_grid(images: Sequence[tuple[str, str | None]]) -> None:
    """Small images with a line below each.

    Args:
        images: caption, and the path of an image or None.
    """
    with st.grid(6, min_column_width=120) as grid:
        for caption, path in images:
            with grid.cell():
                picture(path, caption)


def picture(path: str | None, caption: str | None = None) -> None:
    """One small image, or a line that says it cannot be shown."""
    small = loaders.thumbnail(path) if path else None
    if small is None:
        st.caption(f"{caption or ''} (the image is not there any more)")
    else:
        st.image(small, caption=caption, width="stretch", alt=caption or "Dermatoscopic image")


def dataset_of(run: Run, gone: str | None = None, part: str = "") -> Dataset | None:
    """The data set of a run, or of an external evaluation; without it the cards of a page go without pictures.

    Args:
        run: whose images they are.
        part: `EXTERNAL` with the name of an evaluation; anything else for the run's own images.
        gone: what is said when the folder is not there any more; nothing by default.
    """
    try:
        found = loaders.dataset_of_part(run, part)
    except DermLensError as error:
        st.warning(str(error), icon=":material/folder_off:")
        return None
    if found is None and gone:
        st.warning(gone, icon=":material/folder_off:")
    return found


def leakage(table: pd.DataFrame) -> None:
    """What a split by image would have leaked, as `findings.leakage_table` gives it."""
    number = st.column_config.NumberColumn(format="localized")
    share = st.column_config.ProgressColumn(format="%.1f %%", min_value=0, max_value=100)
    st.dataframe(table, hide_index=True, column_config={"Images": number, "Would have leaked": share})


def open_gallery(part: str = "", truth: str | None = None, said: str | None = None, **more: str) -> None:
    """Go to the gallery, filtered; the address holds the filters. Leaves the present page.

    Args:
        part: of the split, or `EXTERNAL` with the name of an evaluation; empty for the page's own choice.
        truth, said: codes of the true and of the predicted diagnosis; None for all.
        more: other filters of the page, as they stand in the address.
    """
    filters = {name: name_of(code) for name, code in (("truth", truth), ("said", said)) if code}
    if part:
        filters |= {"part": part_label(part)}
    if truth and said:
        filters |= {"answers": "All"}
    leave_for("views/gallery.py", filters | more)


def part_label(part: str) -> str:
    """A part of the split, or an external evaluation, as filters and addresses call it."""
    return part if evaluation_of(part) else PARTS.get(part, "All")


def show_pick(pick: Picked, part: str = ALL_PARTS) -> None:
    """Go to the gallery of picked images, all of them: the external evaluation that `part` names, or the run's own.

    Leaves the present page.
    """
    external = {"part": part} if evaluation_of(part) else {}
    leave_for("views/gallery.py", {"picked": pick.token} | external)


def leave_for(page: str, address: dict[str, str]) -> None:
    """Leave the present page, with another address."""
    context = get_script_run_ctx()
    if context is not None:  # Streamlit 1.67 does not leave a page while widgets are bound to its address
        with context.session_state.query_params() as bound:
            for name in st.query_params:
                binding = bound.get_binding_for_param(name)
                if binding is not None:
                    bound.unbind_widget(binding.widget_id)
    st.switch_page(page, query_params=address)


def open_explanation(image_id: str, part: str = "") -> None:
    """Go to the heatmaps of an image of the run's data set, or of an external evaluation. Leaves the present page."""
    external = part if evaluation_of(part) else ""
    st.session_state.update(explain_image=image_id, explain_origin=FROM_DATASET, explain_of=external, explain_code="")
    leave_for("views/explain.py", {})


# ---- the form of a training --------------------------------------------------------------------

OPEN_GROUPS = ("Data", "Network")
DATASETS = {"ham10000": "A folder in HAM10000's form", "synthetic": "Drawn, synthetic images"}
LABELS = {
    "dataset": "Images",
    "data_dir": "Folder",
    "extra_data": "Extra folders",
    "whole_epochs": "First epochs of the whole network",
    "whole_learning_rate": "Learning rate in them",
    "adapt_norm": "Statistics moved to these images",
    "patient": "Age, sex and site",
    "cache_gb": "Disk for trunk outputs, GB",
    "reduce_lr_patience": "Patience before the rate is cut",
    "reduce_lr_factor": "Factor of that cut",
}


def settings_form(start: TrainConfig, prefix: str) -> dict[str, Any]:
    """One field for each setting of a training, in its group; returns what was entered.

    Args:
        start: what the fields hold at first.
        prefix: of the fields' keys; another prefix, another form.
    """
    hints = get_type_hints(TrainConfig)
    groups: dict[str, list[dataclasses.Field]] = {}
    for setting in dataclasses.fields(TrainConfig):
        groups.setdefault(setting.metadata["group"], []).append(setting)
    values: dict[str, Any] = {}
    for group, settings in groups.items():
        with st.expander(group, expanded=group in OPEN_GROUPS), st.grid(3, min_column_width=240) as grid:
            for setting in settings:
                with grid.cell():
                    present, kind = getattr(start, setting.name), plain_type(hints[setting.name])
                    values[setting.name] = _field(setting, kind, present, prefix, values)
    return values


def _field(setting: dataclasses.Field, kind: type, present: Any, prefix: str, earlier: dict[str, Any]) -> Any:
    """The widget that fits a setting's type and bounds."""
    label = LABELS.get(setting.name, setting.name.replace("_", " ").capitalize())
    bounds = setting.metadata
    options: dict[str, Any] = {
        "help": bounds["reason"],
        "key": f"{prefix}_{setting.name}",
        "persist_state": "session",
    }
    # where the network can be cut depends on the network
    choices = BACKBONE_CUTS[earlier["backbone"]] if setting.name == "train_from" else bounds.get("choices", ())
    if choices:
        index = choices.index(present) if present in choices else 0
        return st.selectbox(label, choices, index, lambda name: str(DATASETS.get(name, name)), **options)
    if kind is bool:
        return st.toggle(label, value=present, **options)
    if kind is int:
        return st.number_input(label, bounds["low"], bounds["high"], present, step=1, **options)
    if kind is float:
        step = 1.0 if bounds["high"] > 1 else present / 10 or 0.05
        return st.number_input(label, bounds["low"], bounds["high"], present, step=step, format="%g", **options)
    drawn = setting.name == "data_dir" and earlier["dataset"] == "synthetic"  # drawn images have their own place
    text = st.text_input(label, present or "", disabled=drawn, **options).strip()
    return None if drawn else text or None
