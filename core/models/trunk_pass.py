"""One batch through a frozen trunk: the same numbers wherever and however often it is computed."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import keras
import numpy as np
import tensorflow as tf

from core.engines import chosen_engine, compiled_network
from core.errors import ConfigError
from core.models.devices import AtOnce, gpus
from core.models.frozen import frozen

BATCH = 32  # every batch has this many images, the last one filled up: the numbers must not depend on where a
# killed run went on, or on who computes which batch
ROW_TYPE = np.dtype("<f4")
PACKAGES = ("tensorflow", "keras", "pillow", "opencv-python")
ON_GPU = "tensorflow on a GPU"  # its last digits are others

TrunkPass = Callable[[np.ndarray], np.ndarray]


def trunk_engine() -> str:
    """What computes trunk outputs in this process: TensorFlow on a GPU, else what `core.engines` chooses."""
    return ON_GPU if gpus() else chosen_engine()


def trunk_pass(trunk: keras.Model, engine: str, threads: int = 0) -> TrunkPass:
    """A compiled trunk: pixels (n, size, size, 3) uint8, n at most `BATCH` -> outputs (n, ...) float32.

    Compiling takes as long as 200 images.

    Args:
        trunk: its weights do not change any more.
        engine: see `trunk_engine`.
        threads: of OpenVINO; 0 takes all cores. TensorFlow's are set for the whole process.

    Raises:
        ConfigError: OpenVINO cannot read this network.
    """
    compute = _by_openvino(trunk, threads) if engine == "openvino" else _by_tensorflow(trunk)

    def outputs(pixels: np.ndarray) -> np.ndarray:
        filled = np.concatenate([pixels, np.repeat(pixels[-1:], BATCH - len(pixels), axis=0)])
        return compute(filled)[: len(pixels)].astype(ROW_TYPE, copy=False)

    return outputs


def _compiled(trunk: keras.Model, images: int) -> tf.types.experimental.PolymorphicFunction:
    """So many images, (images, size, size, 3) uint8, through a trunk."""

    @tf.function(input_signature=[tf.TensorSpec((images, *trunk.input.shape[1:]), tf.uint8)])
    def run_trunk(pixels: tf.Tensor) -> tf.Tensor:
        return trunk(tf.cast(pixels, tf.float32), training=False)

    return run_trunk


def _by_openvino(trunk: keras.Model, threads: int) -> TrunkPass:
    """Whole batches."""
    from core.models.openvino_conversion import FAILURES, converted

    try:
        request = compiled_network(converted(_compiled(trunk, BATCH)), threads).create_infer_request()
    except FAILURES as error:
        raise ConfigError(
            f"OpenVINO must know each layer of the frozen part. Received: {str(error).strip().splitlines()[-1]} "
            "Choose --engine tensorflow."
        ) from error
    return lambda pixels: request.infer([pixels])[0]


def _by_tensorflow(trunk: keras.Model) -> TrunkPass:
    """Whole batches; where memory does not hold one, it goes through in parts."""
    passes: dict[int, Callable] = {}
    at_once = AtOnce(BATCH)

    def compiled(images: int) -> Callable:
        if images not in passes:
            passes[images] = frozen(_compiled(trunk, images))
        return passes[images]

    return lambda pixels: at_once(lambda some: compiled(len(some))(some)[0], pixels)


def trunk_hash(trunk: keras.Model) -> str:
    """A hash of architecture and weights: what the layers are called does not matter, what they do does."""
    digest = hashlib.sha256()
    for layer in trunk.layers:
        settings = {key: value for key, value in layer.get_config().items() if key not in ("name", "dtype")}
        digest.update(json.dumps([type(layer).__name__, settings], default=str, sort_keys=True).encode())
        for weight in layer.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def versions(engine: str) -> list[str]:
    """What else the numbers depend on: who decodes, resizes and multiplies.

    Args:
        engine: see `trunk_engine`.

    Raises:
        ConfigError: the engine is not installed.
    """
    packages = (*PACKAGES, engine) if engine == "openvino" else PACKAGES
    try:
        return [f"{name} {version(name)}" for name in packages] + ([engine] if engine == ON_GPU else [])
    except PackageNotFoundError as error:
        raise ConfigError(
            f"The engine must be installed. Received: {engine!r} and a Python without it. Install requirements.txt."
        ) from error
