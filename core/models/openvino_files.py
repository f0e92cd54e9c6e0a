"""A run's network for OpenVINO, converted once: what answers, and the slopes that integrated gradients ask for.

    python -m core.models.openvino_files RUN

The folder appears under a temporary name and is renamed when it is whole. `core.engines` reads it.
"""

import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import openvino

from core.backbones import BACKBONES
from core.engines import ANSWER, MADE_OF, SLOPES, model_hash
from core.errors import RunError, command
from core.explain.explainer import IMAGE
from core.explain.integrated import STEPS
from core.models.classifier import answering_pass, load_model
from core.models.features import feature_layers
from core.models.keras_network import KerasNetwork
from core.models.openvino_conversion import FAILURES, converted
from core.runs.files import write_json
from core.runs.run import MODEL, OPENVINO, Run


def write_openvino(run: Run) -> None:
    """Convert the network of a run and keep it in its folder. The slopes are left out where OpenVINO lacks a rule.

    Raises:
        RunError: the network cannot be converted or written.
    """
    manifest, folder = run.manifest(), run.folder / OPENVINO
    model = load_model(run.folder / MODEL)
    layer = str(manifest["gradcam_layer"])
    answer = answering_pass(model, layer, feature_layers(BACKBONES[manifest["backbone"]]))
    slopes = KerasNetwork(model, layer).slopes(IMAGE, odds=True, count=STEPS)
    try:
        with tempfile.TemporaryDirectory(dir=run.folder, prefix=f".{OPENVINO}.") as name:
            temporary = Path(name) / OPENVINO
            temporary.mkdir()
            openvino.save_model(converted(answer), temporary / ANSWER, compress_to_fp16=False)
            try:
                openvino.save_model(converted(slopes), temporary / SLOPES, compress_to_fp16=False)
            except FAILURES as error:  # an activation whose gradient nobody has described yet: Keras has it
                print(f"[openvino] without slopes: {str(error).strip().splitlines()[-1]}", flush=True)
            made_of = {"model_sha256": model_hash(run), "openvino": version("openvino")}
            write_json(temporary / MADE_OF, made_of)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.replace(folder)
    except (OSError, *FAILURES) as error:
        raise RunError(
            f"The network of run {run.id!r} must be converted for OpenVINO. Received: {error}. "
            "DermLens answers with TensorFlow until then; --engine tensorflow says so for good."
        ) from error


@command
def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    write_openvino(Run(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
