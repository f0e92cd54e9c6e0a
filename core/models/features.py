"""What the refusal sees: pooled activations of several depths of a network, from the same pass as the answer."""

from core.backbones import Backbone


def feature_layers(backbone: Backbone) -> tuple[str, ...]:
    """Names of the layers below the last activation whose means over the image are features.

    The early ones know colour and texture, the late ones things. All come for free in the pass that answers.
    """
    return tuple(backbone.blocks.values())
