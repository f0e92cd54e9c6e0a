"""Build the network of a `Backbone` on an input tensor, with the weights that were asked for."""

from pathlib import Path

import keras

from core.backbones import IMAGENET, NO_WEIGHTS, Backbone
from core.errors import WeightsError
from core.models import efficientnet_lite0

PIXEL_RANGE = (0, 255)


def build_features(backbone: Backbone, pixels: keras.KerasTensor, weights: str) -> keras.KerasTensor:
    """The network as part of one flat graph.

    Args:
        backbone: which.
        pixels: (n, size, size, 3), 0 to 255.
        weights: "imagenet", "none", or the path of a weights file.

    Returns:
        (n, h, w, k), the last activation.

    Raises:
        WeightsError: the weights cannot be fetched, read, or do not fit.
    """
    if weights not in (IMAGENET, NO_WEIGHTS) and not Path(weights).is_file():
        raise WeightsError(
            f"The weights must be 'imagenet', 'none' or the path of a file. Received: {weights!r}, no such file."
        )
    if backbone.keras_application is None:
        return _lite0(pixels, weights)
    application = getattr(keras.applications, backbone.keras_application)
    try:
        source = None if weights == NO_WEIGHTS else weights
        network = application(include_top=False, weights=source, input_tensor=pixels)
        if weights not in (IMAGENET, NO_WEIGHTS):
            _as_by_name(network)
        return network.output
    except Exception as error:  # Keras raises a bare Exception when its download fails
        if weights == IMAGENET:
            raise WeightsError(
                f"The ImageNet weights of {backbone.name} come from the network the first time. Received: {error}. "
                "Two ways on: download Keras's weights file ('notop') elsewhere and name it with --weights PATH, "
                "or take --backbone efficientnet_lite0, whose weights are installed already."
            ) from error
        raise WeightsError(f"The weights file must fit {backbone.name}. Received: {weights} ({error}).") from error


def _as_by_name(network: keras.Model) -> None:
    """Make of a network filled from a file what Keras makes of the same file fetched by the name "imagenet".

    EfficientNetB0's files hold standard deviations where its first layer takes variances; Keras sets that right in the
    network that it fetches the file for, and in no other.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            layer.adapt_variance.assign(layer.adapt_variance**2)
            layer.finalize_state()


def _lite0(pixels: keras.KerasTensor, weights: str) -> keras.KerasTensor:
    output = efficientnet_lite0.features(pixels)
    if weights != NO_WEIGHTS:
        path = efficientnet_lite0.packaged_weights() if weights == IMAGENET else Path(weights)
        efficientnet_lite0.fill(keras.Model(pixels, output), path)
    return output
