"""A copy of a flat model, some of whose layers are others."""

from collections.abc import Callable

import keras


def copied(model: keras.Model, layer_for: Callable[[keras.Layer], keras.Layer]) -> keras.Model:
    """The same graph and the same numbers, in layers of its own.

    Args:
        model: built.
        layer_for: layer of the model -> a new one that takes its place, with variables of the same shapes.
    """

    def again(operation: keras.Operation) -> keras.Operation:
        return layer_for(operation) if isinstance(operation, keras.Layer) else operation

    copy = keras.models.clone_model(model, clone_function=again)
    for own, other in zip(copy.variables, model.variables, strict=True):
        own.assign(other.numpy())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):  # it computes with copies of its variables
            layer.finalize_state()
    return copy
