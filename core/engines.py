"""What multiplies where nothing is learned: OpenVINO, small and fast on a CPU, or TensorFlow, which also trains.

A server that answers with OpenVINO never loads TensorFlow, unless somebody asks for a heatmap deep in the network.
`core.models.openvino_files` writes what is read here. `--engine` chooses, for every command `DERMLENS_ENGINE`.
"""

import argparse
import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np

from core.backbones import BACKBONES
from core.errors import ConfigError, RunError
from core.explain.ensemble import Ensemble
from core.explain.explainer import IMAGE, LAST, cut_points
from core.explain.integrated import STEPS
from core.places import PROJECT
from core.runs.files import read_json
from core.runs.run import MODEL, OPENVINO, Run

if TYPE_CHECKING:
    import openvino

    from core.models.keras_network import KerasNetwork

ENGINES = ("openvino", "tensorflow")
ENVIRONMENT = "DERMLENS_ENGINE"
THREADS = "TF_NUM_INTRAOP_THREADS"  # TensorFlow's own variable, for both: a training among others has some cores
ANSWER, SLOPES, MADE_OF = "answer.xml", "slopes.xml", "made_of.json"
OPTIONS = {
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",  # or a machine with bfloat16 would answer otherwise than the training did
    "ENABLE_CPU_PINNING": "NO",  # two servers would sit on the same cores
}


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--engine`; what it is given goes to `use`."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="what computes answers and the outputs of frozen trunks: the same figures to 1e-4, at another speed "
        f"({ENVIRONMENT}; by default OpenVINO where it is installed)",
    )


def use(engine: str | None) -> None:
    """Let this process and those it starts compute with an engine; None changes nothing."""
    if engine:
        os.environ[ENVIRONMENT] = engine


def chosen_engine() -> str:
    """`DERMLENS_ENGINE`, or OpenVINO where it is installed.

    Raises:
        ConfigError: there is no such engine here.
    """
    asked, installed = os.environ.get(ENVIRONMENT), find_spec("openvino") is not None
    if asked and asked not in ENGINES:
        raise ConfigError(f"The engine is one of {', '.join(ENGINES)}. Received: {asked!r} in {ENVIRONMENT}.")
    if asked == "openvino" and not installed:
        raise ConfigError(
            "The engine must be installed. Received: 'openvino' and a Python without it. Install it: pip install -r "
            "requirements.txt; or choose --engine tensorflow."
        )
    return asked or ("openvino" if installed else "tensorflow")


def model_hash(run: Run) -> str:
    """SHA-256 of the run's model as it lies there now, of an ensemble of its members'; empty where there is none."""
    members = run.members()
    if members:
        return hashlib.sha256("".join(model_hash(member) for member in members).encode()).hexdigest()
    try:
        return hashlib.sha256((run.folder / MODEL).read_bytes()).hexdigest()
    except OSError:
        return ""


def openvino_files(run: Run) -> Path:
    """The folder of a run's network for OpenVINO; made now where it is missing or belongs to another model.

    It is made in a process of its own, which takes some seconds and then gives TensorFlow's memory back.

    Raises:
        RunError: it cannot be made.
    """
    folder = run.folder / OPENVINO
    if _made_of_this_model(run):
        return folder
    command = [sys.executable, "-m", "core.models.openvino_files", str(run.folder)]
    try:
        with filelock.FileLock(run.folder / f".{OPENVINO}.lock"):  # two servers convert once
            if _made_of_this_model(run):
                return folder
            made = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RunError(f"{OPENVINO} must be written to {run.folder}. Received: {error.strerror or error}.") from error
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise RunError(f"The network of run {run.id!r} must be converted for OpenVINO. Received: {reason}")
    return folder


def _made_of_this_model(run: Run) -> bool:
    folder = run.folder / OPENVINO
    if not (folder / ANSWER).is_file():
        return False
    return read_json(folder / MADE_OF, "Delete the folder.").get("model_sha256") == model_hash(run)


def compiled_network(network: "str | openvino.Model", threads: int = 0) -> "openvino.CompiledModel":
    """A network compiled for this processor, in float32.

    Args:
        network: an .xml file, or what was converted a moment ago.
        threads: 0 takes what TensorFlow is told to take (`THREADS`), or all cores. The numbers are the same with any.

    Raises:
        RuntimeError: OpenVINO's, where it cannot be compiled.
    """
    import openvino

    threads = threads or int(os.environ.get(THREADS) or 0)
    return openvino.Core().compile_model(network, "CPU", OPTIONS | {"INFERENCE_NUM_THREADS": threads})


class OpenVinoPass:
    """One compiled function. Safe to call from several threads: one at a time, so that memory has a bound.

    Args:
        path: of an .xml file with its .bin beside it.

    Raises:
        RunError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            compiled = compiled_network(str(path))
        except RuntimeError as error:
            raise RunError(
                f"{path.name} must be a network that OpenVINO wrote. Received: {path} ({error}). "
                f"Delete the folder {path.parent}: it is made anew."
            ) from error
        self._request = compiled.create_infer_request()
        self._one_at_a_time = threading.Lock()

    def __call__(self, *inputs: np.ndarray | np.number) -> list[np.ndarray]:
        """The outputs, in their order."""
        with self._one_at_a_time:
            return list(self._request.infer(list(inputs)).values())


def answering_ensemble(run: Run, engine: str | None = None) -> Ensemble:
    """What answers in a run whose files are written: its network, or its members', over its views.

    Args:
        run: its manifest and its model are there.
        engine: one of `ENGINES`; by default what `chosen_engine` says, and TensorFlow where a network cannot be
            converted.

    Raises:
        RunError: a model file is missing or damaged, or cannot be converted for the engine that was asked for.
    """
    networks = [_network(one, engine) for one in run.members() or [run]]
    return Ensemble(networks, int(run.manifest().get("test_views", 1)))


def _network(run: Run, engine: str | None) -> "OpenVinoNetwork | KerasNetwork":
    """One network: of the run itself, or of a member."""
    manifest = run.manifest()

    def load_keras() -> "KerasNetwork":
        from core.models.classifier import load_model
        from core.models.keras_network import KerasNetwork

        return KerasNetwork(load_model(run.folder / MODEL), manifest["gradcam_layer"])

    if (engine or chosen_engine()) == "tensorflow":
        return load_keras()
    try:
        return OpenVinoNetwork(openvino_files(run), manifest["backbone"], manifest["image_size"], load_keras)
    except (RunError, ImportError) as error:
        if engine:
            raise
        logging.getLogger(__name__).warning("Run %s answers with TensorFlow: %s", run.id, error)
        return load_keras()


class OpenVinoNetwork:
    """A run's network, run by OpenVINO; what that cannot do, Keras does. See `core.explain.explainer.Network`.

    Args:
        folder: see `openvino_files`.
        backbone: name of the network.
        size: side of its input in pixels.
        keras: loads the same network with Keras; called once, when it is first needed.
    """

    def __init__(self, folder: Path, backbone: str, size: int, keras: Callable[[], "KerasNetwork"]) -> None:
        self.size = size
        self.layers = cut_points(BACKBONES[backbone])
        self._answer = OpenVinoPass(folder / ANSWER)
        self._slopes_file = folder / SLOPES
        self._slopes: OpenVinoPass | None = None
        self._load_keras = keras
        self._keras: KerasNetwork | None = None
        self._loading = threading.Lock()

    def answer(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits, heatmaps and features; see `core.models.classifier.answering_pass`."""
        logits, maps, features = self._answer(pixels)
        return logits, maps, features

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """(n, size, size, 3) uint8 -> (n, 7) float32."""
        return self._answer(pixels)[0]

    def grad_cam(self, pixels: np.ndarray, code_index: int) -> np.ndarray:
        """Grad-CAM at the last activation: (size, size, 3) uint8 -> (h, w) float32."""
        return self._answer(pixels[None])[1][0, code_index]

    def cells(self, layer: str) -> int:
        """Places in a row of a layer."""
        return self._with_keras().cells(layer)

    def activations(self, pixels: np.ndarray, layer: str = LAST) -> np.ndarray:
        """What a layer gives."""
        return pixels.astype(np.float32) if layer == IMAGE else self._with_keras().activations(pixels, layer)

    def gradients(self, activations: np.ndarray, code_index: int, layer: str = LAST, odds: bool = False) -> np.ndarray:
        """Gradients of one diagnosis with respect to what a layer gives."""
        if layer == IMAGE and odds and len(activations) == STEPS and self._slopes_file.is_file():
            with self._loading:
                self._slopes = self._slopes or OpenVinoPass(self._slopes_file)
            return self._slopes(activations.astype(np.float32), np.int32(code_index))[0]
        return self._with_keras().gradients(activations, code_index, layer, odds)

    def _with_keras(self) -> "KerasNetwork":
        with self._loading:
            if self._keras is None:
                logging.getLogger(__name__).info("TensorFlow is loaded for what OpenVINO has not got.")
                self._keras = self._load_keras()
            return self._keras
