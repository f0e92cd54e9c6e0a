"""A network as an ONNX file, by Keras's own exporter (which asks tf2onnx), in float32 and for any number of images."""

import warnings
from pathlib import Path

import keras


def write_onnx(network: keras.Model, path: Path) -> None:
    """Write a network; inputs and outputs keep their names.

    Args:
        network: as `core.models.export_network.plain_network` gives it.
        path: of the file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx asks numpy for names that numpy gave up
        network.export(str(path), format="onnx", verbose=False)
