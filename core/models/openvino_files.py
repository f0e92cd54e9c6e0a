"""A run's network for OpenVINO, converted once: what answers, and the slopes that integrated gradients ask for.

    python -m core.models.openvino_files RUN

The folder appears under a temporary name and is renamed when it is whole. `core.engines` reads it.
"""

import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino
import openvino.opset13 as ov
import tensorflow as tf
from openvino.frontend import (
    ConversionExtension,
    FrontEndManager,
    GeneralFailure,
    NodeContext,
    OpConversionFailure,
    OpValidationFailure,
)

from core.backbones import BACKBONES
from core.engines import ANSWER, MADE_OF, SLOPES, model_hash
from core.errors import DermLensError, RunError
from core.explain.explainer import IMAGE
from core.explain.integrated import STEPS
from core.models.classifier import answering_pass, load_model
from core.models.features import feature_layers
from core.models.frozen import with_constants
from core.models.keras_network import KerasNetwork
from core.runs.files import write_json
from core.runs.run import MODEL, OPENVINO, Run

# what OpenVINO raises where it cannot convert; its own are no RuntimeErrors
FAILURES = (RuntimeError, GeneralFailure, OpConversionFailure, OpValidationFailure)


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
            openvino.save_model(_converted(answer, temporary), temporary / ANSWER, compress_to_fp16=False)
            try:
                openvino.save_model(_converted(slopes, temporary), temporary / SLOPES, compress_to_fp16=False)
            except FAILURES as error:  # an activation whose gradient nobody has described yet: Keras has it
                print(f"[openvino] without slopes: {str(error).strip().splitlines()[-1]}", flush=True)
            made_of = {"model_sha256": model_hash(run), "openvino": version("openvino")}
            write_json(temporary / MADE_OF, made_of)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.replace(folder)
    except (OSError, *FAILURES) as error:
        raise RunError(
            f"The network of run {run.id!r} must be converted for OpenVINO. Received: {error}. "
            "DermLens answers with TensorFlow until then; DERMLENS_ENGINE=tensorflow says so for good."
        ) from error


def _converted(function: tf.types.experimental.PolymorphicFunction, folder: Path) -> openvino.Model:
    """A compiled function as OpenVINO's; inputs and outputs keep their order."""
    constant = with_constants(function)
    path = folder / "graph.pb"
    path.write_bytes(constant.graph.as_graph_def().SerializeToString())
    frontend = FrontEndManager().load_by_framework("tf")
    for name, rule in RULES.items():
        frontend.add_extension(ConversionExtension(name, rule))
    loaded = frontend.load(str(path))
    loaded.override_all_inputs([loaded.get_place_by_tensor_name(tensor.name) for tensor in constant.inputs])
    loaded.override_all_outputs([loaded.get_place_by_tensor_name(tensor.name) for tensor in constant.outputs])
    model = frontend.convert(loaded)
    path.unlink()
    return model


# ---- rules for gradients, which OpenVINO's reader does not know ------------------------------------


def _number(value: float) -> openvino.Node:
    return ov.constant(np.float32(value))


def _axes(*values: int) -> openvino.Node:
    return ov.constant(np.array(values, np.int64))


def _relu_slope(node: NodeContext) -> list[openvino.Output]:
    slope, output = node.get_input(0), node.get_input(1)
    return ov.select(ov.greater(output, _number(0)), slope, _number(0)).outputs()


def _relu6_slope(node: NodeContext) -> list[openvino.Output]:
    slope, output = node.get_input(0), node.get_input(1)
    inside = ov.logical_and(ov.greater(output, _number(0)), ov.less(output, _number(6)))
    return ov.select(inside, slope, _number(0)).outputs()


def _depthwise_slope(node: NodeContext) -> list[openvino.Output]:
    """Of a depthwise convolution with "same" padding: the transposed convolution, each channel a group."""
    if node.get_attribute("padding") != "SAME":
        raise RuntimeError("a depthwise convolution's padding must be SAME to be turned round")
    shape, kernel, slope = (node.get_input(index) for index in range(3))
    strides = [int(stride) for stride in node.get_attribute("strides")][1:3]
    grouped = ov.unsqueeze(ov.transpose(kernel, _axes(2, 3, 0, 1)), _axes(2))  # h w c m -> c m 1 h w
    side = ov.gather(shape, _axes(1, 2), ov.constant(np.int64(0)))
    channels_first = ov.transpose(slope, _axes(0, 3, 1, 2))
    below = ov.group_convolution_backprop_data(channels_first, grouped, strides, side, auto_pad="same_lower")
    return ov.transpose(below, _axes(0, 2, 3, 1)).outputs()


def _concat_offsets(node: NodeContext) -> list[openvino.Output]:
    """Where each of several joined tensors begins: the gradient of a join cuts there."""
    axis, *shapes = (node.get_input(index) for index in range(node.get_input_size()))
    rank = ov.squeeze(ov.shape_of(shapes[0], "i32"), _axes(0))
    along = ov.one_hot(axis, rank, ov.constant(np.int32(1)), ov.constant(np.int32(0)), -1)
    starts = [ov.multiply(shapes[0], ov.constant(np.int32(0)))]
    for shape in shapes[:-1]:
        starts.append(ov.add(starts[-1], ov.multiply(shape, along)))
    return [start.output(0) for start in starts]


RULES = {
    "ConcatOffset": _concat_offsets,
    "ReluGrad": _relu_slope,
    "Relu6Grad": _relu6_slope,
    "DepthwiseConv2dNativeBackpropInput": _depthwise_slope,
}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    try:
        write_openvino(Run(arguments[0]))
    except DermLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
