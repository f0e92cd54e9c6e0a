"""A loaded Keras model as what answers and what can be explained at any depth; see `core.explain.explainer.Network`."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from core.backbones import BACKBONES
from core.explain.cam import grad_cam
from core.explain.explainer import IMAGE, LAST, cut_points
from core.models.classifier import answering_pass
from core.models.features import feature_layers
from core.models.frozen import frozen

BATCH = 4  # the fastest on two cores: a larger one leaves the processor's cache


class KerasNetwork:
    """One model. What is asked for is compiled when it is first asked for.

    Args:
        model: a flat model, pixels (n, size, size, 3), 0 to 255, in, logits (n, 7) out.
        gradcam_layer: the layer whose activations are the last before the pooling.
    """

    def __init__(self, model: keras.Model, gradcam_layer: str) -> None:
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
        starts = range(0, len(pixels), BATCH)
        return np.concatenate([self._forward(pixels[start : start + BATCH])[0].numpy() for start in starts])

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
            (n, h, w, k) float32.
        """
        if layer == IMAGE:
            return pixels.astype(np.float32)
        if layer not in self._below:
            below = keras.Model(self.model.input, self.model.get_layer(self.layer_name(layer)).output)
            self._below[layer] = tf.function(
                lambda images: below(tf.cast(images, tf.float32), training=False), input_signature=[self._pixels()]
            )
        return self._below[layer](pixels).numpy()

    def gradients(self, activations: np.ndarray, code_index: int, layer: str = LAST, odds: bool = False) -> np.ndarray:
        """Gradients of one diagnosis with respect to what a layer gives.

        Args:
            activations: (n, h, w, k).
            code_index: of the diagnosis, in `CODES`.
            layer: one of `layers`.
            odds: of the diagnosis's log-odds against the other six, instead of its logit.

        Returns:
            (n, h, w, k) float32.
        """
        if (layer, odds) not in self._compiled:
            self._compiled[layer, odds] = self.slopes(layer, odds)
        return self._compiled[layer, odds](tf.constant(activations), tf.constant(code_index)).numpy()

    def slopes(self, layer: str, odds: bool, count: int | None = None) -> tf.types.experimental.PolymorphicFunction:
        """The function behind `gradients`: (activations, index of the diagnosis) -> gradients; of `count` images."""
        cut = self.model.input if layer == IMAGE else self.model.get_layer(self.layer_name(layer)).output
        above = keras.Model(cut, self.model.output)

        @tf.function(input_signature=[tf.TensorSpec((count, *cut.shape[1:])), tf.TensorSpec((), tf.int32)])
        def gradients(activations: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(activations)
                logits = above(activations, training=False)
                chosen = tf.one_hot(code, logits.shape[1])
                score = tf.reduce_sum(logits * chosen, axis=1)
                if odds:
                    score -= tf.reduce_logsumexp(logits - 1e9 * chosen, axis=1)
            return tape.gradient(score, activations)

        return gradients

    def _pixels(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self.model.input.shape[1:]), tf.uint8)
