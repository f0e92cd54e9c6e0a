"""What the gallery shows of a run: its answers with everything that filters ask, cached."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.data.images import at_most, read_image
from core.diagnoses import RESEARCH_NOTICE, SYNTHETIC_NOTICE
from core.errors import DermLensError
from core.runs import run as contract
from core.runs.run import Run
from dashboard import findings, loaders, selection

DETAILS = ("age", "sex", "localization", "dx_type")
EXPORTED_SIDE = 600  # pixels of a picture's longer side
MOST_EXPORTED = 200  # pictures in one zip: at 25 a second some ten seconds


def answers(run: Run) -> pd.DataFrame:
    """See `selection.answer_table`; with wrong_runs and runs, see `selection.wrong_runs`. Empty before predictions."""
    files = (contract.PREDICTIONS, contract.SPLITS, contract.IMAGES)
    stamps = tuple(loaders.last_change(run.folder / name) for name in files)
    others = tuple(str(other.folder) for other in comparable(run))
    return _answers(str(run.folder), stamps, others)


def comparable(run: Run) -> list[Run]:
    """The finished runs that were tested on the same images as this one, itself among them."""
    split = loaders.manifest(run).get("split", {}).get("fingerprint")
    found = [run]
    for card in loaders.run_cards():
        if card.finished and card.run.id != run.id:
            manifest = loaders.manifest(card.run)
            if split and manifest.get("split", {}).get("fingerprint") == split:
                found.append(card.run)
    return found


@st.cache_resource(max_entries=4, show_spinner=False)
def _answers(folder: str, stamps: tuple[int, ...], others: tuple[str, ...]) -> pd.DataFrame:
    run = Run(folder)
    images = loaders.splits(run)[["image_id", "lesion_id"]]
    try:
        dataset = loaders.dataset_of(run)
    except DermLensError:
        dataset = None
    if dataset is not None:
        images = images.merge(dataset.images[["image_id", *DETAILS]], on="image_id", how="left")
    judged = loaders.images(run)
    if not judged.empty:
        images = images.merge(judged[["image_id", "ita"]], on="image_id", how="left")
    table = selection.answer_table(loaders.predictions(run), images)
    counts = selection.wrong_runs({name: loaders.predictions(Run(name)) for name in others})
    return table.merge(counts, on="image_id", how="left")


def nearest(run: Run, image_id: str, count: int = 6) -> pd.DataFrame:
    """The training images of other lesions that the network sees as most alike.

    Returns:
        image_id, dx, similarity (cosine of the network's features); the most similar first. Empty where the run keeps
        no features.
    """
    path = run.folder / contract.FEATURES
    splits = loaders.splits(run)
    here = np.flatnonzero(splits["image_id"] == image_id)
    if not path.is_file() or not len(here):
        return pd.DataFrame(columns=["image_id", "dx", "similarity"])
    features = _features(str(path), loaders.last_change(path))
    asked = here[0]
    others = (splits["split"] == "train") & (splits["lesion_id"] != splits["lesion_id"].iloc[asked])
    cosines = np.where(others, features @ features[asked], -np.inf)
    order = np.argsort(-cosines, kind="stable")[:count]
    order = order[np.isfinite(cosines[order])]
    return splits.iloc[order][["image_id", "dx"]].assign(similarity=cosines[order]).reset_index(drop=True)


@st.cache_resource(max_entries=2, show_spinner=False)
def _features(path: str, stamp: int) -> np.ndarray:
    """(n, k) float32 of length 1, in the order of splits.csv."""
    features = np.load(Path(path)).astype(np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)


def as_zip(run: Run, rows: pd.DataFrame) -> bytes:
    """A zip of the first `MOST_EXPORTED` images, each with the heatmap of its answer over it, and the table of all."""
    paths = loaders.image_paths(loaders.dataset_of(run))
    answered: list[Any] = list(rows.head(MOST_EXPORTED).itertuples())
    shown = [row for row in answered if row.image_id in paths]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("answers.csv", findings.as_csv(rows))
        notice = f"{SYNTHETIC_NOTICE}\n{RESEARCH_NOTICE}" if run.synthetic else RESEARCH_NOTICE
        archive.writestr(
            "README.txt",
            f"{notice}\n\nAnswers of the run {run.id}. answers.csv holds all {len(rows):,} of them; of the first "
            f"{len(shown):,} there is the image, and the image with the heatmap of the answer over it.\n",
        )
        overlays = loaders.overlays(run, [(paths[row.image_id], row.predicted) for row in shown], EXPORTED_SIDE)
        for row, overlay in zip(shown, overlays, strict=True):
            image = loaders.as_jpeg(at_most(read_image(paths[row.image_id]), EXPORTED_SIDE))
            archive.writestr(f"{row.image_id}.jpg", image)
            archive.writestr(f"{row.image_id}-{row.predicted}-research-only.jpg", overlay)
    return stream.getvalue()
