"""What computes here: which devices, in which precision, and how many images at a time.

A CPU takes whole batches in float32; wide depthwise filters get their gradients there in a quicker way. A GPU with
tensor cores multiplies in float16; several GPUs share each batch; what does not fit into memory goes through in pieces,
whose gradients are summed. The step is the recipe's all the same: its batch is never smaller than was asked for.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from core.config import FLOAT32, MIXED, TrainConfig
from core.errors import ConfigError, RunError
from core.models.copied import copied
from core.models.depthwise import FastDepthwiseConv2D

TENSOR_CORES = (7, 0)  # the compute capability from which on float16 is faster
LOGITS = "logits"  # the layer that stays in float32: a cross-entropy of float16 would lose the small probabilities


@dataclass
class Gpu:
    """A graphics processor: its name in TensorFlow, and what it can do."""

    name: str
    capability: tuple[int, int] | None


def gpus() -> list[Gpu]:
    """Those of this machine; their memory is taken as it is needed, and their float32 is whole.

    By default Ampere and what came after it multiplies float32 with ten bits of mantissa (TF32): a logit that a
    training computed so is not what OpenVINO says of the same network.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    found = []
    for index, device in enumerate(tf.config.list_physical_devices("GPU")):
        with suppress(RuntimeError):  # it computes already: whoever began has said how
            tf.config.experimental.set_memory_growth(device, True)
        details = tf.config.experimental.get_device_details(device)
        found.append(Gpu(f"GPU:{index}", details.get("compute_capability")))
    return found


class AtOnce:
    """How many images go through a network at once: fewer than asked for where memory does not hold them, found by
    trying and remembered.

    Attributes:
        images: now.
    """

    def __init__(self, images: int) -> None:
        self.images = images

    def __call__(self, compute: Callable[[np.ndarray], Any], inputs: np.ndarray) -> np.ndarray:
        """Outputs (n, ...) of inputs (n, ...).

        Raises:
            RunError: memory does not even hold one image.
        """
        while True:
            starts = range(0, len(inputs), self.images)
            try:
                return np.concatenate([np.asarray(compute(inputs[start : start + self.images])) for start in starts])
            except tf.errors.ResourceExhaustedError as error:
                self.images = _half(min(self.images, len(inputs)), error)


