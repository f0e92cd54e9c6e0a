"""The networks of runs and what they say of images, cached: the newest two are held ready.

As in `dashboard.loaders`, each cached function is keyed on paths and the time of their last change.
"""

import contextlib
import dataclasses
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import script_runner

from core.data.images import as_jpeg, at_most, model_input, read_image
from core.diagnoses import CODES
from core.errors import DermLensError
from core.runs import run as contract
from core.runs.run import Run
from dashboard import imports
from dashboard.loaders import THUMBNAIL_SIDE, dataset_of, dataset_of_part, evaluations, last_change
from dashboard.selection import EXTERNAL

# After every page Streamlit calls keras.backend.clear_session(): it takes 0.35 s, and it takes away the state of a
# model that the background thread is loading at that moment. This project's models need no clearing.
script_runner._clean_problem_modules = lambda: None

if TYPE_CHECKING:  # what needs SciPy or TensorFlow is loaded when it is asked for: the first page waits for neither
    from core.evaluation.patient import Patient
    from core.explain.faithfulness import Curves
    from core.predictor import Prediction, Predictor

DISPLAY_SIDE = 1000  # pixels: more than any column is wide
WARM_UP_DELAY = 4.0  # seconds: the first page is drawn before TensorFlow takes the processor


def predictor(run: Run) -> "Predictor":
    """The run, ready to answer. Waits for the warm-up where that is under way.

    Raises:
        RunError: the run is not finished, or its model cannot be read.
    """
    return _predictor(str(run.folder), _model_stamp(run))


@st.cache_resource(max_entries=2, show_spinner=False)
def _predictor(folder: str, stamp: int) -> "Predictor":
    imports.load_all()
    from core.predictor import Predictor

    ready = Predictor(Run(folder))
    ready.predict(np.zeros((ready.size, ready.size, 3), np.uint8))  # compiles the pass
    gc.collect()
    gc.freeze()  # TensorFlow's objects stay: Streamlit's collection after every page would visit them all, 0.3 s
    return ready


def _model_stamp(run: Run) -> int:
    """When the run's answers last changed: another model, or probabilities fitted again."""
    return max(last_change(run.folder / contract.MODEL), last_change(run.folder / contract.CALIBRATION))


def warm_up(run: Run) -> None:
    """List the run's images and load its model in the background: no page need wait for TensorFlow."""
    if (run.folder / contract.CALIBRATION).is_file():
        _warm_up(str(run.folder), _model_stamp(run))


@st.cache_resource(max_entries=16, show_spinner=False)
def _warm_up(folder: str, stamp: int) -> threading.Timer:
    def load() -> None:
        jobs: tuple[Callable[[], object], ...] = (lambda: dataset_of(Run(folder)), lambda: _predictor(folder, stamp))
        for prepare in jobs:
            with contextlib.suppress(DermLensError):  # the page that needs it meets the same error and says it
                prepare()

    timer = threading.Timer(WARM_UP_DELAY, load)
    timer.start()
    return timer


def answer(run: Run, source: str | bytes) -> "Prediction":
    """What a run says of one image; its picture is shrunk to what a page can show.

    Args:
        run: a finished run.
        source: the path of an image, or the bytes of a file.

    Raises:
        ImageError: it cannot be read as an image.
        RunError: the run cannot answer.
    """
    return _answer(*_asked_of(run, source), _patient_in(run, source))


@st.cache_resource(max_entries=8, show_spinner=False)
def _answer(folder: str, model_stamp: int, source: str | bytes, stamp: int, patient: "Patient | None") -> "Prediction":
    prediction = _predictor(folder, model_stamp).predict(source, patient)
    return dataclasses.replace(prediction, image=at_most(prediction.image, DISPLAY_SIDE))


