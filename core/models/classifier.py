"""A classifier is a backbone with a head, cut in two: the frozen trunk below, the trained top above.

Trunk and top are two views of one flat model and share its weights, so that training the top trains the
model, and there is nothing to join afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from core.backbones import ALL, BACKBONES, HEAD, Backbone
from core.config import TrainConfig
from core.diagnoses import CODES
from core.errors import RunError
from core.explain.gradcam import channel_weights, weighted_maps
from core.models.backbones import build_features
from core.models.frozen import frozen


@dataclass(frozen=True)
class Classifier:
    """A flat model and its two parts.

    Attributes:
        model: pixels (n, size, size, 3), 0 to 255 -> logits (n, 7).
        trunk: pixels -> trunk outputs, frozen; None when everything is trained.
        top: trunk outputs (or pixels, without a trunk) -> logits.
        gradcam_layer: name of the last activation of the backbone.
        backbone: what it was made of.
    """

    model: keras.Model
    trunk: keras.Model | None
    top: keras.Model
    gradcam_layer: str
    backbone: Backbone


def build_classifier(config: TrainConfig) -> Classifier:
    """Build, fill with pretrained weights, and cut.

    Raises:
        WeightsError: the pretrained weights cannot be had.
    """
    backbone = BACKBONES[config.backbone]
    pixels = keras.Input((backbone.size, backbone.size, 3), name="pixels")
    features = build_features(backbone, pixels, config.weights)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(features)
    model = keras.Model(pixels, _head(pooled, config), name=backbone.name)

    if config.train_from == ALL:
        cut = pixels
    elif config.train_from == HEAD:
        cut = pooled
    else:
        cut = model.get_layer(backbone.blocks[config.train_from]).output
    trunk = None if config.train_from == ALL else keras.Model(pixels, cut, name="trunk")
    _freeze(model, trunk)
    top = keras.Model(cut, model.output, name="top")
    return Classifier(model, trunk, top, features._keras_history.operation.name, backbone)


def _head(pooled: keras.KerasTensor, config: TrainConfig) -> keras.KerasTensor:
    x = pooled
    if config.hidden_units:
        x = layers.Dense(config.hidden_units, activation="relu", name="hidden")(x)
    x = layers.Dropout(config.dropout, seed=config.seed, name="head_dropout")(x)
    return layers.Dense(len(CODES), name="logits")(x)


def _freeze(model: keras.Model, trunk: keras.Model | None) -> None:
    """All of the trunk, and every BatchNormalization: its statistics of ImageNet hold better than those of
    a small batch."""
    below = {id(layer) for layer in trunk.layers} if trunk else set()
    for layer in model.layers:
        if id(layer) in below or isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def load_model(path: Path) -> keras.Model:
    """The flat model of a run; nothing in the file can run code.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged archive raises anything from within h5py or zipfile
        raise RunError(f"A model file of Keras is needed. Received: {path} ({error}). Train the run again.") from error


def logits_and_heatmaps(model: keras.Model, gradcam_layer: str) -> Callable[[np.ndarray], list[tf.Tensor]]:
    """One compiled pass for the answer and its explanation.

    The gradients only have to cross the head, so that seven heatmaps cost next to nothing.

    Args:
        model: a flat model, pixels in, logits out.
        gradcam_layer: the layer whose activations are explained.

    Returns:
        A function: pixels (n, size, size, 3) uint8, 0 to 255 -> logits (n, 7) float32 and heatmaps
        (n, 7, h, w) float32, at least 0.
    """
    activation = model.get_layer(gradcam_layer).output
    below = keras.Model(model.input, activation)
    above = keras.Model(activation, model.output)

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)])
    def answer(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        activations = below(tf.cast(pixels, tf.float32), training=False)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(activations)
            logits = above(activations, training=False)
            each = tf.unstack(logits, axis=1)
        gradients = tf.stack([tape.gradient(logit, activations) for logit in each], axis=1)
        return logits, weighted_maps(activations, channel_weights(gradients))

    return frozen(answer)
