"""Networks that answer as one: the mean of what several say, each of several exact turns of the image.

Logits and heatmaps are averaged (Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles", NeurIPS 2017; a lesion has no upper side, so that the turns are images of the same lesion). One network
that sees the upright image alone is an ensemble of one.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from core.data.augment import turned, turned_back
from core.explain.cam import mean_map
from core.explain.explainer import Network


class AnsweringNetwork(Network, Protocol):
    """A network that answers and explains in one pass."""

    def answer(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n, size, size, 3) uint8 -> logits (n, 7), heatmaps (n, 7, h, w), at least 0, features (n, k); float32."""


class Ensemble:
    """Networks that answer as one.

    Args:
        networks: one or more, with inputs of the same size.
        views: how many exact turns of the image are answered, see `core.data.augment.turned`; 1 to 8.
    """

    def __init__(self, networks: Sequence[AnsweringNetwork], views: int = 1) -> None:
        self.networks = list(networks)
        self.views = views
        self.size = networks[0].size
        self.layers = tuple(
            layer for layer in networks[0].layers if all(layer in other.layers for other in networks[1:])
        )

    def answer(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What all say of images.

        Args:
            pixels: (n, size, size, 3) uint8.

        Returns:
            Logits (n, 7) and heatmaps (n, 7, h, w), at least 0, the means; and the features of the upright images,
            (n, k), of one network beside the other's. All float32.
        """
        logits, maps, features = [], [], []
        for view in range(self.views):
            seen = pixels if view == 0 else np.stack([turned(image, view) for image in pixels])
            for network in self.networks:
                own_logits, own_maps, own_features = network.answer(seen)
                logits.append(own_logits)
                maps.append(turned_back(own_maps, view))
                if view == 0:
                    features.append(own_features)
        return np.mean(logits, axis=0), mean_map(maps), np.concatenate(features, axis=1)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """The mean over the networks for the upright images: (n, size, size, 3) uint8 -> (n, 7) float32.

        What is taken away from an image to test a heatmap is followed in one view: that takes hundreds of passes.
        """
        return np.mean([network.logits(pixels) for network in self.networks], axis=0)

    def grad_cam(self, pixels: np.ndarray, code_index: int) -> np.ndarray:
        """Grad-CAM at the last activation, the mean of all: (size, size, 3) uint8 -> (h, w) float32."""
        return mean_map(
            [
                turned_back(network.grad_cam(turned(pixels, view), code_index), view)
                for view in range(self.views)
                for network in self.networks
            ]
        )

    def cells(self, layer: str) -> int:
        """Places in a row of a cut point, of the network that has most."""
        return max(network.cells(layer) for network in self.networks)
