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
    if name in ("blocks", "dermlens"):
        assert config.train_from in BACKBONES[backbone].blocks


def test_the_tutorials_recipe_is_the_default():
    changed = TrainConfig(learning_rate=0.5, backbone="efficientnet_lite0", epochs=3, data_dir="here")
    assert PRESETS["tutorial"].apply(changed) == dataclasses.replace(TrainConfig(), data_dir="here")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_a_head_that_sees_several_depths(name):
    config = PRESETS[name].apply(TrainConfig(backbone="efficientnet_lite0", head_depths=True))
    assert not config.head_depths or config.train_from == "head"


def test_the_own_recipe_says_all_that_makes_a_training():
    """Whatever a run had of another recipe's head, augmentation and steps is gone; its network stays."""
    network = {"backbone": "efficientnet_lite0", "dropout": 0.3}
    other = TrainConfig(
        **network,
        hidden_units=64,
        colour=0.9,
        mixup=0.9,
        cutmix=0.1,
        flips=True,
        schedule="plateau",
        label_smoothing=0.4,
        epochs=77,
        warm_up=0.7,
    )
    config = PRESETS["dermlens"].apply(other)
    assert config == PRESETS["dermlens"].apply(TrainConfig(**network))
    assert config.train_from == "block6"  # above the stage of 112 channels
    assert config.turns and not (config.rotation or config.shift or config.zoom or config.flips)
    assert config.logit_adjustment and not config.class_weights
