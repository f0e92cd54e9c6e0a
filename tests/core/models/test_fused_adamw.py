"""The quicker step is Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.models.fused_adamw import FusedAdamW


def after(kind: type[keras.optimizers.AdamW], steps: int = 12) -> list[np.ndarray]:
    """Two variables and all that the optimizer keeps, after some steps at falling rates; the second is not decayed."""
    dice = np.random.default_rng(4)
    variables = [keras.Variable(dice.normal(size=shape).astype(np.float32), name=name)
                 for name, shape in (("kernel", (30, 7)), ("bias", (7,)))]  # fmt: skip
    optimizer = kind(0.05, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    step = tf.function(lambda *gradients: optimizer.apply(list(gradients), variables))
    for rate in np.linspace(0.05, 0.01, steps):
        optimizer.learning_rate.assign(rate)
        step(*(tf.constant(dice.normal(size=variable.shape) * 10 ** dice.uniform(-4, 1), tf.float32)
               for variable in variables))  # fmt: skip
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("steps", [1, 12])
def test_it_moves_variables_as_keras_does(steps):
    ours, theirs = after(FusedAdamW, steps), after(keras.optimizers.AdamW, steps)
    assert len(ours) == len(theirs) == 2 + 6, "a checkpoint of one fits the other"
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=2e-5, atol=1e-6)
    assert not np.allclose(ours[0], after(FusedAdamW, steps + 1)[0], atol=1e-4)
