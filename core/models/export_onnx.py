"""A network as an ONNX file, by Keras's own exporter (which asks tf2onnx), in float32 and for any number of images."""

import warnings
from pathlib import Path

import keras
import numpy as np
from keras import layers


def write_onnx(network: keras.Model, path: Path) -> None:
    """Write a network; inputs and outputs keep their names.

    Args:
        network: as `core.models.export_network.plain_network` gives it.
        path: of the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx asks numpy for names that numpy gave up
        _with_plain_scaling(network).export(str(path), format="onnx", verbose=False)


def _with_plain_scaling(network: keras.Model) -> keras.Model:
    """The same network where the exporter would take a normalization's mean and variance for inputs of the file."""
    if not any(isinstance(layer, layers.Normalization) for layer in network.layers):
        return network
    copy = keras.models.clone_model(network, clone_function=_rescaling_or_same)
    for layer in copy.layers:
        if not isinstance(layer, layers.Rescaling):
            layer.set_weights(network.get_layer(layer.name).get_weights())
    copy(np.zeros((1, *network.input.shape[1:]), np.float32))  # the exporter wants to have seen it called
    return copy


def _rescaling_or_same(layer: keras.Layer) -> keras.Layer:
    if not isinstance(layer, layers.Normalization):
        return layer.__class__.from_config(layer.get_config())
    spread = np.maximum(np.sqrt(np.ravel(layer.variance)), keras.backend.epsilon())
    offset = -np.ravel(layer.mean) / spread
    return layers.Rescaling((1 / spread).tolist(), offset.tolist(), name=layer.name)
