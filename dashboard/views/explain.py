"""One image: what the run says of it, and what each of the seven answers rests on."""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.data.images import SUFFIXES
from core.diagnoses import BY_CODE, CODES
from core.errors import DermLensError
from core.prediction import REASONS, Prediction
from core.runs.run import Run
from dashboard import charts, loaders, models, widgets
from dashboard.explain_grid import Explained, heatmap_grid
from dashboard.explain_sections import measured_figures, tested
from dashboard.selection import EXTERNAL
from dashboard.widgets import FROM_DATASET

UPLOAD = "Upload"
OF = "explain_of"  # an external evaluation whose images are looked at; empty for the run's own
IMAGE, DIAGNOSIS, INSISTED = "explain_image", "explain_code", "explain_insisted"
PICTURE: dict[str, Any] = {"width": "stretch", "output_format": "JPEG"}
LEGEND = (
    "**How to read the heatmap.** Red is what speaks most for the chosen diagnosis, blue only little; where nothing "
    "speaks for it, the image is left as it is. The colour scale is the same for all images of this run, so that two "
    "pictures can be compared: a heatmap that stays pale rests on little. Hatched grey: the model did not see it, it "
    "looks at the centre square. A heatmap shows where evidence lies, not whether it is right. Grad-CAM comes with "
    "every answer; what points better is below."
)


