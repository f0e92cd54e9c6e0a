"""The fast depthwise layer is Keras's in what it answers and in what it learns."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from core.models.classifier import build_classifier
from core.models.depthwise import FastDepthwiseConv2D
from core.models.devices import Machine
from core.presets import configured

PIXELS = np.random.default_rng(3).normal(size=(3, 14, 11, 6)).astype(np.float32)


def learned(layer: keras.Layer, wanted: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """What a layer answers to `PIXELS`, and the gradients of kernel and pixels."""
    pixels = tf.Variable(PIXELS)
    with tf.GradientTape() as tape:
        answer = layer(pixels)
        loss = tf.reduce_sum(answer * wanted[:, : answer.shape[1], : answer.shape[2]])
    return answer, tape.gradient(loss, [layer.kernel.value, pixels])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(5, 5), (3, 4), (4, 7), (1, 6)])
def test_it_learns_what_keras_learns(size, stride, padding):
    layer = keras.layers.DepthwiseConv2D(size, stride, padding, use_bias=False, activation="relu")
    layer.build(PIXELS.shape)
    assert FastDepthwiseConv2D.helps(layer)
    fast = FastDepthwiseConv2D.from_config(layer.get_config())
    fast.build(PIXELS.shape)
    fast.set_weights(layer.get_weights())
    wanted = tf.constant(np.random.default_rng(4).normal(size=PIXELS.shape).astype(np.float32))
    answer, gradients = learned(layer, wanted)
    fast_answer, fast_gradients = learned(fast, wanted)
    np.testing.assert_array_equal(fast_answer, answer)
    for gradient, fast_gradient in zip(gradients, fast_gradients, strict=True):
        np.testing.assert_allclose(fast_gradient, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("setting", [{}, {"use_bias": True}, {"depth_multiplier": 2}, {"dilation_rate": 2}])
def test_it_stands_for_no_layer_that_it_would_not_be(setting: dict[str, Any]):
    layer = keras.layers.DepthwiseConv2D(**{"kernel_size": 5 if setting else 3, "use_bias": False, **setting})
    assert not FastDepthwiseConv2D.helps(layer)


def test_a_network_trains_with_it_and_keeps_none_of_it():
    top = build_classifier(configured("dermlens", {"backbone": "efficientnet_lite0", "weights": "none"})).top
    trained = Machine().trainable(top)
    fast = [layer.name for layer in trained.layers if isinstance(layer, FastDepthwiseConv2D)]
    assert len(fast) == 4, "block6's, but not block7's of 3 x 3"
    assert not any(isinstance(layer, FastDepthwiseConv2D) for layer in top.layers)
    assert [variable.path for variable in trained.trainable_variables] == [
        variable.path for variable in top.trainable_variables
    ]
    for own, other in zip(trained.variables, top.variables, strict=True):
        np.testing.assert_array_equal(own, other)