def _patient_in(run: Run, source: str | bytes) -> "Patient | None":
    """What is recorded of the person in an image of the run's data set, or of one that it was evaluated on."""
    if isinstance(source, bytes) or not (run.folder / contract.PATIENT).is_file():
        return None
    from core.evaluation.patient import patients_of

    for part in ("", *(f"{EXTERNAL}{name}" for name in evaluations(run))):
        with contextlib.suppress(DermLensError):
            dataset = dataset_of_part(run, part)
            if dataset and len(rows := dataset.images[dataset.images["path"] == source]):
                return patients_of(rows)[0]
    return None


def overlays(run: Run, asked: list[tuple[str, str]], side: int = THUMBNAIL_SIDE) -> list[bytes]:
    """JPEGs of heatmaps over their images, all from one pass.

    Args:
        run: a finished run.
        asked: path and code of the explained diagnosis of each picture.
        side: pixels of the longer side, at most.
    """
    stamps = tuple(last_change(Path(path)) for path, _ in asked)
    return _overlays(str(run.folder), _model_stamp(run), tuple(asked), stamps, side)


@st.cache_data(max_entries=60, show_spinner=False)
def _overlays(
    folder: str, model_stamp: int, asked: tuple[tuple[str, str], ...], stamps: tuple[int, ...], side: int
) -> list[bytes]:
    paths = list(dict.fromkeys(path for path, _ in asked))
    answers = _predictor(folder, model_stamp).predict_each(paths)  # 200 photographs at once would take gigabytes
    small = {
        path: dataclasses.replace(answer, image=at_most(answer.image, side))
        for path, answer in zip(paths, answers, strict=True)
    }
    return [as_jpeg(small[path].overlay(code)) for path, code in asked]


def explanation(run: Run, source: str | bytes, method: str, code: str, layer: str) -> np.ndarray:
    """A heatmap of any kind, see `core.explain.explainer.Explainer.heatmap`.

    Args:
        run: a finished run.
        source: the path of an image, or the bytes of a file.
        method: its name.
        code: of the diagnosis that is explained.
        layer: the cut point; empty for the method's own.
    """
    return _explanation(*_asked_of(run, source), method, code, layer)


@st.cache_resource(max_entries=64, show_spinner=False)
def _explanation(
    folder: str, model_stamp: int, source: str | bytes, stamp: int, method: str, code: str, layer: str
) -> np.ndarray:
    ready = _predictor(folder, model_stamp)
    pixels = model_input(read_image(source), ready.size)
    return ready.explainer.heatmap(pixels, method, CODES.index(code), layer or None)


def curves(run: Run, source: str | bytes, code: str, asked: list[tuple[str, str]]) -> "Curves":
    """Deletion and insertion of heatmaps of one image, and of a random map and a centred Gaussian.

    Args:
        run: a finished run.
        source: the path of an image, or the bytes of a file.
        code: of the diagnosis that is explained and followed.
        asked: method and cut point of each heatmap, as of `explanation`.
    """
    return _curves(*_asked_of(run, source), code, tuple(asked))


@st.cache_resource(max_entries=16, show_spinner=False)
def _curves(
    folder: str, model_stamp: int, source: str | bytes, stamp: int, code: str, asked: tuple[tuple[str, str], ...]
) -> "Curves":
    imports.load_all()
    from core.explain.faithfulness import centred_gaussian, random_map

    ready = _predictor(folder, model_stamp)
    pixels = model_input(read_image(source), ready.size)
    maps = {name: _explanation(folder, model_stamp, source, stamp, name, code, layer) for name, layer in asked}
    maps |= {"random": random_map(np.random.default_rng(0)), "gaussian": centred_gaussian(ready.size)}
    return ready.explainer.faithfulness(pixels, maps, CODES.index(code))


def _asked_of(run: Run, source: str | bytes) -> tuple[str, int, str | bytes, int]:
    """What an answer to an image depends on: the run's folder and when it last changed, the image and when it did."""
    return str(run.folder), _model_stamp(run), source, 0 if isinstance(source, bytes) else last_change(Path(source))
