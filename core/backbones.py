"""The ImageNet networks that can see an image, as a table. Adding one is one entry here.

Plain data, so that forms and command lines can offer the networks without loading Keras;
`core.models.backbones` builds them.
"""

from dataclasses import dataclass

HEAD, ALL = "head", "all"


@dataclass(frozen=True)
class Backbone:
    """One network. It takes pixels 0 to 255: whatever scaling it needs is a layer inside.

    Attributes:
        name: as on the command line.
        keras_application: its function in `keras.applications`, whose weights Keras fetches from the network;
            None for the one whose weights come with an installed package.
        blocks: name of each block that training can start from -> the last layer below that block, from the
            input to the output. Each such layer is the only path from below to above it.
        size: side of its input in pixels.
    """

    name: str
    keras_application: str | None
    blocks: dict[str, str]
    size: int = 224

    @property
    def cuts(self) -> tuple[str, ...]:
        """What `train_from` can be, from the least trained to the most."""
        return (HEAD, *reversed(self.blocks), ALL)


_EFFICIENTNET_BLOCKS = {
    "block2": "block1a_project_bn",
    "block3": "block2b_add",
    "block4": "block3b_add",
    "block5": "block4c_add",
    "block6": "block5c_add",
    "block7": "block6d_add",
    "top": "block7a_project_bn",
}

BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("efficientnetb0", "EfficientNetB0", _EFFICIENTNET_BLOCKS),
        Backbone("efficientnet_lite0", None, _EFFICIENTNET_BLOCKS),
        Backbone(
            "efficientnetv2b0",
            "EfficientNetV2B0",
            {
                "block3": "block2b_add",
                "block4": "block3b_add",
                "block5": "block4c_add",
                "block6": "block5e_add",
                "top": "block6h_add",
            },
        ),
        Backbone(
            "mobilenetv3small",
            "MobileNetV3Small",
            {
                "block3": "expanded_conv_2_add",
                "block5": "expanded_conv_4_add",
                "block7": "expanded_conv_7_add",
                "top": "expanded_conv_10_add",
            },
        ),
        Backbone(
            "mobilenetv3large",
            "MobileNetV3Large",
            {
                "block4": "expanded_conv_5_add",
                "block5": "expanded_conv_9_add",
                "block6": "expanded_conv_11_add",
                "top": "expanded_conv_14_add",
            },
        ),
    )
}
