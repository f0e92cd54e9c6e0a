"""A preset changes what it says and leaves the rest, and fits every network."""

import dataclasses

import pytest

from core.backbones import BACKBONES
from core.config import TrainConfig
from core.presets import PRESETS


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_every_network(name, backbone):
    config = PRESETS[name].apply(TrainConfig(backbone=backbone, dataset="synthetic", seed=3))
    assert (config.dataset, config.seed) == ("synthetic", 3), "the data stay as they were"
    if name == "blocks":
        assert config.train_from in BACKBONES[backbone].blocks


def test_the_tutorials_recipe_is_the_default():
    changed = TrainConfig(learning_rate=0.5, backbone="efficientnet_lite0", epochs=3, data_dir="here")
    assert PRESETS["tutorial"].apply(changed) == dataclasses.replace(TrainConfig(), data_dir="here")
