"""A loaded Keras model as what answers and what can be explained at any depth; see `core.explain.explainer.Network`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from core.backbones import BACKBONES
from core.errors import ConfigError
from core.explain.cam import grad_cam
from core.explain.explainer import IMAGE, LAST, cut_points
from core.models.classifier import answering_pass, beside, upper_part
from core.models.devices import gpus
from core.models.features import feature_layers
from core.models.frozen import frozen


class Activations(np.ndarray):
    """What a layer gives, and what passes it by in the same images. Arithmetic with it gives plain arrays.

    Attributes:
        beside: (n, k) each, see `core.models.classifier.beside`; None for a part of it.
    """

    beside: list[np.ndarray] | None = None

    @classmethod
    def of(cls, outputs: np.ndarray, beside: list[np.ndarray]) -> "Activations":
        """A layer's outputs, and what goes beside them."""
        activations = outputs.view(cls)
        activations.beside = beside
        return activations

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return np.asarray(array)  # numbers that no image gave have nothing beside them


class KerasNetwork:
    """One model. What is asked for is compiled when it is first asked for.

    Args:
        model: a flat model, pixels (n, size, size, 3), 0 to 255, in, logits (n, 7) out.
        gradcam_layer: the layer whose activations are the last before the pooling.
    """

    def __init__(self, model: keras.Model, gradcam_layer: str) -> None:
        gpus()  # before anything is computed: how they compute cannot be said later
        self.model = model
        self.size = int(model.input.shape[1])
        self._backbone = BACKBONES.get(model.name)
        self.layers = cut_points(self._backbone)
        self._gradcam_layer = gradcam_layer
        self._compiled: dict[tuple[str, bool], Callable] = {}
        self._below: dict[str, Callable] = {}
        self._forward: Callable | None = None
        self._answer: Callable | None = None

    def layer_name(self, layer: str) -> str:
        """The model's own name of a cut point."""
        return self._gradcam_layer if layer == LAST or not self._backbone else self._backbone.blocks[layer]

    def cells(self, layer: str) -> int:
        """Places in a row of a cut point."""
        return self.size if layer == IMAGE else int(self.model.get_layer(self.layer_name(layer)).output.shape[1])

    def answer(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits, heatmaps and features; see `core.models.classifier.answering_pass`."""
        if self._answer is None:
            depths = feature_layers(self._backbone) if self._backbone else ()
            self._answer = frozen(answering_pass(self.model, self._gradcam_layer, depths))
        logits, maps, features = (np.asarray(output) for output in self._answer(pixels))
        return logits, maps, features

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """What the model said when it was first asked: later changes of its weights do not reach it.

        Args:
            pixels: (n, size, size, 3) uint8.

        Returns:
            (n, 7) float32.
        """
        if self._forward is None:
            self._forward = frozen(
                tf.function(
                    lambda pixels: self.model(tf.cast(pixels, tf.float32), training=False),
                    input_signature=[self._pixels()],
                )
            )
        return self._forward(pixels)[0].numpy()

    def grad_cam(self, pixels: np.ndarray, code_index: int) -> np.ndarray:
        """Grad-CAM at the last activation: (size, size, 3) uint8 -> (h, w) float32."""
        activations = self.activations(pixels[None])
        return grad_cam(activations[0], self.gradients(activations, code_index)[0])

    def activations(self, pixels: np.ndarray, layer: str = LAST) -> np.ndarray:
        """What a layer gives.

        Args:
            pixels: (n, size, size, 3) uint8.
            layer: one of `layers`.

        Returns:
            (n, h, w, k) float32; where something passes the layer by, with it, as `Activations`.
        """
        if layer == IMAGE:
            return pixels.astype(np.float32)
        if layer not in self._below:
            name = self.layer_name(layer)
            outputs = [self.model.get_layer(name).output, *beside(self.model, name)]
            below = keras.Model(self.model.input, outputs)
            self._below[layer] = tf.function(
                lambda images: tf.nest.flatten(below(tf.cast(images, tf.float32), training=False)),
                input_signature=[self._pixels()],
            )
        activations, *past = (output.numpy() for output in self._below[layer](pixels))
        return Activations.of(activations, past) if past else activations

    def gradients(self, activations: np.ndarray, code_index: int, layer: str = LAST, odds: bool = False) -> np.ndarray:
        """Gradients of one diagnosis with respect to what a layer gives.

        Args:
            activations: (n, h, w, k). Where the head sees depths below the layer, as they came from `activations`:
                those depths stay as they are in the same images.
            code_index: of the diagnosis, in `CODES`.
            layer: one of `layers`.
            odds: of the diagnosis's log-odds against the other six, instead of its logit.

        Returns:
            (n, h, w, k) float32.

        Raises:
            ConfigError: the layer's activations are no image's own, and the head sees depths below it.
        """
        past = [] if layer == IMAGE else beside(self.model, self.layer_name(layer))
        constants = getattr(activations, "beside", None) if past else []
        if constants is None:
            raise ConfigError(
                "A path of activations is followed where all that reaches the answer goes through them. Received: "
                f"the cut point {layer!r} of a network whose head sees {len(past)} depths below it. "
                f"Take the cut point {IMAGE!r}, or another kind of heatmap."
            )
        if (layer, odds) not in self._compiled:
            self._compiled[layer, odds] = self.slopes(layer, odds)
        values = map(tf.constant, (np.asarray(activations), code_index, *constants))
        return self._compiled[layer, odds](*values).numpy()

    def slopes(self, layer: str, odds: bool, count: int | None = None) -> tf.types.experimental.PolymorphicFunction:
        """The function behind `gradients`, of `count` images.

        Returns:
            A function: activations (count, h, w, k), index of the diagnosis, and what passes the layer by, (count, k)
            each -> gradients (count, h, w, k).
        """
        above = self.model if layer == IMAGE else upper_part(self.model, self.layer_name(layer))
        cut, *past = tf.nest.flatten(above.inputs)
        images, *constants = (tf.TensorSpec((count, *tensor.shape[1:])) for tensor in (cut, *past))

        @tf.function(input_signature=[images, tf.TensorSpec((), tf.int32), *constants])
        def gradients(activations: tf.Tensor, code: tf.Tensor, *beside: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(activations)
                logits = above([activations, *beside] if beside else activations, training=False)
                chosen = tf.one_hot(code, logits.shape[1])
                score = tf.reduce_sum(logits * chosen, axis=1)
                if odds:
                    score -= tf.reduce_logsumexp(logits - 1e9 * chosen, axis=1)
            return tape.gradient(score, activations)

        return gradients

    def _pixels(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self.model.input.shape[1:]), tf.uint8)
