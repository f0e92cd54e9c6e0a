"""Recipes to begin with: what they change of a run's settings, and for whom they are."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from core.backbones import ALL, BACKBONES, HEAD
from core.config import TrainConfig


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
        blocks = tuple(BACKBONES[changes.get("backbone", config.backbone)].blocks)
        if changes.get("train_from") not in (None, HEAD, ALL, *blocks):
            changes["train_from"] = blocks[len(blocks) * 2 // 3]
        return dataclasses.replace(config, **changes)


_TUTORIAL = {
    setting.name: setting.default
    for setting in dataclasses.fields(TrainConfig)
    if setting.metadata["group"] in ("Network", "Augmentation", "Optimisation")
}
PRESETS = {
    "same": Preset("As the chosen run", "Its settings, to change one of them.", {}),
    "head": Preset(
        "Head", "Only the classifier; the network stays as ImageNet left it.", {"train_from": HEAD, "epochs": 20}
    ),
    "blocks": Preset(
        "Upper blocks", "What sees whole structures learns too, with small steps.",
        {"train_from": "block6", "learning_rate": 0.0003, "epochs": 12},
    ),
    "all": Preset(
        "Everything", "The whole network, with fresh views each epoch: for a GPU.",
        {"train_from": ALL, "learning_rate": 0.0001, "views": 4, "epochs": 20},
    ),
    "tutorial": Preset("The tutorial's recipe", "Frozen EfficientNetB0, as published.", _TUTORIAL),
}  # fmt: skip
