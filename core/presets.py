"""Recipes to begin with: what they change of a run's settings, and for whom they are."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from core.backbones import ALL, BACKBONES, HEAD
from core.config import ADAMW, COSINE, TrainConfig


@dataclass(frozen=True)
class Preset:
    """A recipe.

    Attributes:
        title: for people.
        sentence: what it does.
        changes: settings that it sets; all others stay.
    """

    title: str
    sentence: str
    changes: dict[str, Any]

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The settings with this recipe's own; a block that the network does not have gives way to the nearest."""
        changes = dict(self.changes)
        if changes.get("train_from", HEAD) != HEAD:
            changes["head_depths"] = False  # they belong to a head that is trained alone
        blocks = tuple(BACKBONES[changes.get("backbone", config.backbone)].blocks)
        if changes.get("train_from") not in (None, HEAD, ALL, *blocks):
            changes["train_from"] = blocks[len(blocks) * 2 // 3]
        return dataclasses.replace(config, **changes)


_TUTORIAL = {
    setting.name: setting.default
    for setting in dataclasses.fields(TrainConfig)
    if setting.metadata["group"] in ("Network", "Augmentation", "Optimisation")
}
_DERMLENS = {
    "train_from": "block6",
    "hidden_units": 0,
    "whole_epochs": 3,
    "whole_learning_rate": 0.0003,
    "adapt_norm": 0.5,
    "optimizer": ADAMW,
    "weight_decay": 0.02,
    "learning_rate": 0.0005,
    "schedule": COSINE,
    "warm_up": 0.1,
    "epochs": 16,
    "average_last": 3,
    "class_weights": False,
    "logit_adjustment": 1.0,
    "label_smoothing": 0.0,
    "mixup": 0.5,
    "cutmix": 0.5,
    "views": 8,
    "turns": True,
    "rotation": 0.0,
    "shift": 0.0,
    "zoom": 0.0,
    "flips": False,
    "colour": 0.0,
    "test_views": 4,
}
_LONG = _DERMLENS | {
    "backbone": "efficientnetb0",
    "train_from": ALL,
    "learning_rate": 0.0003,
    "label_smoothing": 0.1,  # measured above a cut alone: there it won nothing, and more mixing a little
    "mixup": 0.2,
    "cutmix": 0.0,
    "adapt_norm": 0.0,  # measured above a cut alone, as the two above
    "whole_epochs": 0,  # nothing is cut
    "epochs": 30,
    "rotation": 15.0,
    "shift": 0.05,
    "zoom": 0.1,
    "colour": 0.5,
}
PRESETS = {
    "same": Preset("As the chosen run", "Its settings, to change one of them.", {}),
    "head": Preset(
        "Head", "Only the classifier learns; the network below it stays as it is.", {"train_from": HEAD, "epochs": 20}
    ),
    "blocks": Preset(
        "Upper blocks", "What sees whole structures learns too, with small steps.",
        {"train_from": "block6", "learning_rate": 0.0003, "epochs": 12},
    ),
    "all": Preset(
        "Everything", "The whole network, with fresh views each epoch: for a GPU.",
        {"train_from": ALL, "learning_rate": 0.0001, "views": 4, "epochs": 20},
    ),
    "dermlens": Preset(
        "DermLens's own recipe",
        "All of the network is set to what these images look like, and learns for three epochs; then the upper blocks "
        "alone learn from exact turns and mixtures of images, with steps that shrink to nothing.", _DERMLENS,
    ),
    "long": Preset(
        "The long recipe",
        "The whole of EfficientNetB0, thirty epochs, a fresh view of each image in each of them: for a GPU.", _LONG,
    ),
    "tutorial": Preset("The tutorial's recipe", "Frozen EfficientNetB0, as published.", _TUTORIAL),
}  # fmt: skip


RECIPES = ("tutorial", "dermlens", "long")  # those that a command offers
DEFAULT_RECIPE = "dermlens"


def configured(recipe: str, settings: dict[str, Any]) -> TrainConfig:
    """The settings of a recipe for the network that was asked for, overridden by what was asked for.

    Raises:
        ConfigError: a setting is refused, or two contradict each other.
    """
    begin = TrainConfig(backbone=settings.get("backbone", TrainConfig.backbone))
    return dataclasses.replace(PRESETS[recipe].apply(begin), **settings)
