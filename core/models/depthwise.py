"""Depthwise convolutions whose filters learn faster on a processor; their values are those of Keras.

oneDNN, which computes for TensorFlow on processors, has a fast gradient for depthwise filters of up to three columns.
For wider ones, such as EfficientNet's of 5 x 5, it takes several times as long: here their gradient is put together
from that of their columns, three at a time. Each piece needs other borders, which are added beforehand: TensorFlow's
own explicit ones are slow again.
"""

from collections.abc import Callable

import tensorflow as tf
from keras import layers

FAST = 3  # columns of a filter


class FastDepthwiseConv2D(layers.DepthwiseConv2D):
    """Keras's layer, but for how the gradient of its kernel is computed. Only for training: no file holds it."""

    @classmethod
    def helps(cls, layer: object) -> bool:
        """Whether it can stand for a layer of a network, and is faster."""
        return (
            isinstance(layer, layers.DepthwiseConv2D)
            and layer.kernel_size[1] > FAST
            and layer.depth_multiplier == 1
            and layer.dilation_rate == (1, 1)
            and layer.strides[0] == layer.strides[1]
            and layer.data_format == "channels_last"
            and not layer.use_bias
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, h, w, channels) -> the same as the layer it stands for."""
        strides, padding = [1, *self.strides, 1], self.padding.upper()

        @tf.custom_gradient
        def convolved(pixels: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                of_pixels = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                    input_sizes=tf.shape(pixels), filter=kernel, out_backprop=upstream, strides=strides, padding=padding
                )
                return of_pixels, kernel_gradient(pixels, upstream, self.kernel_size, self.strides[0], padding)

            return tf.nn.depthwise_conv2d(pixels, kernel, strides, padding), gradients

        return self.activation(convolved(inputs, tf.convert_to_tensor(self.kernel)))


def kernel_gradient(
    pixels: tf.Tensor, upstream: tf.Tensor, size: tuple[int, int], stride: int, padding: str
) -> tf.Tensor:
    """Gradient (rows, columns, channels, 1) of a depthwise kernel.

    Args:
        pixels: (n, h, w, channels), what was convolved.
        upstream: (n, h', w', channels), the gradient of what came out.
        size: rows and columns of the kernel, at least three of these.
        stride: in both directions.
        padding: "SAME" or "VALID".
    """
    row, column = (
        -_border(pixels.shape[side], upstream.shape[side], size[side - 1], stride) if padding == "SAME" else 0
        for side in (1, 2)
    )
    height, width = (upstream.shape[1] - 1) * stride + size[0], (upstream.shape[2] - 1) * stride + FAST
    pieces = []
    for start in range(0, size[1], FAST):
        first = min(start, size[1] - FAST)  # the last piece sees columns again rather than be a narrower one
        gradient = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=_window(pixels, row, height, column + first, width),
            filter_sizes=[size[0], FAST, pixels.shape[3], 1], out_backprop=upstream,
            strides=[1, stride, stride, 1], padding="VALID",
        )  # fmt: skip
        pieces.append(gradient[:, start - first :])
    return tf.concat(pieces, 1)


def _border(before: int, after: int, size: int, stride: int) -> int:
    """Rows above, or columns on the left, of zeros that "SAME" adds."""
    return max((after - 1) * stride + size - before, 0) // 2


def _window(pixels: tf.Tensor, row: int, height: int, column: int, width: int) -> tf.Tensor:
    """(n, height, width, channels) from a row and a column on; zeros where nothing is."""
    below, right = row + height - pixels.shape[1], column + width - pixels.shape[2]
    seen = pixels[:, max(row, 0) : pixels.shape[1] + min(below, 0), max(column, 0) : pixels.shape[2] + min(right, 0)]
    return tf.pad(seen, [[0, 0], [max(-row, 0), max(below, 0)], [max(-column, 0), max(right, 0)], [0, 0]])
