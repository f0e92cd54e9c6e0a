"""Whatever devices compute, in whichever pieces: the step is the recipe's, and what is saved is float32."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.config import TrainConfig
from core.errors import ConfigError, RunError
from core.models import devices
from core.models.devices import AtOnce, Gpu, Machine
from core.models.fitting import FitState, Objective, _of_optimizer, _restore, _save, _train_step
from core.places import PROJECT
from core.runs.run import Run

OBJECTIVE = Objective(np.linspace(0.5, 2, 7).astype(np.float32), np.zeros(7, np.float32), 0.1)
DICE = np.random.default_rng(5)
PIXELS = DICE.normal(size=(10, 12, 12, 3)).astype(np.float32)
LABELS = DICE.integers(0, 7, 10)
TAUGHT = DICE.normal(size=(10, 7)).astype(np.float32)
PARTNERS, SHARES = DICE.permutation(10), DICE.uniform(0.5, 1, 10).astype(np.float32)
PASTED = np.repeat(np.repeat(DICE.integers(0, 2, (10, 4, 4)), 3, 1), 3, 2).astype(np.float32)  # own shares by place
AUTO = TrainConfig(backbone="efficientnet_lite0")


def network() -> keras.Model:
    """A small one with all that matters: convolution, wide depthwise filters, frozen BatchNormalization, logits."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    norm = layers.BatchNormalization(trainable=False)
    model = keras.Sequential(
        [keras.Input((12, 12, 3)), layers.Conv2D(8, 3), layers.DepthwiseConv2D(5, use_bias=False), norm, layers.ReLU(),
         layers.GlobalAveragePooling2D(), layers.Dense(7, name="logits")]
    )  # fmt: skip
    norm.moving_mean.assign(np.linspace(-0.5, 0.5, 8))
    return model


def after(
    machine: Machine, steps: int = 3, objective: Objective = OBJECTIVE, shares: np.ndarray = SHARES
) -> tuple[list[np.ndarray], float]:
    """Weights and the last loss after some steps on one batch."""
    model = machine.trainable(network())
    optimizer = machine.optimizer(lambda: keras.optimizers.SGD(0.5), model.trainable_variables)
    step = _train_step(model, optimizer, objective, machine)
    for _ in range(steps):
        loss, logits = step(PIXELS, LABELS, TAUGHT, PARTNERS, shares)
    assert logits.shape == (10, 7) and logits.dtype == np.float32
    return [variable.numpy() for variable in model.variables], loss


def assert_alike(one: tuple[list[np.ndarray], float], other: tuple[list[np.ndarray], float], within: float) -> None:
    assert one[1] == pytest.approx(other[1], abs=within)
    for left, right in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(left, right, atol=within)


@dataclasses.dataclass(frozen=True, eq=False)
class Cramped(Objective):
    """A memory that does not hold more than so many images."""

    holds: int = 0

    def each(self, logits: tf.Tensor, *said: tf.Tensor) -> tf.Tensor:
        def check(count: np.ndarray) -> np.ndarray:
            if count > self.holds:
                raise MemoryError
            return count

        with tf.control_dependencies([tf.numpy_function(check, [tf.shape(logits)[0]], tf.int32)]):
            return super().each(tf.identity(logits), *said)


def cramped(holds: int) -> Cramped:
    return Cramped(OBJECTIVE.weights, OBJECTIVE.offsets, OBJECTIVE.smoothing, holds)


@pytest.mark.parametrize("machine", [Machine(), Machine(mixed=True)])
def test_what_is_trained_sees_its_inputs_as_the_network_that_is_kept(machine):
    """EfficientNetB0 begins with a layer that computes with copies of its own variables."""
    norm = keras.layers.Normalization()
    layers = [norm, *network().layers]
    model = keras.Sequential([keras.Input((12, 12, 3)), *layers])
    norm.adapt_mean.assign([3.0, -2.0, 0.5])
    norm.adapt_variance.assign([4.0, 0.25, 9.0])
    norm.finalize_state()
    copy = machine.trainable(model)
    assert copy is not model
    np.testing.assert_allclose(copy(PIXELS), model(PIXELS), atol=0.02 if machine.mixed else 1e-5)


@pytest.mark.parametrize("shares", [SHARES, PASTED])
def test_the_summed_gradients_of_pieces_are_those_of_the_batch(shares):
    assert_alike(after(Machine(pieces=4), shares=shares), after(Machine(), shares=shares), 1e-6)


def test_a_batch_that_memory_does_not_hold_is_halved_until_it_fits_and_the_step_stays_the_same(capsys):
    machine = Machine()
    assert_alike(after(machine, objective=cramped(3)), after(Machine()), 1e-6)
    assert machine.pieces == 4  # of 3 images at most
    assert capsys.readouterr().out.count("memory is full") == 2, "it is remembered"


def test_one_image_that_does_not_fit_is_a_sentence():
    with pytest.raises(RunError, match="smaller --backbone"):
        after(Machine(), objective=cramped(0))


