"""A classifier is a backbone with a head, cut in two: the frozen trunk below, the trained top above.

Trunk and top are two views of one flat model and share its weights, so that training the top trains the
model, and there is nothing to join afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

from core.backbones import ALL, BACKBONES, HEAD, Backbone
from core.config import TrainConfig
from core.diagnoses import CODES
from core.errors import RunError
from core.explain.gradcam import channel_weights, weighted_maps
from core.models.backbones import build_features
from core.models.features import feature_layers

FEATURES = "features"
"""The layer that joins the means of several depths; in a flat model only where its head sees them."""


@dataclass(frozen=True)
class Classifier:
    """A flat model and its two parts.

    Attributes:
        model: pixels (n, size, size, 3), 0 to 255 -> logits (n, 7).
        trunk: pixels -> trunk outputs, frozen; None when everything is trained. Under a head, these are `sensor`'s.
        top: trunk outputs (or pixels, without a trunk) -> logits.
        sensor: pixels -> features (n, k): the means of `depths` over the image, and of the last activation.
        gradcam_layer: name of the last activation of the backbone.
        depths: names of the layers below it whose means are features too.
        pooled: how many of the features, the last ones, are the means of the last activation.
        backbone: what it was made of.
    """

    model: keras.Model
    trunk: keras.Model | None
    top: keras.Model
    sensor: keras.Model
    gradcam_layer: str
    depths: tuple[str, ...]
    pooled: int
    backbone: Backbone


def build_classifier(config: TrainConfig) -> Classifier:
    """Build, fill with pretrained weights, and cut.

    Raises:
        WeightsError: the pretrained weights cannot be had.
    """
    backbone = BACKBONES[config.backbone]
    pixels = keras.Input((backbone.size, backbone.size, 3), name="pixels")
    activation = build_features(backbone, pixels, config.weights)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(activation)
    head = _head(config)
    gradcam_layer = activation._keras_history.operation.name
    depths = feature_layers(backbone)
    sensor = sensor_of(keras.Model(pixels, activation), gradcam_layer, depths)
    model = keras.Model(pixels, _through(head, sensor.output if config.head_depths else pooled), name=backbone.name)

    if config.train_from == ALL:
        trunk, top = None, model
    elif config.train_from == HEAD:
        trunk, seen = sensor, keras.Input(sensor.output.shape[1:], name="seen")
        top = keras.Model(seen, _through(head, seen if config.head_depths else seen[:, -pooled.shape[1] :]), name="top")
    else:
        cut = model.get_layer(backbone.blocks[config.train_from]).output
        trunk, top = keras.Model(pixels, cut, name="trunk"), keras.Model(cut, model.output, name="top")
    _freeze(model, trunk)
    return Classifier(model, trunk, top, sensor, gradcam_layer, depths, pooled.shape[1], backbone)


def _head(config: TrainConfig) -> list[keras.Layer]:
    """The layers from the features to the logits."""
    hidden = [layers.Dense(config.hidden_units, activation="relu", name="hidden")] if config.hidden_units else []
    dropout = layers.Dropout(config.dropout, seed=config.seed + config.repeat, name="head_dropout")
    return [*hidden, dropout, layers.Dense(len(CODES), name="logits")]


def _through(some: list[keras.Layer], x: keras.KerasTensor) -> keras.KerasTensor:
    for layer in some:
        x = layer(x)
    return x


def sensor_of(model: keras.Model, gradcam_layer: str, depths: tuple[str, ...]) -> keras.Model:
    """The part of a flat model that gives features; see `Classifier.sensor`."""
    outputs = [model.get_layer(name).output for name in (*depths, gradcam_layer)]
    means = [layers.GlobalAveragePooling2D(name=f"mean_{index}")(output) for index, output in enumerate(outputs)]
    return keras.Model(model.input, layers.Concatenate(name=FEATURES)(means), name="sensor")


def beside(model: keras.Model, layer: str) -> list[keras.KerasTensor]:
    """What reaches the logits of a flat model without passing a layer: means of the depths below it, (n, k) each.

    Empty where the head sees the last activation alone, as it usually does.

    Args:
        model: a flat model.
        layer: name of its last activation, or of the layer that a depth or a block begins at.
    """
    if FEATURES not in {each.name for each in model.layers}:
        return []
    means = model.get_layer(FEATURES).input
    depths = [mean._keras_history.operation.input._keras_history.operation.name for mean in means]
    return means[: depths.index(layer)] if layer in depths else []


def upper_part(model: keras.Model, layer: str) -> keras.Model:
    """What lies above a layer: its output, and whatever goes `beside` it -> logits (n, 7)."""
    cut = model.get_layer(layer).output
    past = beside(model, layer)
    return keras.Model([cut, *past] if past else cut, model.output)


@contextmanager
def as_a_whole(classifier: Classifier) -> Iterator[None]:
    """In here, training `model` trains all layers but BatchNormalization, those of the trunk too."""
    for layer in classifier.model.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    try:
        yield
    finally:
        _freeze(classifier.model, classifier.trunk)


def _freeze(model: keras.Model, trunk: keras.Model | None) -> None:
    """All of the trunk, and every BatchNormalization: what it normalizes by holds better than statistics of a small
    batch."""
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


def answering_pass(
    model: keras.Model, gradcam_layer: str, depths: tuple[str, ...] = ()
) -> tf.types.experimental.PolymorphicFunction:
    """One compiled pass for the answer, its explanation, and what tells whether it should be given at all.

    The gradients only have to cross the head, so that seven heatmaps cost next to nothing. They are those of the last
    activation alone: what a head sees of other depths is a constant to them.

    Args:
        model: a flat model, pixels in, logits out.
        gradcam_layer: the layer whose activations are explained.
        depths: layers whose means over the image are features, besides those of `gradcam_layer`.

    Returns:
        A function: pixels (n, size, size, 3) uint8, 0 to 255 -> logits (n, 7) float32, heatmaps (n, 7, h, w)
        float32, at least 0, and features (n, k) float32, as `Classifier.sensor` gives them.
    """
    activation = model.get_layer(gradcam_layer).output
    past = beside(model, gradcam_layer)
    below = keras.Model(model.input, [*past, *(model.get_layer(name).output for name in depths), activation])
    above = upper_part(model, gradcam_layer)

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)])
    def answer(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs = tf.nest.flatten(below(tf.cast(pixels, tf.float32), training=False))
        constants, outputs = outputs[: len(past)], outputs[len(past) :]
        activations = outputs[-1]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(activations)
            logits = above([activations, *constants] if past else activations, training=False)
            each = tf.unstack(logits, axis=1)
        gradients = tf.stack([tape.gradient(logit, activations) for logit in each], axis=1)
        features = tf.concat([tf.reduce_mean(output, (1, 2)) for output in outputs], axis=1)
        return logits, weighted_maps(activations, channel_weights(gradients)), features

    return answer
