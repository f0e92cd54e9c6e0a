"""What a run learned from: how many images of what, of whom, and how they were split."""

import numpy as np
import pandas as pd
import streamlit as st

from core.data.ham10000 import Dataset
from core.diagnoses import BY_CODE, CODES
from core.errors import DatasetError
from core.runs.run import Run
from dashboard import charts, findings, loaders, picked, selection, widgets
from dashboard.widgets import PARTS, percent

DIAGNOSES, PATIENTS, LESIONS, SAMPLES = "Diagnoses", "Patients", "Lesions", "Images"
MAP, LEAKAGE = "Map", "Leakage and gaps"
INKS = {"dx": "Diagnosis", "predicted": "Answer", "right": "Right or wrong", "split": "Part of the split"}
SECTION = "dataset_section"
PATIENT_VIEWS = {"age": "Age", "sex": "Sex", "localization": "Body site", "dx_type": "How it was confirmed"}


def body(run: Run) -> None:
    """One section at a time: only what is shown is computed."""
    splits = loaders.splits(run)
    dataset = find(run)
    if dataset is None and splits.empty:
        widgets.not_yet(run, "data set")
        return
    facts(splits if dataset is None else dataset.images, splits)
    section = st.segmented_control(
        "Section", [DIAGNOSES, PATIENTS, LESIONS, SAMPLES, MAP, LEAKAGE], default=DIAGNOSES, required=True, key=SECTION,
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    images = splits if dataset is None else dataset.images
    if section == DIAGNOSES:
        diagnoses(run, images, splits)
    elif section == LESIONS:
        lesions(images)
    elif section == MAP:
        image_map(run, splits)
    elif section == LEAKAGE:
        leakage(run, dataset)
    elif dataset is None:
        st.info("This needs the folder of the images, which is not there any more.", icon=":material/folder_off:")
    elif section == PATIENTS:
        patients(run, dataset.images)
    else:
        samples(dataset)


def find(run: Run) -> Dataset | None:
    """The data set, or a sentence on why it is not there."""
    folder = loaders.manifest(run).get("data", {}).get("folder")
    try:
        dataset = loaders.dataset_of(run)
    except DatasetError as error:
        st.warning(str(error), icon=":material/folder_off:")
        return None
    if dataset is None and folder:
        st.warning(
            f"The folder {folder} is not there any more: ages, sites and images cannot be shown. What the run kept "
            "of the data set is below.",
            icon=":material/folder_off:",
        )
    return dataset


def facts(images: pd.DataFrame, splits: pd.DataFrame) -> None:
    """The size of it in one line."""
    parts = splits["split"].value_counts()
    words = ", ".join(f"{parts[part]:,} {name.lower()}" for part, name in PARTS.items() if part in parts)
    lesion_count = images["lesion_id"].nunique()
    st.markdown(f"**{len(images):,} images** of **{lesion_count:,} lesions**" + (f": {words}." if words else "."))


def diagnoses(run: Run, images: pd.DataFrame, splits: pd.DataFrame) -> None:
    """How many images of each diagnosis, and where they went."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Images of each diagnosis")
        log = st.toggle("Logarithmic axis: shows the rare ones", key="dataset_log", persist_state="session")
        figure = charts.class_bars(images["dx"], log)
        event = widgets.chart(figure, "dataset_classes", "Images of each diagnosis", clickable=True)
        st.caption("Click a bar to see images of that diagnosis.")
    with right:
        st.subheader("Where they went")
        if splits.empty:
            st.caption("The split is not made yet.")
        else:
            widgets.chart(charts.split_bars(splits), "dataset_splits", "Parts of the split for each diagnosis")
            st.caption("All images of a lesion are in one part.")
    chosen = selection.customdata_of(event)
    if chosen and loaders.has(run, "predictions"):
        widgets.open_gallery("all", chosen[0], answers="All")
    elif chosen:
        st.session_state["dataset_jump"] = chosen[0]
        st.rerun()


def patients(run: Run, images: pd.DataFrame) -> None:
    """Age, sex, site and confirmation, each by diagnosis."""
    view = st.pills(
        "By", list(PATIENT_VIEWS), format_func=lambda name: PATIENT_VIEWS[name], default="age", required=True,
        key="dataset_patients", persist_state="session",
    )  # fmt: skip
    if view == "age":
        missing = int(images["age"].isna().sum())
        widgets.chart(charts.age_boxes(images), "dataset_age", "Ages of each diagnosis")
        st.caption(f"Box: the middle half; line: the median; whiskers: extremes. {missing:,} without an age.")
    else:
        share = st.toggle("Shares instead of numbers", key="dataset_share", persist_state="session")
        figure = charts.stacked_bars(images, view, share)
        answered = loaders.has(run, "predictions")
        event = widgets.chart(figure, f"dataset_{view}", f"{PATIENT_VIEWS[view]} by diagnosis", clickable=answered)
        clicked = selection.customdata_of(event)
        if clicked and clicked[1] != "unknown":
            widgets.open_gallery("all", clicked[2], answers="All", **{str(view): clicked[1]})


def lesions(images: pd.DataFrame) -> None:
    """Why the split goes by lesion."""
    several = images.duplicated("lesion_id", keep=False)
    st.subheader("Images of one lesion")
    st.markdown(
        f"**{several.sum():,} images** ({percent(several.mean(), 0)}) show a lesion that other images show as well. "
        "They look nearly alike, and so a lesion is never on both sides of the split."
    )
    widgets.chart(charts.lesion_bars(images), "dataset_lesions", "Lesions by their number of images")


def samples(dataset: Dataset) -> None:
    """Six images of each diagnosis, others at each press of the button."""
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        chosen = widgets.diagnosis_filter("Diagnosis", "dataset_samples")
    with right:
        if st.button("Other images", icon=":material/shuffle:", key="dataset_shuffle"):
            st.session_state["dataset_seed"] = st.session_state.get("dataset_seed", 0) + 1
    rng = np.random.default_rng(st.session_state.get("dataset_seed", 0))
    for code in (chosen,) if chosen else CODES:
        rows = dataset.images[dataset.images["dx"] == code]
        if rows.empty:
            continue
        drawn = rows.iloc[rng.permutation(len(rows))[: 24 if chosen else 6]]
        st.markdown(f"**{BY_CODE[code].name}**  \n:small[{BY_CODE[code].sentence}]")
        widgets.image_grid(list(zip(drawn["image_id"], drawn["path"], strict=True)))


def image_map(run: Run, splits: pd.DataFrame) -> None:
    """Every image beside those that the network sees as alike; what is circled opens in the gallery."""
    places, predictions = loaders.image_map(run), loaders.predictions(run)
    if places.empty or predictions.empty:
        st.info("This run has no map yet. This makes it:", icon=":material/hourglass_empty:")
        st.code(f"python -m core.evaluation --run {run.id}", language="bash")
        return
    ink = st.segmented_control(
        "Colours show", list(INKS), format_func=INKS.__getitem__, default="dx", required=True, key="dataset_ink",
        persist_state="session",
    ) or "dx"  # fmt: skip
    table = places.merge(predictions[["image_id", "split", "dx", "predicted"]], on="image_id")
    alt = f"Map of {len(table):,} images, coloured by {INKS[ink].lower()}"
    event = widgets.chart(charts.image_map(table, ink), f"dataset_map_{ink}", alt, lasso=True)
    st.caption(
        "Images that the network sees as alike lie close together (t-SNE of its features); how far apart groups lie "
        "means nothing. Circle some to see them in the gallery; the wheel zooms, a click on the legend hides."
    )
    names = [data[0] for data in selection.all_customdata_of(event)]
    if names:
        widgets.show_pick(picked.keep("Circled on the map of the images", names), part="All", answers="All")


def leakage(run: Run, dataset: Dataset | None) -> None:
    """What a careless split would have leaked, and what was left out."""
    manifest = loaders.manifest(run)
    rows = manifest.get("split", {}).get("leakage", [])
    st.subheader("What a split by image would have leaked")
    total = next((row for row in rows if row.get("code") == "all"), None)
    if total:
        st.markdown(
            f"Split by image instead of by lesion, **{percent(total['leaked'])}** of the held-out images would have "
            "had another image of the same lesion in training. The figures would have looked better, and would not "
            "have held for new patients. **This run splits by lesion: nothing leaks.**"
        )
        widgets.leakage(findings.leakage_table(rows))
    else:
        st.caption("This run has no leakage report yet.")
    left_out(manifest.get("data", {}).get("left_out") or (dataset.left_out if dataset else {}))


def left_out(faults: dict[str, list[str]]) -> None:
    """Images that could not be used, by reason."""
    st.subheader("Images that were left out")
    if not faults:
        st.caption("None: every row names one readable image, its diagnosis and its lesion.")
    for what, names in faults.items():
        st.markdown(f"**{len(names):,}** {what}: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}")


jump = st.session_state.pop("dataset_jump", None)
if jump:
    st.session_state["dataset_samples"], st.session_state[SECTION] = jump, SAMPLES
widgets.page("Data set", "What the run learned from: how many images, of what, of whom, and how they were split.", body)
