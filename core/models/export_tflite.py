"""A network as a file for LiteRT (TensorFlow Lite), its weights stored in fewer bits where that is felt least.

All arithmetic stays float32, so that every chip gives the same answers; what is small is the file. With 8 bits for
activations as well, as the converter's own full-integer quantization has it, one answer in ten of these networks
changes. So only weights are rounded, the last layers' first, because an error of the first goes through all others;
and what the rounding adds to a layer's output on average, over training images, is taken out of its bias (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2).
"""

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

FEW = 30_000  # numbers: a smaller array stays float32, as it weighs little and is mostly near the input
FLOAT16, INT8 = "float16", "int8"
LARGEST = {FLOAT16: 9_000_000, INT8: 6_000_000}  # bytes of a file, where the network lets itself be stored in so few
SHARES = {FLOAT16: 0.64, INT8: 0.43}  # and of the float32 file: a small network is not kept larger than its form asks
_ROOM = {FLOAT16: 50_000, INT8: 160_000}  # bytes for what is added beside weights: of int8, a scale for each channel
_WEIGHTS = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)
_DEQUANTIZE = schema.BuiltinOperator.DEQUANTIZE
_SINCE = {FLOAT16: 3, INT8: 5}  # the version of that operator which knows the form; 5 knows a scale for each channel
Means = dict[int, np.ndarray]  # place of a layer's inputs among the tensors -> (in,) their means over images and places
_TYPES = {FLOAT16: schema.TensorType.FLOAT16, INT8: schema.TensorType.INT8}


def to_tflite(network: keras.Model) -> bytes:
    """A network as LiteRT's file of one image at a time, in float32.

    Args:
        network: as `core.models.export_network.plain_network` gives it; its names of inputs and outputs are kept.
    """
    pixels = keras.Input(batch_shape=(1, *network.input.shape[1:]), name=network.input.name)
    single = keras.Model(pixels, network(pixels))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # Keras prints a page of addresses
        warnings.simplefilter("ignore")
        return tf.lite.TFLiteConverter.from_keras_model(single).convert()


def rounded(tflite: bytes, form: str, means: Means | None = None) -> bytes:
    """The same file with weights in fewer bits: as many as it takes to be within `LARGEST` and `SHARES`.

    Args:
        tflite: a float32 file of `to_tflite`.
        form: `FLOAT16`; or `INT8`, where the rest of the large arrays is float16.
        means: of `mean_inputs`: the biases are corrected by them. None leaves the biases.
    """
    model = _read(tflite)
    means = means or {}
    for layer, how in _forms(list(_layers(model)), form, len(tflite)):
        change = _store(model, layer, how)
        if layer.bias is not None and layer.inputs in means:
            buffer = model.buffers[model.subgraphs[0].tensors[layer.bias].buffer]
            bias = np.frombuffer(bytes(buffer.data), np.float32) - layer.response(change, means[layer.inputs])
            buffer.data = np.frombuffer(bias.astype(np.float32).tobytes(), np.uint8)
    builder = flatbuffers.Builder(len(tflite))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _read(tflite: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(tflite), 0))


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution or a dense layer of a file.

    Attributes:
        tensor, inputs: places of its weights and of what it is given among the tensors.
        bias: place of its bias; None where that is no constant of its own.
        weights: float32: (out, h, w, in), (1, h, w, out) of a depthwise convolution, or (out, in).
        depthwise: whether each channel has a filter of its own.
    """

    tensor: int
    inputs: int
    bias: int | None
    weights: np.ndarray
    depthwise: bool

    def by_channel(self, weights: np.ndarray) -> np.ndarray:
        """(out, n): what makes each of the layer's outputs."""
        return weights.reshape(-1, weights.shape[-1]).T if self.depthwise else weights.reshape(len(weights), -1)

    def response(self, change: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """(out,): what a change of the weights adds to the mean of the outputs, of the inputs' means (in,)."""
        places = self.by_channel(change)
        if self.depthwise:
            return places.sum(axis=1) * mean
        return places.reshape(len(places), -1, len(mean)).sum(axis=1) @ mean


def _layers(model: Any) -> Iterator[_Layer]:
    """From the input to the output."""
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    used = [index for operator in graph.operators for index in operator.inputs]

    def constant(index: int) -> np.ndarray | None:
        tensor = graph.tensors[index]
        data = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.FLOAT32 or data is None or not len(data):
            return None
        return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)

    for operator in graph.operators:
        code, inputs = codes[operator.opcodeIndex], [int(index) for index in operator.inputs]
        weights = constant(inputs[1]) if code in _WEIGHTS else None
        if weights is None or used.count(inputs[1]) > 1:
            continue
        own = len(inputs) > 2 and inputs[2] >= 0 and used.count(inputs[2]) == 1 and constant(inputs[2]) is not None
        yield _Layer(
            inputs[1], inputs[0], inputs[2] if own else None, weights, code == schema.BuiltinOperator.DEPTHWISE_CONV_2D
        )


