"""Grad-CAM: where in the image the evidence for a diagnosis lies.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
ICCV 2017. Activations of the last convolution, and the gradients of a logit (not of a probability) with
respect to them: the mean gradient of each channel weighs that channel, and what speaks against the
diagnosis is cut off at zero. The two steps work on numpy arrays and inside a compiled function alike.
"""

from typing import Any

from keras import ops


def channel_weights(gradients: Any) -> Any:
    """How much each channel counts for each diagnosis: the mean of its gradient over the image.

    Args:
        gradients: (n, 7, h, w, k), of each logit with respect to the activations.

    Returns:
        (n, 7, k), in logits per unit of activation.
    """
    return ops.mean(gradients, axis=(2, 3))


def weighted_maps(activations: Any, weights: Any) -> Any:
    """The channels summed by their weights, positive part only.

    Args:
        activations: (n, h, w, k).
        weights: (n, 7, k), see `channel_weights`.

    Returns:
        (n, 7, h, w), at least 0 and not scaled, so that maps of different images can be compared.
    """
    return ops.relu(ops.einsum("nhwk,nck->nchw", activations, weights))
