"""Heatmaps by any method, of any diagnosis, at any depth of a network, and what taking their places away does.

Whatever can run a network and give gradients can be explained: Keras, or OpenVINO with Keras behind it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from core.backbones import Backbone
from core.errors import ConfigError
from core.explain import faithfulness, integrated, perturbation
from core.explain.cam import CAMS, mean_map
from core.explain.faithfulness import Curves
from core.explain.methods import METHODS

if TYPE_CHECKING:
    from core.explain.ensemble import Ensemble

LAST, IMAGE = "last activation", "image"
BATCH = 4  # images in one pass: more leave the processor's cache, are hardly faster, and need memory
LAYERCAM_CELLS = 14  # LayerCAM is made for maps finer than the last: its default is the first of so many cells


def cut_points(backbone: Backbone | None) -> tuple[str, ...]:
    """Names of the depths that can be explained, from the last activation down to the image."""
    return (LAST, *(reversed(backbone.blocks) if backbone else ()), IMAGE)


class Network(Protocol):
    """What an explanation asks of a network.

    Attributes:
        size: side of its input in pixels.
        layers: names of its cut points, see `cut_points`.
    """

    size: int
    layers: tuple[str, ...]

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """(n, size, size, 3) uint8 -> (n, 7) float32."""

    def grad_cam(self, pixels: np.ndarray, code_index: int) -> np.ndarray:
        """Grad-CAM at the last activation: (size, size, 3) uint8 -> (h, w) float32."""

    def cells(self, layer: str) -> int:
        """Places in a row of a cut point."""

    def activations(self, pixels: np.ndarray, layer: str = LAST) -> np.ndarray:
        """(n, size, size, 3) uint8 -> what a cut point gives, (n, h, w, k) float32."""

    def gradients(self, activations: np.ndarray, code_index: int, layer: str = LAST, odds: bool = False) -> np.ndarray:
        """Of one logit, or of its log-odds against the other six, with respect to activations: (n, h, w, k)."""


class Explainer:
    """Networks that answer as one, ready to be explained.

    A heatmap is the mean of the networks' own, of the upright image; Grad-CAM of the last activation, which goes with
    the answer, also of the turns that the answer is made of.

    Args:
        network: that is asked.
    """

    def __init__(self, network: "Ensemble") -> None:
        self.network = network
        self.size = network.size
        self.layers = network.layers

    def default_layer(self, method: str) -> str:
        """The cut point at which a method is at its best."""
        if method == "layercam":
            fine = [layer for layer in self.layers[:-1] if self.network.cells(layer) >= LAYERCAM_CELLS]
            return fine[0] if fine else LAST
        return IMAGE if method in ("integrated", "occlusion") else LAST

    def heatmap(self, pixels: np.ndarray, method: str, code_index: int, layer: str | None = None) -> np.ndarray:
        """Where the evidence for a diagnosis lies.

        Args:
            pixels: (size, size, 3) uint8.
            method: one of `METHODS`.
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
        cuts = {method: layer or self.default_layer(method) for method in methods}
        for method, cut in cuts.items():
            if method not in METHODS:
                raise ConfigError(f"A heatmap's method is one of {', '.join(METHODS)}. Received: {method!r}.")
            if cut not in self.layers:
                raise ConfigError(f"A cut point is one of {', '.join(self.layers)}. Received: {cut!r}.")
        found = {}
        if cuts.get("gradcam") == LAST:
            found["gradcam"] = self.network.grad_cam(pixels, code_index)
        others = {method: cut for method, cut in cuts.items() if method not in found}
        each = [self._heatmaps_of(network, pixels, others, code_index) for network in self.network.networks]
        return found | {method: mean_map([own[method] for own in each]) for method in others}

    def _heatmaps_of(
        self, network: Network, pixels: np.ndarray, cuts: dict[str, str], code_index: int
    ) -> dict[str, np.ndarray]:
        """One network's heatmaps: method -> cut point gives method -> (h, w)."""
        found, passes = {}, {}
        for method, cut in cuts.items():
            if method == "occlusion":
                found[method] = self._occlusion(network, pixels, code_index)
            elif method == "integrated":
                found[method] = _integrated(network, pixels, code_index, cut)
            else:
                if cut not in passes:
                    activations = network.activations(pixels[None], cut)
                    passes[cut] = activations[0], network.gradients(activations, code_index, cut)[0]
                found[method] = CAMS[method](*passes[cut])
        return found

    def _occlusion(self, network: Network, pixels: np.ndarray, code_index: int) -> np.ndarray:
        views = perturbation.mixed(pixels, perturbation.blurred(pixels), perturbation.patches(self.size))
        scores = log_odds(_logits(network, np.concatenate([pixels[None], views])), code_index)
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
        logits = _logits(self.network, np.stack(views))
        scores = 1 / (1 + np.exp(-log_odds(logits, code_index)))
        whole, gone = scores[:2]
        inner = scores[2:].reshape(len(heatmaps), -1, 2)
        return Curves(
            np.array(fractions),
            {name: np.r_[whole, curve[:, 0], gone] for name, curve in zip(heatmaps, inner, strict=True)},
            {name: np.r_[gone, curve[:, 1], whole] for name, curve in zip(heatmaps, inner, strict=True)},
            bool(logits[1].argmax() == code_index),
        )


def _logits(network: "Network | Ensemble", pixels: np.ndarray) -> np.ndarray:
    """(n, size, size, 3) uint8 -> (n, 7) float32, in passes of `BATCH`."""
    starts = range(0, len(pixels), BATCH)
    return np.concatenate([network.logits(pixels[start : start + BATCH]) for start in starts])


def _integrated(network: Network, pixels: np.ndarray, code_index: int, layer: str) -> np.ndarray:
    end, start = network.activations(np.stack([pixels, perturbation.blurred(pixels)]), layer)
    slopes = network.gradients(integrated.way(start, end), code_index, layer, odds=True)
    return integrated.integrated_map(start, end, slopes)


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
