"""One batch through a frozen trunk: the same numbers wherever and however often it is computed."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version

import keras
import numpy as np
import tensorflow as tf

from core.models.devices import AtOnce
from core.models.frozen import frozen

BATCH = 32  # every batch has this many images, the last one filled up: the numbers must not depend on where a
# killed run went on, or on who computes which batch
ROW_TYPE = np.dtype("<f4")
PACKAGES = ("tensorflow", "keras", "pillow", "opencv-python")

TrunkPass = Callable[[np.ndarray], np.ndarray]


def trunk_pass(trunk: keras.Model) -> TrunkPass:
    """A compiled trunk: pixels (n, size, size, 3) uint8, n at most `BATCH` -> outputs (n, ...) float32.

    Compiling takes as long as 200 images. Where memory does not hold a whole batch, it goes through in parts.
    """

    passes: dict[int, Callable] = {}
    at_once = AtOnce(BATCH)

    def compiled(images: int) -> Callable:
        if images not in passes:

            @tf.function(input_signature=[tf.TensorSpec((images, *trunk.input.shape[1:]), tf.uint8)])
            def run_trunk(pixels: tf.Tensor) -> tf.Tensor:
                return trunk(tf.cast(pixels, tf.float32), training=False)

            passes[images] = frozen(run_trunk)
        return passes[images]

    def outputs(pixels: np.ndarray) -> np.ndarray:
        filled = np.concatenate([pixels, np.repeat(pixels[-1:], BATCH - len(pixels), axis=0)])
        computed = at_once(lambda some: compiled(len(some))(some)[0], filled)
        return computed[: len(pixels)].astype(ROW_TYPE, copy=False)

    return outputs


def trunk_hash(trunk: keras.Model) -> str:
    """A hash of architecture and weights: what the layers are called does not matter, what they do does."""
    digest = hashlib.sha256()
    for layer in trunk.layers:
        settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype")}
        digest.update(json.dumps([type(layer).__name__, settings], default=str, sort_keys=True).encode())
        for weight in layer.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def versions() -> list[str]:
    """What else the numbers depend on: who decodes, resizes and multiplies."""
    return [f"{name} {version(name)}" for name in PACKAGES]
