"""Every hyper-parameter is checked before anything is computed, and survives being written down."""

import dataclasses
import json

import pytest

from core.backbones import BACKBONES
from core.config import BACKBONE_CUTS, TrainConfig, plain_type
from core.errors import ConfigError

FIELDS = {setting.name: setting for setting in dataclasses.fields(TrainConfig)}
# what a setting cannot stand beside, put away; and what it needs
BESIDE = {"logit_adjustment": {"class_weights": False}, "fold": {"folds": 20}}
BOUNDED = sorted(name for name, setting in FIELDS.items() if "low" in setting.metadata)


def refusal(**values) -> str:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**values)
    return str(caught.value)


def test_the_defaults_are_the_tutorials_recipe():
    config = TrainConfig()
    assert (config.backbone, config.train_from) == ("efficientnetb0", "head")
    assert (config.learning_rate, config.batch_size, config.epochs) == (0.001, 32, 20)
    assert (config.rotation, config.shift, config.zoom, config.flips) == (20.0, 0.2, 0.2, True)
    assert config.class_weights


def test_it_survives_json():
    config = TrainConfig(
        data_dir="/däta", backbone="efficientnet_lite0", train_from="block6", learning_rate=1e-5, views=1, flips=False
    )
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert list(config.to_dict()) == list(FIELDS)


def test_what_is_left_out_takes_its_default():
    assert TrainConfig.from_dict({"epochs": 3}) == TrainConfig(epochs=3)
    assert TrainConfig.from_dict({}) == TrainConfig()


def test_unknown_names_are_refused_and_named():
    with pytest.raises(ConfigError, match=r"learning_rate.*Received: \['learnrate', 'zoo'\]"):
        TrainConfig.from_dict({"zoo": 1, "learnrate": 2, "epochs": 3})


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds(name):
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    for value in (low, high):
        assert getattr(TrainConfig(**{name: value} | BESIDE.get(name, {})), name) == value
    step = 1 if isinstance(low, int) else 1e-9
    for value in (low - step, high + step * 1000):
        text = refusal(**{name: value})
        assert name in text and str(low) in text and str(high) in text and f"Received: {value!r}" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_what_is_no_finite_number_is_refused(value):
    for name in ("learning_rate", "dropout", "cache_gb"):
        assert name in refusal(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", True),
        ("epochs", 3.0),
        ("epochs", "3"),
        ("epochs", None),
        ("learning_rate", True),
        ("learning_rate", "0.1"),
        ("learning_rate", None),
        ("flips", 1),
        ("flips", "yes"),
        ("data_dir", 5),
        ("backbone", None),
        ("dataset", ["ham10000"]),
        ("train_from", 6),
        ("optimizer", None),
        ("turns", 1),
        ("average_last", 1.5),
        ("mixup", "0.2"),
    ],
)
def test_wrong_types_are_refused(name, value):
    text = refusal(**{name: value})
    assert name in text and "type" in text and repr(value) in text


def test_whole_numbers_do_for_fractions():
    config = TrainConfig(rotation=15, learning_rate=1)
    assert type(config.rotation) is float and config.rotation == 15.0
    assert type(config.learning_rate) is float


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "cifar10"),
        ("backbone", "resnet50"),
        ("backbone", ""),
        ("optimizer", "sgd"),
        ("schedule", "constant"),
    ],
)
def test_choices(name, value):
    text = refusal(**{name: value})
    assert all(choice in text for choice in FIELDS[name].metadata["choices"])


def test_cuts_belong_to_their_backbone():
    for backbone, cuts in BACKBONE_CUTS.items():
        assert cuts[0] == "head" and cuts[-1] == "all"
        for cut in cuts:
            assert TrainConfig(backbone=backbone, train_from=cut).train_from == cut
    text = refusal(backbone="mobilenetv3small", train_from="block2")
    assert "mobilenetv3small" in text and "block3" in text and "'block2'" in text
    assert "block2" in BACKBONE_CUTS["efficientnetb0"]  # another backbone has it
    assert set(BACKBONE_CUTS) == set(BACKBONES)


def test_rare_diagnoses_are_helped_by_one_way_alone():
    text = refusal(logit_adjustment=1.0)
    assert "class_weights=True, logit_adjustment=1" in text and "--no-class-weights" in text
    assert TrainConfig(logit_adjustment=1.0, class_weights=False).logit_adjustment == 1.0


@pytest.mark.parametrize("cut", ["block6", "all"])
def test_several_depths_are_for_a_head_alone(cut):
    text = refusal(head_depths=True, train_from=cut)
    assert repr(cut) in text and "--train-from head" in text
    assert TrainConfig(head_depths=True).head_depths


def test_the_repeats_of_an_ensemble_are_repeats():
    text = refusal(repeat=999, ensemble=3)
    assert "repeat=999" in text and "ensemble=3" in text
    assert TrainConfig(repeat=998, ensemble=3).repeat == 998


def test_what_came_later_is_off_by_default():
    """An old config.json asks for what it asked for when it was written."""
    old = TrainConfig.from_dict({"backbone": "efficientnet_lite0", "epochs": 3})
    assert (old.optimizer, old.schedule, old.class_weights) == ("adam", "plateau", True)
    assert not any((old.logit_adjustment, old.label_smoothing, old.mixup, old.cutmix, old.average_last))
    assert not any((old.turns, old.colour, old.head_depths, old.runs_to_the_end))


def test_it_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 5


def test_every_setting_has_what_forms_and_help_need():
    for name, setting in FIELDS.items():
        assert setting.metadata["reason"].endswith((".", ")")), name
        assert setting.metadata["group"], name
        assert ("low" in setting.metadata) == ("high" in setting.metadata), name


def test_plain_type():
    assert plain_type(str | None) is str
    assert plain_type(float) is float