def test_mixed_precision_learns_the_same_and_leaves_a_model_in_float32():
    machine = Machine(mixed=True)
    original = network()
    copy = machine.trainable(original)
    assert copy.layers[0].compute_dtype == "float16" and copy.layers[-1].compute_dtype == "float32"
    assert {layer.dtype_policy.name for layer in original.layers} == {"float32"}
    mixed, plain = after(machine, steps=20), after(Machine(), steps=20)
    assert_alike(mixed, plain, 0.02)
    assert plain[1] < after(Machine(), steps=1)[1] - 0.1
    assert any((left != right).any() for left, right in zip(mixed[0], plain[0], strict=True))


def test_what_overflows_in_float16_is_left_out_and_the_scale_is_halved():
    machine = Machine(mixed=True)
    model = machine.trainable(network())
    optimizer = machine.optimizer(lambda: keras.optimizers.SGD(0.5), model.trainable_variables)
    before, scale = [variable.numpy() for variable in model.variables], float(optimizer.dynamic_scale.numpy())
    _train_step(model, optimizer, OBJECTIVE, machine)(PIXELS * 1e6, LABELS)
    assert float(optimizer.dynamic_scale.numpy()) == scale / 2
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(
    ("found", "precision", "expected"),
    [
        ([], "auto", (("CPU:0",), False)),
        ([Gpu("GPU:0", (9, 0))], "auto", (("GPU:0",), True)),
        ([Gpu("GPU:0", (9, 0))], "float32", (("GPU:0",), False)),
        ([Gpu("GPU:0", (6, 1))], "auto", (("GPU:0",), False)),
        ([Gpu("GPU:0", (6, 1))], "mixed", (("GPU:0",), True)),
        ([Gpu("GPU:0", None)], "auto", (("GPU:0",), False)),
    ],
)
def test_precision_follows_what_is_there(monkeypatch, found, precision, expected):
    monkeypatch.setattr(devices, "gpus", lambda: found)
    machine = Machine.here(dataclasses.replace(AUTO, precision=precision))
    assert (machine.devices, machine.mixed) == expected


def test_whoever_asks_for_gpus_computes_in_whole_float32():
    tf.config.experimental.enable_tensor_float_32_execution(True)
    devices.gpus()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_mixed_precision_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "gpus", list)
    with pytest.raises(ConfigError, match="--precision auto"):
        Machine.here(dataclasses.replace(AUTO, precision="mixed"))


def test_as_many_images_go_through_as_memory_holds_and_that_is_remembered():
    tried = []

    def doubled(some: np.ndarray) -> np.ndarray:
        tried.append(len(some))
        if len(some) > 5:
            raise tf.errors.ResourceExhaustedError(None, None, "full")
        return some * 2

    at_once = AtOnce(16)
    np.testing.assert_array_equal(at_once(doubled, np.arange(12)), 2 * np.arange(12))
    np.testing.assert_array_equal(at_once(doubled, np.arange(4)), 2 * np.arange(4))
    assert tried == [12, 6, 3, 3, 3, 3, 3, 1]


TWO_DEVICES = """
import dataclasses, sys
from pathlib import Path
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
from test_devices import AUTO, Machine, after, assert_alike, cramped
from test_fitting import NEW, PLAIN, fitted
two = ("CPU:0", "CPU:1")
assert_alike(after(Machine(two)), after(Machine()), 1e-5)
assert_alike(after(Machine(two, mixed=True)), after(Machine()), 0.02)
folder = Path(sys.argv[2])
config = dataclasses.replace(NEW, epochs=3)
unbroken, one = fitted(config, folder / "unbroken", machine=Machine(two))
resumed, other = fitted(config, folder / "resumed", 2, machine=Machine(two))
for left, right in zip(one.variables, other.variables, strict=True):
    np.testing.assert_array_equal(left.numpy(), right.numpy())
machine = Machine(two)  # last: an error leaves its mark on TensorFlow's collectives
assert_alike(after(machine, objective=cramped(2)), after(Machine()), 1e-5)
assert machine.pieces == 3, machine
print("alike")
"""


def test_two_devices_step_as_one_and_go_on_as_if_unbroken(tmp_path):
    """In a process of its own: TensorFlow takes devices as they are once it has begun."""
    command = [sys.executable, "-c", TWO_DEVICES, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "alike" in done.stdout, done.stderr[-3000:]


@pytest.mark.parametrize(("first", "then"), [(True, False), (False, True), (True, True)])
def test_a_training_goes_on_in_another_precision(tmp_path, first, then):
    """What a GPU began, a machine without one ends."""
    run, saved = Run.create(AUTO, tmp_path / "run"), None
    for mixed in (first, then):
        machine = Machine(mixed=mixed)
        model = machine.trainable(network())
        optimizer = machine.optimizer(lambda: keras.optimizers.Adam(0.01), model.trainable_variables)
        if saved is not None:
            state, _ = _restore(run, FitState(0.01), model, optimizer)
            assert state.epoch == 2
            now = [variable.numpy() for variable in (*model.variables, *_of_optimizer(optimizer)[0])]
            for left, right in zip(now, saved, strict=True):
                np.testing.assert_array_equal(left, right)
        _train_step(model, optimizer, OBJECTIVE, machine)(PIXELS, LABELS, TAUGHT, PARTNERS, SHARES)
        kept = [variable.numpy() for variable in model.variables]
        _save(run, model, optimizer, FitState(0.01, epoch=2), kept)
        saved = [variable.numpy() for variable in (*model.variables, *_of_optimizer(optimizer)[0])]