def _forms(layers: list[_Layer], form: str, size: int) -> Iterator[tuple[_Layer, str]]:
    """Which layers are stored in which form; the others stay float32."""
    goal = min(LARGEST[form], int(SHARES[form] * size)) - _ROOM[form]
    large = [layer for layer in reversed(layers) if layer.weights.size > FEW]
    small = [layer for layer in reversed(layers) if layer.weights.size <= FEW]
    if form == INT8:
        size -= 2 * sum(layer.weights.size for layer in large)
    saved = {FLOAT16: 2, INT8: 1}[form]
    for layer in large:
        if size > goal:
            size -= saved * layer.weights.size
            yield layer, form
        elif form == INT8:
            yield layer, FLOAT16
    for layer in small:
        if size > goal:
            size -= 2 * layer.weights.size
            yield layer, FLOAT16


def _store(model: Any, layer: _Layer, form: str) -> np.ndarray:
    """Put a layer's weights into the file in fewer bits, and before them what turns them back; gives the change."""
    graph, weights = model.subgraphs[0], layer.weights
    tensor, quantization = graph.tensors[layer.tensor], None
    if form == FLOAT16:
        stored = weights.astype(np.float16)
        change = stored.astype(np.float32) - weights
    else:
        axis = weights.ndim - 1 if layer.depthwise else 0
        highest = np.abs(layer.by_channel(weights)).max(axis=1)
        scales = np.where(highest > 0, highest / 127, 1).astype(np.float32)
        across = scales.reshape([-1 if place == axis else 1 for place in range(weights.ndim)])
        stored = np.round(weights / across).astype(np.int8)
        change = stored * across - weights
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
        quantization.quantizedDimension = axis
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(stored).tobytes(), np.uint8)
    model.buffers.append(buffer)
    small = schema.TensorT()
    small.shape, small.type, small.buffer = tensor.shape, _TYPES[form], len(model.buffers) - 1
    small.name, small.quantization, small.hasRank = tensor.name + b"/" + form.encode(), quantization, True
    graph.tensors.append(small)
    if sum(other.buffer == tensor.buffer for other in graph.tensors) == 1:
        model.buffers[tensor.buffer].data = None
    tensor.buffer = 0  # by the format's rule empty: the values are computed
    back = schema.OperatorT()
    back.opcodeIndex = _dequantize(model, _SINCE[form])
    back.inputs, back.outputs = [len(graph.tensors) - 1], [layer.tensor]
    back.builtinOptionsType, back.builtinOptions = (
        schema.BuiltinOptions.DequantizeOptions,
        schema.DequantizeOptionsT(),
    )
    graph.operators.insert(0, back)
    return change


def _dequantize(model: Any, version: int) -> int:
    """Place of the operator among those that the file names; it is added where it is missing."""
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == _DEQUANTIZE and code.version == version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _DEQUANTIZE
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def mean_inputs(tflite: bytes, images: Iterable[np.ndarray]) -> Means:
    """What each layer is given on average.

    Args:
        tflite: a float32 file of `to_tflite`.
        images: (size, size, 3) uint8, of the training split.
    """
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate gives nothing of what lies between
    runner = Interpreter(
        model_content=tflite, experimental_op_resolver_type=plain, experimental_preserve_all_tensors=True
    )
    runner.allocate_tensors()
    pixels = runner.get_input_details()[0]["index"]
    places = {layer.inputs for layer in _layers(_read(tflite))}
    sums: dict[int, np.ndarray] = {}
    count = 0
    for image in images:
        count += 1
        runner.set_tensor(pixels, image[None].astype(np.float32))
        runner.invoke()
        for place in places:
            values = runner.get_tensor(place)
            sums[place] = sums.get(place, 0) + values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)
    return {place: total / count for place, total in sums.items()}
