"""The ImageNet networks that can see an image, as a table. Adding one is one entry here.

Plain data, so that forms and command lines can offer the networks without loading Keras;
`core.models.backbones` builds them.
"""

from dataclasses import dataclass

HEAD, ALL = "head", "all"
IMAGENET, NO_WEIGHTS = "imagenet", "none"  # what weights are called that are no file of the user's


@dataclass(frozen=True)
class Backbone:
    """One network. It takes pixels 0 to 255: whatever scaling it needs is a layer inside.

    Attributes:
        name: as on the command line.
        keras_application: its function in `keras.applications`, whose weights Keras fetches from the network;
            None for the one whose weights come with an installed package.
        blocks: name of each block that training can start from -> the last layer below that block, from the
            input to the output. Each such layer is the only path from below to above it.
        work: millions of multiply-adds of one image, in convolutions and dense layers.
        above: name of each block -> share of that work that lies above where training from it cuts.
        size: side of its input in pixels.
    """

    name: str
    keras_application: str | None
    blocks: dict[str, str]
    work: int
    above: dict[str, float]
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

_EFFICIENTNET_WORK = {
    "block2": 0.95, "block3": 0.80, "block4": 0.70, "block5": 0.59, "block6": 0.37, "block7": 0.13, "top": 0.05,
}  # fmt: skip

BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("efficientnetb0", "EfficientNetB0", _EFFICIENTNET_BLOCKS, 385, _EFFICIENTNET_WORK),
        Backbone("efficientnet_lite0", None, _EFFICIENTNET_BLOCKS, 384, _EFFICIENTNET_WORK),
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
            717,
            {"block3": 0.68, "block4": 0.53, "block5": 0.47, "block6": 0.26, "top": 0.02},
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
            55,
            {"block3": 0.71, "block5": 0.56, "block7": 0.36, "top": 0.05},
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
            214,
            {"block4": 0.67, "block5": 0.52, "block6": 0.29, "top": 0.04},
        ),
    )
}
