"""Class activation maps: activations and gradients of one layer become a heatmap. Arrays in, arrays out.

All four weigh the layer's activations by the gradient of one diagnosis's logit and keep what speaks for it:

- Grad-CAM (Selvaraju et al., ICCV 2017): each channel by its mean gradient.
- HiResCAM (Draelos and Carin, arXiv 2011.08891, 2020): each place of each channel by its own gradient.
- Grad-CAM++ (Chattopadhyay et al., WACV 2018): each channel by a weighted mean of its positive gradients.
- LayerCAM (Jiang et al., IEEE Transactions on Image Processing 2021): each place by its own positive gradient.

At the last activation before an average pooling the gradient is the same at every place: there HiResCAM is Grad-CAM.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

_TINY = 1e-12


def grad_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Selvaraju et al. 2017.

    Args:
        activations: (..., h, w, k).
        gradients: (..., h, w, k), of one logit with respect to them.

    Returns:
        (..., h, w), at least 0, not scaled.
    """
    return _positive(activations * gradients.mean(axis=(-3, -2), keepdims=True))


def hires_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Draelos and Carin 2020; see `grad_cam`."""
    return _positive(activations * gradients)


def grad_cam_plus_plus(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Chattopadhyay et al. 2018, of the exponential of the logit; see `grad_cam`.

    The exponential is a factor that all places share, and is left out.
    """
    squares = gradients**2
    total = activations.sum(axis=(-3, -2), keepdims=True)
    below = 2.0 * squares + total * squares * gradients
    shares = np.where(np.abs(below) > _TINY, squares / np.where(np.abs(below) > _TINY, below, 1.0), 0.0)
    weights = (shares * np.maximum(gradients, 0.0)).sum(axis=(-3, -2), keepdims=True)
    return _positive(activations * weights)


def layer_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Jiang et al. 2021; see `grad_cam`."""
    return _positive(activations * np.maximum(gradients, 0.0))


CAMS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "gradcam": grad_cam,
    "hirescam": hires_cam,
    "gradcam++": grad_cam_plus_plus,
    "layercam": layer_cam,
}


def mean_map(maps: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of heatmaps (..., h, w), on the finest grid that there is among them; float32."""
    if len(maps) == 1:
        return maps[0]
    finest = max((heatmap.shape[-2:] for heatmap in maps), key=lambda sides: sides[0])
    return np.stack([_on_grid(heatmap, finest) for heatmap in maps]).mean(axis=0)


def _on_grid(maps: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    if maps.shape[-2:] == sides:
        return maps
    flat = maps.reshape(-1, *maps.shape[-2:])
    drawn = np.stack([cv2.resize(one, sides[::-1], interpolation=cv2.INTER_LINEAR) for one in flat])
    return drawn.reshape(*maps.shape[:-2], *sides)


def _positive(weighted: np.ndarray) -> np.ndarray:
    return np.maximum(weighted.sum(axis=-1), 0.0).astype(np.float32)
