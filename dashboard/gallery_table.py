"""What the gallery shows of a run: its answers with everything that filters ask, cached."""

import io
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.data.images import as_jpeg, at_most, read_image
from core.diagnoses import notices
from core.errors import DermLensError
from core.runs import run as contract
from core.runs.run import Run
from core.similar import directions, most_alike
from dashboard import findings, loaders, models, selection
from dashboard.selection import evaluation_of

DETAILS = ("age", "sex", "localization", "dx_type")
EXPORTED_SIDE = 600  # pixels of a picture's longer side
MOST_EXPORTED = 200  # pictures in one zip: at 25 a second some ten seconds


def answers(run: Run, part: str = "") -> pd.DataFrame:
    """See `selection.answer_table`; with wrong_runs and runs, see `selection.wrong_runs`. Empty before predictions.

    Args:
        run: whose answers they are.
        part: `EXTERNAL` with the name of an evaluation; anything else for the run's own images.
    """
    name, listed = evaluation_of(part), loaders.dataset_change(run, part)
    if name:  # what other runs said of its images is not asked
        stamp = loaders.last_change(run.folder / contract.EVALUATIONS / name / contract.METRICS)
        return _external_answers(str(run.folder), part, stamp, listed)
    files = (contract.PREDICTIONS, contract.SPLITS, contract.IMAGES)
    stamps = tuple(loaders.last_change(run.folder / name) for name in files)
    others = tuple(str(other.folder) for other in comparable(run))
    return _answers(str(run.folder), stamps, listed, others)


def comparable(run: Run) -> list[Run]:
    """The finished runs that were tested on the same images as this one, itself among them."""
    images = _tested(run)
    others = [card.run for card in loaders.run_cards() if card.finished and card.run.id != run.id]
    return [run, *(other for other in others if images and _tested(other) == images)]


def _tested(run: Run) -> frozenset[str]:
    """The test images: what is excluded from training leaves them as they are."""
    return _test_images(str(run.folder), loaders.last_change(run.folder / contract.SPLITS))


@st.cache_resource(max_entries=64, show_spinner=False)
def _test_images(folder: str, stamp: int) -> frozenset[str]:
    splits = loaders.splits(Run(folder))
    return frozenset() if splits.empty else frozenset(splits.loc[splits["split"] == "test", "image_id"])


@st.cache_resource(max_entries=4, show_spinner=False)
def _answers(folder: str, stamps: tuple[int, ...], listed: int, others: tuple[str, ...]) -> pd.DataFrame:
    run = Run(folder)
    table = _with_patients(run, "", loaders.predictions(run), loaders.splits(run), loaders.images(run))
    counts = selection.wrong_runs({name: loaders.predictions(Run(name)) for name in others})
    return table.merge(counts, on="image_id", how="left")


@st.cache_resource(max_entries=2, show_spinner=False)
def _external_answers(folder: str, part: str, stamp: int, listed: int) -> pd.DataFrame:
    run, name = Run(folder), evaluation_of(part)
    predictions = loaders.external_predictions(run, name)
    table = _with_patients(run, part, predictions, predictions, loaders.external_images(run, name))
    return table.assign(wrong_runs=np.nan, runs=np.nan)


def _with_patients(
    run: Run, part: str, predictions: pd.DataFrame, images: pd.DataFrame, judged: pd.DataFrame
) -> pd.DataFrame:
    """Answers with what is known of patients and images, as far as the folder of the images is there."""
    images = images.reindex(columns=["image_id", "lesion_id"])
    try:
        dataset = loaders.dataset_of_part(run, part)
    except DermLensError:
        dataset = None
    if dataset is not None:
        of_folder = dataset.images[["image_id", "lesion_id", *DETAILS]].rename(columns={"lesion_id": "in_folder"})
        images = images.merge(of_folder, on="image_id", how="left")
        own = images["lesion_id"].astype(object)  # the run's, if it knows one
        images["lesion_id"] = own.fillna(images.pop("in_folder"))
    if not judged.empty:
        images = images.merge(judged[["image_id", "ita"]], on="image_id", how="left")
    return selection.answer_table(predictions, images)


def nearest(run: Run, image_id: str) -> pd.DataFrame:
    """The training images of other lesions that the network sees as most alike.

    Returns:
        image_id, dx, similarity (cosine of the network's features); the most similar first. Empty where the run keeps
        no features.
    """
    splits = loaders.splits(run)
    here = np.flatnonzero(splits["image_id"] == image_id)
    features = _features(str(run.folder), loaders.last_change(run.folder / contract.FEATURES))
    if not len(features) or not len(here):
        return pd.DataFrame(columns=["image_id", "dx", "similarity"])
    return most_alike(features, features[here[0]], splits, splits["lesion_id"].iloc[here[0]])


@st.cache_resource(max_entries=2, show_spinner=False)
def _features(folder: str, stamp: int) -> np.ndarray:
    return directions(Run(folder))


def as_zip(run: Run, rows: pd.DataFrame, paths: dict[str, str]) -> bytes:
    """A zip of the first `MOST_EXPORTED` images, each with the heatmap of its answer over it, and the table of all.

    Args:
        run: that answered.
        rows: of `answers`.
        paths: image_id -> where the image lies; those that cannot be read are left out.
    """
    answered: list[Any] = list(rows.head(MOST_EXPORTED).itertuples())
    shown = [row for row in answered if loaders.thumbnail(paths.get(row.image_id, "")) is not None]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("answers.csv", findings.as_csv(rows, run.synthetic))
        notice = "\n".join(notices(run.synthetic))
        archive.writestr(
            "README.txt",
            f"{notice}\n\nAnswers of the run {run.id}. answers.csv holds all {len(rows):,} of them; of the first "
            f"{len(shown):,} there is the image, and the image with the heatmap of the answer over it.\n",
        )
        overlays = models.overlays(run, [(paths[row.image_id], row.predicted) for row in shown], EXPORTED_SIDE)
        for row, overlay in zip(shown, overlays, strict=True):
            image = as_jpeg(at_most(read_image(paths[row.image_id]), EXPORTED_SIDE))
            archive.writestr(f"{row.image_id}.jpg", image)
            archive.writestr(f"{row.image_id}-{row.predicted}-research-only.jpg", overlay)
    return stream.getvalue()
