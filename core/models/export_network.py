"""A classifier as one plain forward pass that also gives the heatmaps, for programs that know no gradients.

Pooling is a mean and what follows it is linear up to the one ReLU of the head, so that both change places: the head
is applied to the activations at each place, and the answer is the mean. What each place adds to a logit is then, but
for the ReLU's mask, Grad-CAM itself (Selvaraju et al., ICCV 2017, section 3: with pooling and a linear layer it is CAM;
Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).
"""

import keras
from keras import layers, ops

from core.diagnoses import CODES
from core.errors import RunError
from core.models.classifier import FEATURES

OUTPUTS = ("logits", "heatmaps", "features")
_HEAD = (layers.GlobalAveragePooling2D, layers.Concatenate, layers.Dense, layers.Dropout)


def plain_network(model: keras.Model, gradcam_layer: str, depths: tuple[str, ...] = ()) -> keras.Model:
    """What `core.models.classifier.answering_pass` answers, without a gradient in it.

    Args:
        model: a flat model, pixels in, logits out, with a head of `core.models.classifier`: dense layers on means.
        gradcam_layer: the layer whose activations are explained.
        depths: layers whose means over the image are features, besides those of `gradcam_layer`.

    Returns:
        A model: pixels (n, size, size, 3) float32, 0 to 255 -> "logits" (n, 7), "heatmaps" (n, 7, h, w), at least 0,
        and "features" (n, k), all float32.

    Raises:
        RunError: the head is of another kind.
    """
    hidden, last = _dense_layers(model, gradcam_layer)
    activation = model.get_layer(gradcam_layer).output
    means = [ops.mean(model.get_layer(name).output, axis=(1, 2)) for name in depths]
    features = ops.concatenate([*means, ops.mean(activation, axis=(1, 2))], axis=1)
    cells = activation.shape[1] * activation.shape[2]

    first = last if hidden is None else hidden
    kernel, bias = first.get_weights()
    below = kernel.shape[0] - activation.shape[-1]  # the head sees means of so many channels of other depths
    at_each_place = _place_by_place(kernel[below:], f"{first.name}_places", activation)
    sums = ops.mean(at_each_place, axis=(1, 2)) + bias
    if below:
        sums = sums + ops.matmul(ops.concatenate(_seen_means(model)[:-1], axis=1), kernel[:below])
    if hidden is None:
        logits, evidence = sums, at_each_place / cells
    else:
        kernel, bias = last.get_weights()
        logits = ops.matmul(ops.relu(sums), kernel) + bias
        on = ops.cast(ops.greater(sums, 0), "float32")
        evidence = _place_by_place(kernel / cells, f"{last.name}_places", at_each_place * on[:, None, None, :])
    heatmaps = ops.transpose(ops.relu(evidence), (0, 3, 1, 2))
    named = dict(zip(OUTPUTS, (logits, heatmaps, features), strict=True))
    return keras.Model(model.input, named, name=model.name)


def _place_by_place(kernel, name: str, x: keras.KerasTensor) -> keras.KerasTensor:
    """A dense layer's weights (k, j) applied to the channels at each place: (n, h, w, k) -> (n, h, w, j)."""
    layer = layers.Conv2D(kernel.shape[1], 1, use_bias=False, name=name)
    y = layer(x)
    layer.set_weights([kernel[None, None]])
    return y


def _dense_layers(model: keras.Model, gradcam_layer: str) -> tuple[layers.Dense | None, layers.Dense]:
    """The hidden layer, if there is one, and that of the logits."""
    names = [layer.name for layer in model.layers]
    head = model.layers[names.index(gradcam_layer) + 1 :]
    dense = [layer for layer in head if isinstance(layer, layers.Dense)]
    plain = [layer.activation is keras.activations.linear for layer in dense[-1:]]
    bent = [layer.activation is keras.activations.relu for layer in dense[:-1]]
    known = all(isinstance(layer, _HEAD) for layer in head) and plain == [True] and bent in ([], [True])
    if not known or dense[-1].units != len(CODES):
        raise RunError(
            "A network is exported whose head has pooling, at most one hidden layer with ReLU, and seven logits. "
            f"Received: {', '.join(type(layer).__name__ for layer in head)}. Export another run."
        )
    return (dense[0] if len(dense) == 2 else None), dense[-1]


def _seen_means(model: keras.Model) -> list[keras.KerasTensor]:
    return model.get_layer(FEATURES).input
