"""Heatmaps by any method, of any diagnosis, at any depth of a loaded model, and what taking their places away does."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from core.backbones import BACKBONES
from core.errors import ConfigError
from core.explain import faithfulness, integrated, perturbation
from core.explain.cam import CAMS
from core.explain.faithfulness import Curves
from core.explain.methods import METHODS
from core.models.frozen import frozen

BATCH = 4  # the fastest on two cores: a larger one leaves the processor's cache
LAST, IMAGE = "last activation", "image"
LAYERCAM_CELLS = 14  # LayerCAM is made for maps finer than the last: its default is the first of so many cells


class Explainer:
    """One model, ready to be explained. What a depth needs is compiled when it is first asked for.

    Args:
        model: a flat model, pixels (n, size, size, 3), 0 to 255, in, logits (n, 7) out.
        gradcam_layer: the layer whose activations are the last before the pooling.
    """

    def __init__(self, model: keras.Model, gradcam_layer: str) -> None:
        self.model = model
        self.size = int(model.input.shape[1])
        backbone = BACKBONES.get(model.name)
        blocks = backbone.blocks if backbone else {}
        self._cuts = {LAST: gradcam_layer} | {name: blocks[name] for name in reversed(blocks)}
        self._compiled: dict[tuple[str, bool], Callable] = {}
        self._below: dict[str, Callable] = {}
        self._forward = tf.function(
            lambda pixels: model(tf.cast(pixels, tf.float32), training=False),
            input_signature=[tf.TensorSpec((None, *model.input.shape[1:]), tf.uint8)],
        )
        self._frozen: Callable | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods; see `core.explain.methods.METHODS`."""
        return tuple(METHODS)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the cut points, from the last activation down to the image."""
        return (*self._cuts, IMAGE)

    def layer_name(self, layer: str) -> str:
        """The model's own name of a cut point."""
        return self._cuts[layer]

    def default_layer(self, method: str) -> str:
        """The cut point at which a method is at its best."""
        if method == "layercam":
            fine = [
                name for name in self._cuts if self.model.get_layer(self._cuts[name]).output.shape[1] >= LAYERCAM_CELLS
            ]
            return fine[0] if fine else LAST
        return IMAGE if method in ("integrated", "occlusion") else LAST

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """What the model says.

        Args:
            pixels: (n, size, size, 3) uint8.

        Returns:
            (n, 7) float32.
        """
        if self._frozen is None:
            self._frozen = frozen(self._forward)
        starts = range(0, len(pixels), BATCH)
        return np.concatenate([self._frozen(pixels[start : start + BATCH])[0].numpy() for start in starts])

    def heatmap(self, pixels: np.ndarray, method: str, code_index: int, layer: str | None = None) -> np.ndarray:
        """Where the evidence for a diagnosis lies.

        Args:
            pixels: (size, size, 3) uint8.
            method: one of `methods`.
            code_index: of the diagnosis, in `CODES`.
            layer: one of `layers`; by default the method's own. Occlusion looks at the image alone.

        Returns:
            (h, w) float32, at least 0, not scaled.

        Raises:
            ConfigError: there is no such method or cut point.
        """
        return self.heatmaps(pixels, (method,), code_index, layer)[method]

    def heatmaps(
        self, pixels: np.ndarray, methods: Iterable[str], code_index: int, layer: str | None = None
    ) -> dict[str, np.ndarray]:
        """Heatmaps by several methods, which share the passes that they have in common; see `heatmap`."""
        found, passes = {}, {}
        for method in methods:
            if method not in METHODS:
                raise ConfigError(f"A heatmap's method is one of {', '.join(METHODS)}. Received: {method!r}.")
            cut = layer or self.default_layer(method)
            if cut not in self.layers:
                raise ConfigError(f"A cut point is one of {', '.join(self.layers)}. Received: {cut!r}.")
            if method == "occlusion":
                found[method] = self._occlusion(pixels, code_index)
            elif method == "integrated":
                found[method] = self._integrated(pixels, code_index, cut)
            else:
                if cut not in passes:
                    activations = self.activations(pixels[None], cut)
                    passes[cut] = activations[0], self.gradients(activations, code_index, cut)[0]
                found[method] = CAMS[method](*passes[cut])
        return found

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
            below = keras.Model(self.model.input, self.model.get_layer(self._cuts[layer]).output)
            self._below[layer] = tf.function(
                lambda images: below(tf.cast(images, tf.float32), training=False),
                input_signature=self._forward.input_signature,
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
            self._compiled[layer, odds] = self._compile(layer, odds)
        return self._compiled[layer, odds](tf.constant(activations), tf.constant(code_index)).numpy()

    def _compile(self, layer: str, odds: bool) -> Callable:
        cut = self.model.input if layer == IMAGE else self.model.get_layer(self._cuts[layer]).output
        above = keras.Model(cut, self.model.output)

        @tf.function(input_signature=[tf.TensorSpec((None, *cut.shape[1:])), tf.TensorSpec((), tf.int32)])
        def gradients(activations: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(activations)
                logits = above(activations, training=False)
                score = logits[:, code]
                if odds:
                    score -= tf.reduce_logsumexp(logits - 1e9 * tf.one_hot(code, logits.shape[1]), axis=1)
            return tape.gradient(score, activations)

        return gradients

    def _integrated(self, pixels: np.ndarray, code_index: int, layer: str) -> np.ndarray:
        end, start = self.activations(np.stack([pixels, perturbation.blurred(pixels)]), layer)
        slopes = self.gradients(integrated.way(start, end), code_index, layer, odds=True)
        return integrated.integrated_map(start, end, slopes)

    def _occlusion(self, pixels: np.ndarray, code_index: int) -> np.ndarray:
        views = perturbation.mixed(pixels, perturbation.blurred(pixels), perturbation.patches(self.size))
        scores = log_odds(self.logits(np.concatenate([pixels[None], views])), code_index)
        return perturbation.occlusion_map(scores[0] - scores[1:])

    def faithfulness(
        self,
        pixels: np.ndarray,
        heatmaps: dict[str, np.ndarray],
        code_index: int,
        fractions: tuple[float, ...] = faithfulness.FRACTIONS,
        baseline: np.ndarray | None = None,
    ) -> Curves:
        """Deletion and insertion curves of heatmaps of one image; see `core.explain.faithfulness`.

        Args:
            pixels: (size, size, 3) uint8.
            heatmaps: name -> (h, w), at least 0.
            code_index: of the diagnosis whose probability is followed.
            fractions: shares of the image, from 0 to 1. The ends are the same for every heatmap.
            baseline: (size, size, 3) uint8, what takes the place of what is deleted; by default the blurred image.
        """
        baseline = perturbation.blurred(pixels) if baseline is None else baseline
        views = [pixels, baseline]
        for heatmap in heatmaps.values():
            ranks = faithfulness.hottest_first(heatmap, self.size)
            for fraction in fractions[1:-1]:
                cover = perturbation.soft(ranks < fraction * ranks.size)
                views += [perturbation.mixed(pixels, baseline, cover), perturbation.mixed(pixels, baseline, 1 - cover)]
        logits = self.logits(np.stack(views))
        scores = 1 / (1 + np.exp(-log_odds(logits, code_index)))
        whole, gone = scores[:2]
        inner = scores[2:].reshape(len(heatmaps), -1, 2)
        return Curves(
            np.array(fractions),
            {name: np.r_[whole, curve[:, 0], gone] for name, curve in zip(heatmaps, inner, strict=True)},
            {name: np.r_[gone, curve[:, 1], whole] for name, curve in zip(heatmaps, inner, strict=True)},
            bool(logits[1].argmax() == code_index),
        )


def log_odds(logits: np.ndarray, code_index: int) -> np.ndarray:
    """Of a diagnosis against the other six.

    Args:
        logits: (n, 7).
        code_index: of the diagnosis, in `CODES`.

    Returns:
        (n,) float64: 0 where its probability is one half.
    """
    others = np.delete(logits.astype(float), code_index, axis=1)
    return logits[:, code_index] - np.logaddexp.reduce(others, axis=1)
