"""BatchNormalization statistics moved from ImageNet's towards those of the images that are learned.

A frozen network normalizes by the means and variances of ImageNet's activations; those of dermatoscopic images are
others. What it normalizes by is a mixture of both (Schneider et al., NeurIPS 2020, for images that are degraded; Li et
al., arXiv:1603.04779, take the new ones alone). No label is looked at.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

from core.config import ADAPTED_IMAGES, TrainConfig
from core.data.dataset import Dataset
from core.data.loading import PixelSource, in_batches, read_ahead
from core.models.copied import copied
from core.models.trunk_cache import WHOLE, cache_folder, locked
from core.models.trunk_pass import ROW_TYPE, trunk_hash, versions
from core.runs.files import write_bytes

BATCH = 32  # images that are normalized by each other while they are measured
VERSION = 1
"""Raise it whenever the same network and images would be measured otherwise."""


def adapt(
    features: keras.Model, share: float, dataset: Dataset, images: pd.DataFrame, seed: int, step: Callable
) -> None:
    """Move the statistics of a network's BatchNormalization layers towards those of images.

    The latter are kept in the cache: every training on these images then normalizes alike to the last digit, however
    many threads it has, and finds the trunk outputs of another.

    Args:
        features: pixels (n, size, size, 3), 0 to 255 -> its last activation; changed in place.
        share: how far, 0 to 1.
        dataset: whose contents the images are.
        images: image_id, path; `ADAPTED_IMAGES` of them are drawn.
        seed: of the draw.
        step: called with (done, total) after each batch; may raise to stop.

    Raises:
        DatasetError: the cache cannot be written.
        RunError: the disk is full.
    """
    some = _drawn(images, seed)
    contents = [dataset.contents[image_id] for image_id in some["image_id"]]
    measured_by = [trunk_hash(features), contents, versions("tensorflow"), VERSION]
    path = cache_folder("batch-norm") / f"{hashlib.sha256(json.dumps(measured_by).encode()).hexdigest()[:32]}{WHOLE}"
    weights = [weight for layer in _norms(features) for weight in (layer.moving_mean, layer.moving_variance)]
    with locked(path, lambda: step(0, len(some))):
        numbers = _kept(path, sum(weight.shape[0] for weight in weights))
        if numbers is None:
            numbers = _measured(features, some, step)
            write_bytes(path, numbers.tobytes())
    for weight in weights:
        weight.assign((1 - share) * weight.numpy() + share * numbers[: weight.shape[0]])
        numbers = numbers[weight.shape[0] :]


def _drawn(images: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Some images, mostly the same ones where a few more or fewer are there to choose from."""
    lots = images["image_id"].map(lambda name: hashlib.sha256(f"{seed},{name}".encode()).digest())
    return images[lots.rank() <= ADAPTED_IMAGES]


def _kept(path: Path, count: int) -> np.ndarray | None:
    """(count,) numbers in the cache; None where there are none, or not as many."""
    if not path.is_file() or path.stat().st_size != count * ROW_TYPE.itemsize:
        return None
    return np.fromfile(path, ROW_TYPE)


def _norms(model: keras.Model) -> list[layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def _measured(features: keras.Model, images: pd.DataFrame, step: Callable) -> np.ndarray:
    """Mean and variance of what each layer takes in, one after the other, where those below normalize by each batch."""
    network = copied(features, _measuring)
    norms = _norms(network)

    @tf.function(reduce_retracing=True)
    def seen(pixels: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        network(tf.cast(pixels, tf.float32), training=False)
        return [layer.seen for layer in norms]

    means = [np.zeros(layer.moving_mean.shape) for layer in norms]  # doubles: a variance is a small difference
    squares = [np.zeros(layer.moving_mean.shape) for layer in norms]
    rows, done = np.arange(len(images)), 0
    source = PixelSource(images, features.input.shape[1], TrainConfig())
    for pixels in read_ahead(source.take, in_batches(rows, np.zeros_like(rows), BATCH)):
        for index, (mean, variance) in enumerate(seen(pixels)):
            of_layer = mean.numpy().astype(float)
            means[index] += of_layer * len(pixels) / len(images)
            squares[index] += (variance.numpy() + of_layer**2) * len(pixels) / len(images)
        done += len(pixels)
        step(done, len(images))
    pairs = zip(means, squares, strict=True)
    return np.concatenate(
        [numbers for mean, square in pairs for numbers in (mean, np.maximum(square - mean**2, 0))]
    ).astype(ROW_TYPE)


def _measuring(layer: keras.Layer) -> keras.Layer:
    kind = _Measuring if isinstance(layer, layers.BatchNormalization) else type(layer)
    return kind.from_config(layer.get_config())


class _Measuring(layers.BatchNormalization):
    """Normalizes by the statistics of the batch, which are left in `seen`."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        self.seen = tf.nn.moments(inputs, axes=(0, 1, 2))
        return tf.nn.batch_normalization(inputs, *self.seen, self.beta, self.gamma, self.epsilon)