@dataclass
class Machine:
    """The devices that train together.

    Attributes:
        devices: their names in TensorFlow; a batch is shared out among them.
        mixed: whether they multiply in float16. Weights are float32 all the same.
        pieces: each device takes its share of a batch in so many pieces.
    """

    devices: tuple[str, ...] = ("CPU:0",)
    mixed: bool = False
    pieces: int = 1
    strategy: tf.distribute.Strategy = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.strategy = _mirrored(self.devices) if len(self.devices) > 1 else tf.distribute.get_strategy()

    @classmethod
    def here(cls, config: TrainConfig) -> "Machine":
        """What is there, in the precision that was asked for.

        Raises:
            ConfigError: mixed precision was asked for, and there is no GPU.
        """
        found = gpus()
        if config.precision == MIXED and not found:
            raise ConfigError(
                "precision 'mixed' needs a GPU: a processor is slower in float16. Received: a machine without one. "
                "Choose --precision auto."
            )
        fast = bool(found) and all(gpu.capability and gpu.capability >= TENSOR_CORES for gpu in found)
        mixed = config.precision == MIXED or (config.precision != FLOAT32 and fast)
        return cls(tuple(gpu.name for gpu in found) or ("CPU:0",), mixed)

    def __str__(self) -> str:
        return f"{', '.join(self.devices)} in {'mixed precision' if self.mixed else 'float32'}"

    def trainable(self, model: keras.Model) -> keras.Model:
        """The model to train: itself, or a copy for these devices, with the same weights in the same order."""
        on_processor = all(name.startswith("CPU") for name in self.devices)

        def can_be_faster(layer: keras.Operation) -> bool:
            return on_processor and FastDepthwiseConv2D.helps(layer)

        if len(self.devices) == 1 and not self.mixed and not any(map(can_be_faster, model.layers)):
            return model

        def layer_for(layer: keras.Layer) -> keras.Layer:
            settings = layer.get_config()
            if self.mixed and layer.name != LOGITS:
                settings["dtype"] = "mixed_float16"
            return (FastDepthwiseConv2D if can_be_faster(layer) else type(layer)).from_config(settings)

        with self.strategy.scope():
            return copied(model, layer_for)

    def optimizer(self, make: Callable[[], keras.Optimizer], variables: list[keras.Variable]) -> keras.Optimizer:
        """The optimizer for variables of a model that `trainable` gave; in mixed precision it scales the loss, so
        that no small gradient is lost (Micikevicius et al., "Mixed Precision Training", ICLR 2018)."""
        with self.strategy.scope():
            optimizer = keras.optimizers.LossScaleOptimizer(make()) if self.mixed else make()
            optimizer.build(variables)
        return optimizer

    def step(self, losses: Callable, variables: list[keras.Variable], optimizer: keras.Optimizer) -> Callable:
        """A step on a whole batch: its arrays (b, ...) -> mean loss, and logits (b, 7).

        Every BatchNormalization must be frozen: then no image depends on another, and the summed gradients of pieces
        are those of the batch.

        Args:
            losses: some rows of each array -> loss of each row (n,), logits (n, 7).
            variables: what is trained.
            optimizer: whose.
        """

        def on_one(total: tf.Tensor, counts: tf.Tensor, *arrays: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, logits = tf.zeros(()), []
            gradients: list[tf.Tensor] = []
            parts = [tf.split(array, self.pieces) if self.pieces > 1 else [array] for array in (counts, *arrays)]
            for counted, *some in zip(*parts, strict=True):
                with tf.control_dependencies(gradients):  # one after the other, or they need memory together
                    with tf.GradientTape() as tape:
                        each, answers = losses(*some)
                        part = tf.reduce_sum(each * counted) / total
                        scaled = optimizer.scale_loss(part)
                    new = tape.gradient(scaled, variables)
                gradients = [old + more for old, more in zip(gradients, new, strict=True)] if gradients else new
                loss += part
                logits.append(answers)
            if self.mixed and len(self.devices) > 1:
                # what overflowed on one device has to be seen on all, or they would part ways
                own = tf.add_n([tf.reduce_sum(gradient * 0) for gradient in gradients])
                overflow = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)
                gradients = [gradient + overflow for gradient in gradients]
            optimizer.apply(gradients, variables)
            return loss, tf.concat(logits, axis=0)

        def compiled() -> Callable:
            if len(self.devices) == 1:
                return tf.function(on_one, reduce_retracing=True)
            return tf.function(lambda *arrays: self.strategy.run(on_one, arrays), reduce_retracing=True)

        def shared_out(array: np.ndarray) -> Any:
            parts = np.split(array, len(self.devices))
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: tf.constant(parts[context.replica_id_in_sync_group])
            )

        run = compiled()

        def step(*batch: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal run
            size = len(batch[0])
            while True:
                arrays = self._filled(np.ones(size, np.float32), *batch)
                total = tf.constant(size, tf.float32)
                try:
                    loss, logits = run(total, *(arrays if len(self.devices) == 1 else map(shared_out, arrays)))
                    local = self.strategy.experimental_local_results
                    return float(sum(local(loss))), np.concatenate(local(logits))[:size]
                except tf.errors.ResourceExhaustedError as error:
                    share = -(-size // len(self.devices))
                    self.pieces = -(-share // _half(-(-share // self.pieces), error))
                    print(f"[devices] memory is full: batches go through in {self.pieces} pieces", flush=True)
                    run = compiled()

        return step

    def _filled(self, counts: np.ndarray, *batch: np.ndarray) -> list[np.ndarray]:
        """The arrays (b, ...) with rows that count nothing, so that all devices and pieces get equally many."""
        missing = -len(counts) % (len(self.devices) * self.pieces)
        arrays = [np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
                  for array in map(np.asarray, batch)]  # fmt: skip
        return [np.concatenate([counts, np.zeros(missing, np.float32)]), *arrays]


@cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One for a process: what several exchange would be taken for each other's."""
    return tf.distribute.MirroredStrategy(devices)


def _half(images: int, error: Exception) -> int:
    if images <= 1:
        raise RunError(
            "Memory must hold one image in the network. Received: none fits. Choose a smaller --backbone, train from "
            "higher up, or end what else computes on this device."
        ) from error
    return -(-images // 2)
