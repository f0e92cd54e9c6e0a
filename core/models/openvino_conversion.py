"""A compiled function of TensorFlow as a network of OpenVINO, gradients in it included."""

import tempfile
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

from core.models.frozen import with_constants

# what OpenVINO raises where it cannot convert; its own are no RuntimeErrors
FAILURES = (RuntimeError, GeneralFailure, OpConversionFailure, OpValidationFailure)


def converted(function: tf.types.experimental.PolymorphicFunction) -> openvino.Model:
    """A compiled function as OpenVINO's; inputs and outputs keep their order.

    Args:
        function: with an input signature. Later changes of its weights do not reach the network.

    Raises:
        FAILURES: OpenVINO cannot read it.
    """
    constant = with_constants(function)
    frontend = FrontEndManager().load_by_framework("tf")
    for name, rule in RULES.items():
        frontend.add_extension(ConversionExtension(name, rule))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(constant.graph.as_graph_def().SerializeToString())
        loaded = frontend.load(str(path))
        loaded.override_all_inputs([loaded.get_place_by_tensor_name(tensor.name) for tensor in constant.inputs])
        loaded.override_all_outputs([loaded.get_place_by_tensor_name(tensor.name) for tensor in constant.outputs])
        return frontend.convert(loaded)


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
