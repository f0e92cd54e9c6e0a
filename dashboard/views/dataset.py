"""What a run learned from: how many images of what, of whom, and how they were split."""

import pandas as pd
import streamlit as st

from core.data.dataset import Dataset
from core.errors import DatasetError
from core.runs.run import Run
from dashboard import charts, findings, loaders, selection, widgets
from dashboard.image_sections import image_map, means, samples
from dashboard.widgets import PARTS, percent

DIAGNOSES, PATIENTS, LESIONS, SAMPLES = "Diagnoses", "Patients", "Lesions", "Images"
MAP, LEAKAGE = "Map", "Leakage and gaps"
SECTION = "dataset_section"
PATIENT_VIEWS = {"age": "Age", "sex": "Sex", "localization": "Body site", "dx_type": "How it was confirmed"}


def body(run: Run) -> None:
    """One section at a time: only what is shown is computed."""
    splits = loaders.splits(run)
    dataset = find(run)
    if dataset is None and splits.empty:
        widgets.not_yet(run, "data set")
        return
    images = learned_from(dataset, splits)
    facts(images, splits)
    section = st.segmented_control(
        "Section", [DIAGNOSES, PATIENTS, LESIONS, SAMPLES, MAP, LEAKAGE], default=DIAGNOSES, required=True, key=SECTION,
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if section == DIAGNOSES:
        diagnoses(run, images, splits)
    elif section == LESIONS:
        lesions(images)
    elif section == MAP:
        image_map(run, splits)
    elif section == LEAKAGE:
        leakage(run, dataset)
    elif section == SAMPLES and loaders.has(run, "mean_images"):
        means(run, images)
        if dataset is not None:
            samples(dataset)
    elif dataset is None:
        st.info("This needs the folder of the images, which is not there any more.", icon=":material/folder_off:")
    elif section == PATIENTS:
        patients(run, images)
    else:
        samples(dataset)


def learned_from(dataset: Dataset | None, splits: pd.DataFrame) -> pd.DataFrame:
    """The images of a run's split, with what the folder says of people; of a run that has none yet, the folder's."""
    if dataset is None or splits.empty:
        return splits if dataset is None else dataset.images
    return splits.merge(dataset.images.drop(columns=["lesion_id", "dx"]), on="image_id", how="left")


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
        log = st.toggle("Logarithmic axis: shows the rare ones", True, key="dataset_log", persist_state="session")
        figure = charts.class_bars(images["dx"], log)
        event = widgets.chart(figure, "dataset_classes", "Images of each diagnosis", clickable=True)
        st.caption("Click a bar to see images of that diagnosis.")
    with right:
        if splits.empty:
            st.caption("The split is not made yet.")
        else:
            widgets.chart(charts.split_bars(splits), "dataset_splits", "Where the images of each diagnosis went")
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
    st.markdown(
        f"**{several.sum():,} images** ({percent(several.mean(), 0)}) show a lesion that other images show as well. "
        "They look nearly alike, and so a lesion is never on both sides of the split."
    )
    widgets.chart(charts.lesion_bars(images), "dataset_lesions", "Lesions by their number of images")


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
            "have held for new lesions. **This run splits by lesion: none stands in two parts.** Images under two "
            "lesions' names that look alike: see the page Audit."
        )
        widgets.leakage(findings.leakage_table(rows))
    else:
        st.caption("This run has no leakage report yet.")
    data = manifest.get("data", {})
    if data.get("extra_folders"):
        st.caption(
            f"Added from further folders: {data['extra_images']:,} images; {data.get('extra_near_duplicates', 0):,} of "
            "them have the lesion of a near-duplicate in an earlier folder."
        )
    left_out(data.get("left_out") or (dataset.left_out if dataset else {}))
    st.page_link(
        "views/audit.py", label="Near-duplicates, suspicious labels and poor images, each to keep or to exclude",
        icon=":material/fact_check:",
    )  # fmt: skip


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