def body(run: Run) -> None:
    """Choose an image, then read the answer."""
    loaders.manifest(run)
    if not run.usable:
        widgets.not_yet(run, "model")
        return
    origin = st.segmented_control(
        "Image", [FROM_DATASET, UPLOAD], default=FROM_DATASET, required=True, key="explain_origin",
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    source, row = from_dataset(run) if origin == FROM_DATASET else (uploaded(), None)
    if source is not None:
        with st.spinner("Looking at the image… the first one after a start takes a few seconds."):
            prediction = models.answer(run, source)
        show(run, source, prediction, row)


def uploaded() -> bytes | None:
    """The bytes of a file, as they are: core alone decodes them."""
    file = st.file_uploader(
        "A dermatoscopic image", type=[suffix.removeprefix(".") for suffix in SUFFIXES], key="explain_upload",
        help="It stays in this computer's memory and is written nowhere.",
    )  # fmt: skip
    return file.getvalue() if file else None


def from_dataset(run: Run) -> tuple[str | None, pd.Series | None]:
    """An image by its id, or the next random one of a diagnosis."""
    evaluations = [f"{EXTERNAL}{name}" for name in loaders.evaluations(run)]
    of = ""
    if evaluations:
        of = st.selectbox("Data set", ["", *evaluations], format_func=lambda name: name or "the run's own", key=OF)
    dataset = loaders.dataset_of_part(run, of)
    if dataset is None:
        st.info("The folder of the images is not there any more. Upload one instead.", icon=":material/folder_off:")
        return None, None
    images = dataset.images
    here = str(dataset.folder)  # another choice, or another run
    if st.session_state.setdefault("explain_shown_of", here) != here or IMAGE not in st.session_state:
        if not (images["image_id"] == st.session_state.get(IMAGE)).any():  # an image of the other data set
            another(images, None)
        st.session_state["explain_shown_of"] = here
    by_id, by_code, button = st.columns([2, 2, 1], vertical_alignment="bottom")
    with by_id:
        asked = st.text_input("Image id", key=IMAGE, icon=":material/search:", persist_state="session").strip()
    with by_code:
        code = widgets.diagnosis_filter("Diagnosis", "explain_among")
    with button:
        st.button("Another", icon=":material/shuffle:", on_click=another, args=(images, code), width="stretch",
                  help="A random image of that diagnosis")  # fmt: skip
    found = images[images["image_id"].str.lower() == asked.lower()]
    if not found.empty:
        return found["path"].iloc[0], found.iloc[0]
    near(images, asked)
    return None, None


def another(images: pd.DataFrame, code: str | None) -> None:
    """Put a random image id into the field."""
    rows = images[images["dx"] == code] if code else images
    if not rows.empty:
        st.session_state[IMAGE] = str(rows["image_id"].iloc[np.random.default_rng().integers(len(rows))])


def near(images: pd.DataFrame, asked: str) -> None:
    """Ids that hold what was typed, as buttons."""
    like = images.loc[images["image_id"].str.contains(asked, case=False, regex=False), "image_id"]
    if like.empty:
        st.info(f"No image of this data set is called {asked!r}.", icon=":material/search_off:")
        return
    st.caption(f"{len(like):,} image ids hold “{asked}”" + (", the first of them:" if len(like) > 8 else ":"))
    with st.container(horizontal=True):
        for name in like.iloc[:8]:
            st.button(name, key=f"near_{name}", on_click=st.session_state.__setitem__, args=(IMAGE, name))


def show(run: Run, source: str | bytes, prediction: Prediction, row: pd.Series | None) -> None:
    """The answer and its heatmaps, unless the image is refused and nobody insists."""
    if prediction.refused and not insisted(run, source, prediction):
        return
    truth = None if row is None else row["dx"]
    answer_in_words(prediction, truth)
    code = st.pills(
        "Heatmap of", ["", *CODES], required=True, default="", key=DIAGNOSIS, persist_state="session", wrap=True,
        format_func=lambda code: charts.name_of(code) if code else "The answer",
    )  # fmt: skip
    shown = code or prediction.code
    of = st.session_state.get(OF, "")  # where the images of a part lie matters to them alone, not to an upload
    mask = None if row is None else loaders.mask_of(loaders.dataset_of_part(run, of), row["image_id"])
    with st.grid(3, min_column_width=280) as grid:
        with grid.cell():
            place_of_image = st.empty()
            outline = mask is not None and st.toggle("The lesion's outline", True, key="explain_outline")
        with grid.cell():
            place = st.empty()
            opacity = st.slider("Strength of the heatmap", 0, 100, 50, 5, format="%d %%", key="explain_opacity")
        with grid.cell():
            figure = charts.probability_bars(prediction.probabilities, truth)
            widgets.chart(figure, "explain_bars", "Confidence in each diagnosis")
    explained = Explained(run, source, prediction, shown, mask, bool(outline), opacity / 100)
    caption = f"What speaks for {charts.name_of(shown)} (Grad-CAM)"
    picture = explained.with_outline(prediction.overlay(shown, opacity / 100))
    place_of_image.image(explained.with_outline(prediction.image), caption="The image", alt="The image", **PICTURE)
    place.image(picture, caption=caption, alt=caption, **PICTURE)
    if row is not None:
        about(run, row)
    st.caption(LEGEND)
    tested(explained, heatmap_grid(explained, truth))
    measured_figures(run)


def insisted(run: Run, source: str | bytes, prediction: Prediction) -> bool:
    """Whether somebody asked to see the answer to this refused image; until then: the image, the reason, a button."""
    key = f"{run.id} {source if isinstance(source, str) else hashlib.sha256(source).hexdigest()}"
    reasons = " ".join(REASONS[code] for code in prediction.refusals)
    if st.session_state.get(INSISTED) == key:
        st.error(f"**Refused, shown anyway.** {reasons} What follows means nothing by itself.", icon=":material/block:")
        return True
    st.error(f"**The model gives no answer to this image.** {reasons}", icon=":material/block:")
    with st.grid(3, min_column_width=280) as grid, grid.cell():
        st.button("Show anyway", icon=":material/visibility:", on_click=st.session_state.__setitem__,
                  args=(INSISTED, key), help="An answer to such an image has no meaning by itself.")  # fmt: skip
        st.image(prediction.image, caption="The image", alt="The image", **PICTURE)
    return False


def answer_in_words(prediction: Prediction, truth: str | None) -> None:
    """The answer, what else is probable, what cannot be ruled out, and what is wrong with the image."""
    known = f" The truth is **{BY_CODE[truth].name}**." if truth in BY_CODE else ""
    best = prediction.probabilities[CODES.index(prediction.code)]
    said = f"The answer is **{charts.name_of(prediction.code)}**, with {charts.probability(best)} probability."
    st.markdown(said + known)
    if prediction.most_probable != prediction.code:
        st.markdown(
            f"The most probable diagnosis is **{charts.name_of(prediction.most_probable)}** "
            f"({charts.probability(prediction.probabilities.max())}), which is more common. The answer is what the "
            "image speaks for most, as if all seven were equally common."
        )
    if prediction.patient_used and prediction.image_logits is not None:
        alone = CODES[int(prediction.image_logits.argmax())]
        st.caption(
            "Age, sex and site went into this answer. The image alone speaks for "
            f"{charts.name_of(alone)}; heatmaps show what the image says."
        )
    sets = prediction.prediction_set
    if sets is not None:
        names = ", ".join(charts.name_of(code) for code in sets.codes) or "none of the seven fits"
        few = ", ".join(map(charts.name_of, sets.unpromised))
        st.caption(
            f"Cannot be ruled out: {names}. Such a list holds the truth for {sets.level:.0%} of the images of each "
            "diagnosis." + (f" Too few cases to promise it for: {few}." if few else "")
        )
    for code in prediction.quality.problems:
        if code not in prediction.refusals:
            st.warning(REASONS[code], icon=":material/broken_image:")


def about(run: Run, row: pd.Series) -> None:
    """What the data set knows of the image, and whether the model has learned from it."""
    try:
        splits = loaders.splits(run)
        part = splits.loc[splits["image_id"] == row["image_id"], "split"]
    except DermLensError:
        part = pd.Series(dtype=str)
    if not part.empty and part.iloc[0] == "train":
        st.info("The model learned from this image: its answer here says little about new ones.",
                icon=":material/school:")  # fmt: skip
    where = widgets.PARTS.get(part.iloc[0], part.iloc[0]).lower() if not part.empty else "not used"
    age = "unknown age" if pd.isna(row["age"]) else f"{row['age']:.0f} years"
    told = [age, row["sex"], row["localization"], f"confirmed by {row['dx_type']}" if row["dx_type"] else ""]
    st.caption(f"{row['image_id']} · lesion {row['lesion_id']} · {where} · " + " · ".join(filter(None, told)))


widgets.page("Explain", "One image: what the chosen run says of it, and what each answer rests on.", body)
