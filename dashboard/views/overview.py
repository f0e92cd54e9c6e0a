"""The headline of a run: how good it is, what it is, and where to go next."""

import pandas as pd
import streamlit as st

from core.config import TrainConfig
from core.errors import DermLensError
from core.runs.run import Run
from dashboard import charts, loaders, selection, widgets
from dashboard.widgets import Tile, duration, interval, percent

NEXT = (
    ("views/evaluation.py", "What is mixed up?", ":material/grid_on:"),
    ("views/gallery.py", "What went wrong?", ":material/rule:"),
    ("views/explain.py", "What does an answer rest on?", ":material/center_focus_strong:"),
    ("views/dataset.py", "What did it learn from?", ":material/photo_library:"),
    ("views/retrain.py", "Train another", ":material/model_training:"),
)


def body(run: Run) -> None:
    """Headline, sensitivities and facts of a run."""
    loaders.manifest(run)  # a run of another schema is refused before anything of it is shown
    test = loaders.metrics(run).get("test")
    if not test:
        widgets.not_yet(run, "figures")
        facts(run)
    else:
        headline(test)
        left, right = st.columns([3, 2], gap="large")
        with left:
            sensitivities(test)
        with right:
            facts(run)
    model_card(run)
    where_next()


def model_card(run: Run) -> None:
    """The run for people, to read and to take away."""
    card = loaders.model_card(run)
    if card:
        st.subheader("Model card")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("Intended use, data, every figure, failures and limits, in Hugging Face's form.")
            st.download_button("Download", card, f"{run.id}-MODEL_CARD.md", "text/markdown", icon=":material/download:")
        with st.expander("Read it here", on_change="rerun") as reading:
            if reading.open:
                st.markdown(card.split("---", 2)[-1])  # without the front matter, which is for machines


def headline(test: dict) -> None:
    """Four figures on the test split, each with what it must be read with."""
    accuracy = test.get("accuracy", {}).get("value")
    n = f"n\u00a0=\u00a0{test.get('n', 0):,}"
    widgets.metric_row(
        (
            Tile(
                "Balanced accuracy",
                percent(test.get("balanced_accuracy", {}).get("value")),
                (interval(test.get("balanced_accuracy")), n),
                "The mean share recognised of each diagnosis: rare ones count as much as nevi.",
            ),
            melanoma(test),
            Tile(
                "Macro AUC",
                percent(test.get("macro_auc", {}).get("value")),
                (interval(test.get("macro_auc")), n),
                "How well each diagnosis is ranked above the rest, averaged over the seven; 50 % is chance.",
            ),
            Tile(
                "Accuracy",
                percent(accuracy),
                ("always answering “nevus”", f"would score {percent(test.get('always_nevus_accuracy'))}"),
                "The share of right answers. Where most images are nevi, it flatters.",
            ),
            calibration(test),
        )
    )


def melanoma(test: dict) -> Tile:
    """How many melanomas are found, and at what price: at the run's threshold, else by the answers alone."""
    point = test.get("operating_points", {}).get("melanoma")
    if point:
        return Tile(
            "Melanomas found",
            percent(point["sensitivity"]["value"]),
            (interval(point["sensitivity"]), f"specificity {percent(point['specificity']['value'])}"),
            f"At the threshold that was chosen for {point['target_sensitivity']:.0%} on the calibration images. The "
            "specificity is the share of all other images that is not flagged. See Evaluation for other thresholds.",
        )
    answers = test.get("per_class", {}).get("mel", {})
    return Tile(
        "Melanomas found",
        percent(answers.get("sensitivity")),
        (f"of {answers.get('n', 0):,} melanomas", f"specificity {percent(answers.get('specificity'))}"),
        "The share of melanomas whose answer was melanoma.",
    )


def calibration(test: dict) -> Tile:
    """How far a probability means what it says."""
    error = test.get("calibration", {}).get("after", {}).get("ece") or {}
    return Tile(
        "Calibration error",
        percent(error.get("value")),
        (interval(error), f"n\u00a0=\u00a0{test.get('n', 0):,}"),
        "The mean distance between a stated probability and how often it holds (ECE); 0 is perfect.",
    )


def sensitivities(test: dict) -> None:
    """A bar for each diagnosis; a click leads to its wrong answers."""
    figure = charts.sensitivity_bars(test.get("per_class", {}))
    event = widgets.chart(figure, "overview_bars", "Share recognised of each diagnosis", clickable=True)
    st.caption("Test images. Click a bar to see the images that were taken for something else.")
    chosen = selection.customdata_of(event)
    if chosen:
        widgets.open_gallery("test", chosen[0])


def facts(run: Run) -> None:
    """What the run is, in words."""
    st.subheader("What this run is")
    manifest = loaders.manifest(run)
    data, split = manifest.get("data", {}), manifest.get("split", {})
    rows = settings(run)
    if data:
        kind = "drawn, synthetic images" if data.get("synthetic") else "photographs"
        rows["Images"] = f"{data.get('images', 0):,} {kind} of {data.get('lesions', 0):,} lesions"
        rows["Folder"] = str(data.get("folder", "–"))
    if split.get("counts"):
        rows["Split"] = ", ".join(f"{n:,} {part}" for part, n in ordered(split["counts"]).items())
    if manifest.get("seconds") is not None:
        rows["Training took"] = duration(manifest["seconds"])
    if manifest.get("git_commit"):
        rows["Code"] = f"commit {manifest['git_commit'][:10]}"
    if manifest.get("model_sha256"):
        rows["Model"] = f"SHA-256 {manifest['model_sha256'][:12]}…"
    st.table(pd.DataFrame({"": rows.keys(), "value": rows.values()}), border="horizontal", hide_index=True,
             hide_header=True)  # fmt: skip


def settings(run: Run) -> dict[str, str]:
    """What was asked for, as far as it can be read."""
    try:
        config: TrainConfig = loaders.config(run)
    except DermLensError:
        return {}
    trained = {"head": "the head alone", "all": "everything"}.get(config.train_from, f"from {config.train_from} up")
    return {"Network": config.backbone, "Trained": trained, "Seed": str(config.seed)}


def ordered(counts: dict[str, int]) -> dict[str, int]:
    """Counts of the parts, training first."""
    return {part: counts[part] for part in charts.PARTS if part in counts}


def where_next() -> None:
    """Links to the questions that come next."""
    st.subheader("Where to go next")
    with st.container(horizontal=True):
        for target, label, icon in NEXT:
            st.page_link(target, label=label, icon=icon)


widgets.page("Overview", "How good the chosen run is on images it has never seen, and what it is made of.", body)
